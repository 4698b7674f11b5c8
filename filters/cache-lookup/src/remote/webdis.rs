//! Redis commands as requests to webdis, and what its answers mean.
//!
//! webdis makes a Redis command of a path: `GET /GET/key.bin` answers with the value's bytes as they are,
//! `PUT /SETEX/key/60` takes them from the body, and `.raw` answers in Redis's own protocol. Parts of a
//! path are percent-encoded, `.` and `/` too: webdis takes what follows the last dot for a format.

use super::Settings;

/// A request to webdis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: &'static str,
    /// Its path.
    pub path: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl Request {
    /// Its headers, pseudo-headers first.
    pub fn headers<'a>(&'a self, settings: &'a Settings) -> Vec<(&'a str, &'a str)> {
        let mut headers = vec![
            (":method", self.method),
            (":path", self.path.as_str()),
            (":authority", settings.authority.as_str()),
        ];
        if let Some(authorization) = &settings.authorization {
            headers.push(("authorization", authorization));
        }
        headers
    }
}

/// What was asked for came, or there is none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The bytes.
    Value(Vec<u8>),
    /// There is none.
    Absent,
    /// No answer, or none that makes sense.
    Failed,
}

/// Asks for a value.
pub fn get(name: &str) -> Request {
    request("GET", format!("/GET/{}.bin", encode(name.as_bytes())))
}

/// Stores a value for so many seconds.
pub fn set(name: &str, seconds: u64, value: Vec<u8>) -> Request {
    Request {
        method: "PUT",
        path: format!("/SETEX/{}/{seconds}", encode(name.as_bytes())),
        body: value,
    }
}

/// Removes values.
pub fn unlink(names: &[String]) -> Request {
    request("GET", format!("/UNLINK{}.raw", parts(names)))
}

/// Adds texts to the end of a list.
pub fn push(name: &str, texts: &[String]) -> Request {
    let name = encode(name.as_bytes());
    request("GET", format!("/RPUSH/{name}{}.raw", parts(texts)))
}

/// Cuts a list to its last `len` texts.
pub fn trim(name: &str, len: u32) -> Request {
    request(
        "GET",
        format!("/LTRIM/{}/-{len}/-1.raw", encode(name.as_bytes())),
    )
}

/// Asks for all texts of a list.
pub fn list(name: &str) -> Request {
    request(
        "GET",
        format!("/LRANGE/{}/0/-1.raw", encode(name.as_bytes())),
    )
}

fn parts(texts: &[String]) -> String {
    let mut out = String::new();
    for text in texts {
        out.push('/');
        out.push_str(&encode(text.as_bytes()));
    }
    out
}

fn request(method: &'static str, path: String) -> Request {
    Request {
        method,
        path,
        body: Vec::new(),
    }
}

/// What an answer to [`get`] means. `status` is `None` if there was no answer at all.
pub fn read_value(status: Option<u16>, body: Vec<u8>) -> Answer {
    match status {
        Some(200) => Answer::Value(body),
        Some(404) => Answer::Absent,
        _ => Answer::Failed,
    }
}

/// Whether an answer tells that something was done: webdis answers 200 where Redis refuses, too.
pub fn is_done(status: Option<u16>, body: &[u8]) -> bool {
    status == Some(200) && !body.starts_with(b"-")
}

/// The texts that an answer to [`list`] has; `None` if it isn't one.
pub fn read_list(status: Option<u16>, body: &[u8]) -> Option<Vec<String>> {
    if status != Some(200) {
        return None;
    }
    let mut rest = body;
    let count: usize = number(&mut rest, b'*')?;
    let mut texts = Vec::new();
    for _ in 0..count {
        let len: usize = number(&mut rest, b'$')?;
        let (text, after) = rest.split_at_checked(len)?;
        texts.push(String::from_utf8(text.to_vec()).ok()?);
        rest = after.strip_prefix(b"\r\n")?;
    }
    rest.is_empty().then_some(texts)
}

fn number(rest: &mut &[u8], mark: u8) -> Option<usize> {
    let line = rest.strip_prefix(&[mark])?;
    let end = line.iter().position(|byte| *byte == b'\r')?;
    let (digits, after) = line.split_at_checked(end)?;
    *rest = after.strip_prefix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Percent-encodes all but letters, digits, `-` and `_`.
fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(*byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_path_whose_parts_are_encoded() {
        assert_eq!(get("a.b:c/d").path, "/GET/a%2Eb%3Ac%2Fd.bin");
        assert_eq!(set("k", 60, b"v".to_vec()).path, "/SETEX/k/60");
        assert_eq!(trim("k", 256).path, "/LTRIM/k/-256/-1.raw");
        let texts = ["a.b".to_owned(), "c".to_owned()];
        assert_eq!(unlink(&texts).path, "/UNLINK/a%2Eb/c.raw");
        assert_eq!(push("k", &texts).path, "/RPUSH/k/a%2Eb/c.raw");
    }

    #[test]
    fn a_list_is_read_and_nonsense_is_none() {
        let read = |body: &[u8]| read_list(Some(200), body);
        assert_eq!(read(b"*0\r\n"), Some(vec![]));
        let two = b"*2\r\n$3\r\na:b\r\n$0\r\n\r\n";
        assert_eq!(read(two), Some(vec!["a:b".into(), String::new()]));
        for len in 0..two.len() {
            assert_eq!(read(&two[..len]), None, "{len}");
        }
        for nonsense in [
            &b"{}"[..],
            b"*9999999999999999999\r\n",
            b"*-1\r\n",
            b"$3\r\nabc\r\n",
        ] {
            assert_eq!(read(nonsense), None);
        }
        assert_eq!(read_list(Some(503), two), None);
        assert_eq!(read_list(None, two), None);
    }

    #[test]
    fn what_redis_refuses_is_not_done() {
        assert!(is_done(Some(200), b":3\r\n") && is_done(Some(200), b"+OK\r\n"));
        assert!(!is_done(Some(200), b"-OOM command not allowed\r\n"));
        assert!(!is_done(Some(503), b":3\r\n") && !is_done(None, b""));
    }

    #[test]
    fn a_missing_value_is_no_failure() {
        assert_eq!(read_value(Some(404), b"x".to_vec()), Answer::Absent);
        assert_eq!(
            read_value(Some(200), b"x".to_vec()),
            Answer::Value(b"x".to_vec())
        );
        for status in [None, Some(403), Some(500), Some(503), Some(504)] {
            assert_eq!(read_value(status, Vec::new()), Answer::Failed);
        }
    }
}
