//! Finds in the bytes of HTTP/1 requests what the parser doesn't tell: which requests have a
//! fragment in their path, or both a length and chunks, and what was wrong with one that it refuses.

/// What a head has that the parser lets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// A `#` in the request line.
    pub(super) fragment: bool,
    /// `content-length` and `transfer-encoding`.
    pub(super) two_lengths: bool,
}

/// Follows the requests of a connection byte by byte.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    at: At,
    /// The line that isn't whole yet, without its end.
    line: Vec<u8>,
    now: Seen,
    /// Of the head before.
    before: Seen,
    head: Head,
    length: Option<u64>,
    chunked: bool,
}

/// What has been seen of a head.
#[derive(Debug, Default)]
struct Seen {
    first_line: Vec<u8>,
    lines: usize,
    /// A control character.
    control: bool,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    /// So many bytes of a body, then a head.
    Body(u64),
    ChunkSize,
    /// So many bytes of a chunk with its line end.
    Chunk(u64),
    Trailers,
    /// Nothing more can be said.
    Lost,
}

/// Lines are kept up to here: enough for the names and numbers that are looked for.
const KEPT: usize = 256;

impl Scanner {
    /// Takes bytes as they come and gives each head that is whole to `found`.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(Head)) {
        while !bytes.is_empty() {
            match self.at {
                At::Lost => return,
                At::Body(left) | At::Chunk(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[taken..];
                    let left = left - taken as u64;
                    self.at = match (self.at, left) {
                        (At::Body(_), 0) => At::Head,
                        (At::Chunk(_), 0) => At::ChunkSize,
                        (At::Body(_), left) => At::Body(left),
                        (_, left) => At::Chunk(left),
                    };
                }
                At::Head | At::ChunkSize | At::Trailers => {
                    let end = memchr::memchr(b'\n', bytes);
                    let part = &bytes[..end.unwrap_or(bytes.len())];
                    let in_head = self.at == At::Head;
                    if in_head {
                        self.now.bytes += part.len() + 1;
                        self.look_at(part);
                    }
                    if end.is_some() && self.line.is_empty() {
                        // The common case: nothing is copied.
                        self.end_line(part, &mut found);
                    } else {
                        let room = KEPT.saturating_sub(self.line.len()).min(part.len());
                        self.line.extend_from_slice(&part[..room]);
                        if end.is_some() {
                            let line = std::mem::take(&mut self.line);
                            self.end_line(&line, &mut found);
                        }
                    }
                    bytes = end.map_or(&[], |end| &bytes[end + 1..]);
                }
            }
        }
    }

    /// Notes what stands in a part of a head.
    fn look_at(&mut self, part: &[u8]) {
        if self.now.lines == 0 {
            self.head.fragment |= memchr::memchr(b'#', part).is_some();
        }
        self.now.control |= part
            .iter()
            .any(|byte| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127));
    }

    fn end_line(&mut self, line: &[u8], found: &mut impl FnMut(Head)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.at {
            At::Head if line.is_empty() && self.now.lines == 0 => {}
            At::Head if line.is_empty() => {
                found(self.head);
                self.at = match (self.chunked, self.length) {
                    (true, _) => At::ChunkSize,
                    (false, Some(length)) if length > 0 => At::Body(length),
                    _ => At::Head,
                };
                self.head = Head::default();
                (self.chunked, self.length) = (false, None);
                // The buffer of the first line is used again.
                std::mem::swap(&mut self.now, &mut self.before);
                self.now.first_line.clear();
                (self.now.lines, self.now.control, self.now.bytes) = (0, false, 0);
            }
            At::Head => {
                if self.now.lines == 0 {
                    let kept = line.len().min(KEPT);
                    self.now.first_line.extend_from_slice(&line[..kept]);
                }
                self.now.lines += 1;
                self.header(line);
            }
            At::ChunkSize => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let digits = std::str::from_utf8(digits.trim_ascii()).ok();
                let size = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                self.at = match size {
                    Some(0) => At::Trailers,
                    Some(size) => At::Chunk(size.saturating_add(2)),
                    None => At::Lost,
                };
            }
            At::Trailers if line.is_empty() => self.at = At::Head,
            At::Trailers | At::Body(_) | At::Chunk(_) | At::Lost => {}
        }
    }

    fn header(&mut self, line: &[u8]) {
        // Two names alone count.
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
            return;
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"content-length") {
            let value = std::str::from_utf8(value.trim_ascii()).ok();
            self.length = value.and_then(|value| value.parse().ok());
            self.head.two_lengths |= self.chunked;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = true;
            self.head.two_lengths |= self.length.is_some();
        }
    }

    /// Whether a head has begun and isn't whole.
    pub(super) fn is_within_head(&self) -> bool {
        self.at == At::Head && (self.now.lines > 0 || !self.line.is_empty())
    }

    /// The head that the parser has refused: the one that isn't whole yet, or the one before.
    fn refused(&self) -> &Seen {
        if self.is_within_head() {
            &self.now
        } else {
            &self.before
        }
    }

    /// Whether the head that was refused has a control character in it.
    pub(super) fn has_control(&self) -> bool {
        self.refused().control
    }

    /// How many headers the head that was refused has, as far as it has come.
    pub(super) fn headers(&self) -> usize {
        self.refused().lines.saturating_sub(1)
    }

    /// How many bytes the head that was refused has, as far as it has come.
    pub(super) fn head_bytes(&self) -> usize {
        self.refused().bytes
    }

    /// Whether the request line asks for a version other than HTTP/1.1, or for none.
    pub(super) fn is_old(&self) -> bool {
        let seen = self.refused();
        let line = if seen.lines > 0 {
            &seen.first_line
        } else {
            &self.line
        };
        let mut words = line
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty());
        let (method, path, version) = (words.next(), words.next(), words.next());
        let method = method.is_some_and(|word| word.iter().all(u8::is_ascii_uppercase));
        match version {
            Some(version) => version.starts_with(b"HTTP/") && version != b"HTTP/1.1",
            None => method && path.is_some_and(|path| path.starts_with(b"/")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(bytes: &[u8], piece: usize) -> Vec<Head> {
        let mut scanner = Scanner::default();
        let mut found = Vec::new();
        for part in bytes.chunks(piece) {
            scanner.read(part, |head| found.push(head));
        }
        found
    }

    #[test]
    fn every_request_of_a_connection_is_found_however_its_bytes_come() {
        let bytes = b"GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n\
            POST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\n#\n\r\n#\
            POST /c HTTP/1.1\r\ncontent-length: 9\r\nTransfer-Encoding: chunked\r\n\r\n\
            3;x=1\r\n\n\n#\r\n0\r\ntrailer: #\r\n\r\n\
            GET /d HTTP/1.1\nhost: a\n\n";
        let head = |fragment, two_lengths| Head {
            fragment,
            two_lengths,
        };
        let expected = [
            head(true, false),
            head(false, false),
            head(false, true),
            head(false, false),
        ];
        for piece in 1..bytes.len() {
            assert_eq!(heads(bytes, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn old_versions_are_told_from_nonsense() {
        for (line, old) in [
            ("GET /d", true),
            ("GET /d HTTP/1.0", true),
            ("GET /d HTTP/3.7", true),
            ("GET /d HTTP/1.1", false),
            ("blah blah", false),
        ] {
            let mut scanner = Scanner::default();
            scanner.read(format!("{line}\r\nx").as_bytes(), |_| ());
            assert_eq!(scanner.is_old(), old, "{line}");
            scanner.read(b": 1\r\n\r\n", |_| ());
            assert_eq!(scanner.is_old(), old, "{line}, whole");
        }
    }
}
