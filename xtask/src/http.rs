//! A small HTTP/1.1 over the standard library: enough to be the tour's client, its upstreams, and a
//! load whose every answer is counted.
//!
//! Bodies come by Content-Length or chunked; connections are kept; nothing is pipelined.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

/// Longest time to wait for a connection or an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kept-alive connection to one server.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    request: Vec<u8>,
}

/// A request or an answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Message {
    /// Request line or status line.
    pub(crate) start: String,
    /// Header lines in order, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The whole body; `None` when no header announces one.
    pub(crate) body: Option<Vec<u8>>,
}

/// An answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Response {
    /// Status code.
    pub(crate) status: u16,
    /// Everything as received.
    pub(crate) message: Message,
}

impl Response {
    /// Returns the first value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.message.header(name)
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.message.body.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Connection {
    /// Connects.
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .with_context(|| format!("can't connect to {address}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // A request is one write: waiting to fill a packet would only add delay.
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::new(stream),
            request: Vec::new(),
        })
    }

    /// Sends a GET and reads the whole answer.
    pub(crate) fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        self.request.clear();
        write!(
            self.request,
            "GET {path} HTTP/1.1\r\nhost: penstock.test\r\n"
        )?;
        for (name, value) in headers {
            write!(self.request, "{name}: {value}\r\n")?;
        }
        self.request.extend_from_slice(b"\r\n");
        self.reader
            .get_mut()
            .write_all(&self.request)
            .context("can't send a request")?;
        read_response(&mut self.reader).with_context(|| format!("no proper answer to GET {path}"))
    }
}

/// Sends a single GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Response> {
    Connection::open(address)?.get(path, &[("connection", "close")])
}

impl Message {
    /// Reads the next message; `None` when the connection was closed before it.
    pub(crate) fn read(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let Some(start) = read_line(reader)? else {
            return Ok(None);
        };
        let mut message = Self {
            start,
            headers: Vec::new(),
            body: None,
        };
        loop {
            let line = need_line(reader)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| anyhow!("`{line}` isn't a header line"))?;
            message
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if let Some(length) = message.header("content-length") {
            let length = length.parse().context("content-length isn't a number")?;
            message.body = Some(read_exactly(reader, length)?);
        } else if message.header("transfer-encoding") == Some("chunked") {
            message.body = Some(read_chunks(reader)?);
        }
        Ok(Some(message))
    }

    /// Returns the first value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

fn read_response(reader: &mut impl BufRead) -> Result<Response> {
    let message = Message::read(reader)?.context("the connection was closed")?;
    let code = message
        .start
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let status = code
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| anyhow!("`{}` isn't a status line", message.start))?;
    if message.body.is_none() && !matches!(status, 204 | 304) {
        bail!("an answer of status {status} without content-length");
    }
    Ok(Response { status, message })
}

fn read_line(reader: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(Some(line))
}

fn need_line(reader: &mut impl BufRead) -> Result<String> {
    read_line(reader)?.context("the connection was closed within a message")
}

fn read_exactly(reader: &mut impl BufRead, length: u64) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    if u64::try_from(body.len())? < length {
        bail!("the connection was closed within a body");
    }
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = need_line(reader)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16)
            .with_context(|| format!("`{line}` isn't the size of a chunk"))?;
        if size == 0 {
            // Trailers, up to the empty line.
            while !need_line(reader)?.is_empty() {}
            return Ok(body);
        }
        body.extend(read_exactly(reader, size)?);
        need_line(reader)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Response> {
        let mut rest = text.as_bytes();
        let response = read_response(&mut rest)?;
        assert_eq!(rest, b"", "everything is read");
        Ok(response)
    }

    fn mistake(text: &str) -> String {
        read(text).expect_err("the answer is wrong").to_string()
    }

    #[test]
    fn a_body_is_read_by_its_length() {
        let response = read("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nslow")
            .expect("it is well formed");
        assert_eq!((response.status, response.text().as_str()), (429, "slow"));
        assert_eq!(response.header("content-length"), Some("4"));
    }

    #[test]
    fn chunks_are_put_together() {
        let response = read(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
             3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\nx-trailer: 1\r\n\r\n",
        )
        .expect("it is well formed");
        assert_eq!(response.text(), "abc0123456789");
    }

    #[test]
    fn no_content_needs_no_length() {
        let response = read("HTTP/1.1 204 No Content\r\n\r\n").expect("it is whole");
        assert_eq!(response.message.body, None);
    }

    #[test]
    fn requests_follow_each_other_on_a_connection() {
        let mut bytes =
            &b"POST /a HTTP/1.1\r\ncontent-length: 2\r\n\r\nhiGET /b HTTP/1.1\r\n\r\n"[..];
        let mut next = || Message::read(&mut bytes).expect("it is well formed");
        let first = next().expect("there is a first");
        assert_eq!(first.body.as_deref(), Some(&b"hi"[..]));
        assert_eq!(next().expect("there is a second").start, "GET /b HTTP/1.1");
        assert_eq!(next(), None);
    }

    #[test]
    fn what_is_not_an_answer_is_said() {
        for (text, expected) in [
            ("", "the connection was closed"),
            ("SSH-2.0\r\n\r\n", "`SSH-2.0` isn't a status line"),
            (
                "HTTP/1.1 200 OK\r\n",
                "the connection was closed within a message",
            ),
            (
                "HTTP/1.1 200 OK\r\nfolded\r\n\r\n",
                "`folded` isn't a header line",
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\n",
                "an answer of status 200 without content-length",
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
                "the connection was closed within a body",
            ),
        ] {
            assert_eq!(mistake(text), expected);
        }
    }
}
