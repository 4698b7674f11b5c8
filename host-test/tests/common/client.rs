//! A client that says what it is told, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// A response, or what came of it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway listens");
        // A gateway that hangs is to fail the test, not to hang it.
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).expect("a limit can be set");
        stream.set_nodelay(true).expect("an option can be set");
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn send(&self, bytes: &str) {
        let mut stream = self.stream.get_ref();
        stream
            .write_all(bytes.as_bytes())
            .expect("the gateway reads");
    }

    /// Sends a GET and reads the response.
    pub(crate) fn get(&mut self, path: &str, headers: &str) -> Response {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: a.example\r\n{headers}\r\n"
        ));
        self.response()
    }

    /// Reads status and headers.
    pub(crate) fn head(&mut self) -> Response {
        let status = self.line();
        let status = status.split(' ').nth(1).expect("a status line");
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").expect("a header");
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Response {
            status: status.parse().expect("a status"),
            headers,
            body: String::new(),
        }
    }

    /// Reads a response to a request other than HEAD.
    pub(crate) fn response(&mut self) -> Response {
        let mut response = self.head();
        if response.status == 204 || response.status == 304 {
            return response;
        }
        if let Some(length) = response.header("content-length") {
            let length = length.parse().expect("a length");
            response.body = self.bytes(length);
        } else {
            while let Some(piece) = self.chunk() {
                response.body.push_str(&piece);
            }
        }
        response
    }

    /// Reads a chunk of a chunked body; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Option<String> {
        let size = usize::from_str_radix(&self.line(), 16).expect("a chunk");
        let piece = self.bytes(size);
        assert_eq!(self.line(), "");
        (size > 0).then_some(piece)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.stream
            .read_exact(&mut bytes)
            .expect("the body is whole");
        String::from_utf8(bytes).expect("text")
    }

    /// Everything until the gateway closes the connection; an error if it resets it.
    pub(crate) fn rest(mut self) -> std::io::Result<String> {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).map(|_| rest)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line comes");
        assert!(line.ends_with("\r\n"), "the connection ended: {line:?}");
        line.truncate(line.len() - 2);
        line
    }
}
