//! HTTP/1.1 messages as they are on the wire: names, values, duplicates and order as sent.
//!
//! Client libraries tidy headers up; a comparison with Envoy needs them untouched. Only what
//! Envoy and our own upstream send is understood.

use std::io::{self, BufRead, Read};

/// A message larger than this is an error; scenarios are far below.
const LIMIT: usize = 64 << 20;

/// The lines in front of a body.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// `GET /path HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub(super) start: String,
    /// Names and values, in order, as they came.
    pub(super) headers: Lines,
}

/// Names and values, in order, as they came.
pub(super) type Lines = Vec<(Vec<u8>, Vec<u8>)>;

impl Head {
    /// Reads up to the empty line; `None` if the stream ends before the first byte.
    pub(super) fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(start) = read_line(stream)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            start: String::from_utf8_lossy(&start).into_owned(),
            headers: read_lines(stream)?,
        }))
    }

    /// The first value of a header, by its name in lower case.
    pub(super) fn value(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.as_slice())
    }

    /// The status of a response.
    pub(super) fn status(&self) -> Option<u16> {
        self.start.split(' ').nth(1)?.parse().ok()
    }

    /// Reads the body by the framing that the headers announce. A message without any has no body
    /// if it is a request, and one up to the end of the stream if it is a response.
    pub(super) fn read_body(&self, stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
        Ok(self.read_rest(stream)?.0)
    }

    /// The same with the trailers.
    pub(super) fn read_rest(&self, stream: &mut impl BufRead) -> io::Result<(Vec<u8>, Lines)> {
        let mut body = Vec::new();
        if self.value("transfer-encoding") == Some(b"chunked") {
            loop {
                let line = read_line(stream)?.ok_or_else(cut_off)?;
                let size = str::from_utf8(&line).map_err(|_| odd())?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(|_| odd())?;
                if size == 0 {
                    return Ok((body, read_lines(stream)?));
                }
                read_exactly(stream, size, &mut body)?;
                read_line(stream)?.ok_or_else(cut_off)?;
            }
        }
        if let Some(length) = self.value("content-length") {
            let length = str::from_utf8(length)
                .ok()
                .and_then(|text| text.parse().ok());
            read_exactly(stream, length.ok_or_else(odd)?, &mut body)?;
        } else if self.status().is_some() {
            stream.take(LIMIT as u64).read_to_end(&mut body)?;
        }
        Ok((body, Vec::new()))
    }
}

/// Names and values up to the empty line.
fn read_lines(stream: &mut impl BufRead) -> io::Result<Lines> {
    let mut lines = Vec::new();
    loop {
        let line = read_line(stream)?.ok_or_else(cut_off)?;
        if line.is_empty() {
            return Ok(lines);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(odd)?;
        let (name, value) = line.split_at(colon);
        lines.push((name.to_vec(), value[1..].trim_ascii().to_vec()));
    }
}

/// A line without its end; `None` at the end of the stream.
fn read_line(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    stream.take(LIMIT as u64).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(cut_off());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

fn read_exactly(stream: &mut impl BufRead, size: usize, body: &mut Vec<u8>) -> io::Result<()> {
    if body.len() + size > LIMIT {
        return Err(io::Error::other("the body is larger than 64 MiB"));
    }
    let before = body.len();
    stream.take(size as u64).read_to_end(body)?;
    if body.len() - before == size {
        Ok(())
    } else {
        Err(cut_off())
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the message is cut off")
}

fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the message isn't HTTP/1.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> io::Result<(Head, Vec<u8>, usize)> {
        let head = Head::read(&mut bytes)?.unwrap();
        let body = head.read_body(&mut bytes)?;
        Ok((head, body, bytes.len()))
    }

    #[test]
    fn headers_keep_duplicates_order_and_case() {
        let (head, _, _) = read(b"GET / HTTP/1.1\r\nB: 1\r\na:2 \r\nB: \r\n\r\n").unwrap();
        let expected = [("B", "1"), ("a", "2"), ("B", "")];
        let expected = expected.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()));
        assert_eq!(head.headers, expected);
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        let table: &[(&[u8], &[u8], usize)] = &[
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabc", b"ab", 1),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nA;x=y\r\n0123456789\r\n0\r\nt: 1\r\n\r\nrest",
                b"ab0123456789",
                4,
            ),
            (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end", 0),
            (b"GET / HTTP/1.1\r\n\r\nnext", b"", 4),
        ];
        for (bytes, body, left) in table {
            let (_, read_body, rest) = read(bytes).unwrap();
            assert_eq!((read_body.as_slice(), rest), (*body, *left));
        }
    }

    #[test]
    fn a_message_that_is_cut_off_is_an_error() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"[..],
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
            b"HTTP/1.1 200 OK\r\na: b",
        ] {
            let error = read(bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        assert!(Head::read(&mut &b""[..]).unwrap().is_none());
    }
}
