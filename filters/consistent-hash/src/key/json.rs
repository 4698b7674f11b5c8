//! Finds one value in a JSON body as the body comes in, piece by piece.
//!
//! A piece may end anywhere: in a key, in an escape, in a number. Nothing is kept but the value that is
//! looked for, up to as many bytes as count, so a prompt of megabytes costs no more than its first
//! words. Text is compared and returned decoded: `"\u00e9"` is `"é"`. Of objects and arrays the text
//! counts, without blanks between the tokens. What comes after the value isn't looked at.

/// Nesting that is followed; deeper bodies have no key.
const DEEPEST: usize = 64;

/// Where a value is: the tokens of a JSON pointer (RFC 6901), and how much of it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Names of members or numbers of elements, from the root on.
    pub tokens: Vec<String>,
    /// Leading bytes that count.
    pub first_bytes: usize,
}

/// How far a scan has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The rest of the body is needed.
    More,
    /// The bytes of the value that count; at least one.
    Found(Vec<u8>),
    /// There is no such value, or the body is no JSON.
    Absent,
}

/// A scan under way.
#[derive(Clone, Debug)]
pub struct Scanner {
    target: Target,
    /// The containers around the current place, outermost first.
    stack: Vec<Frame>,
    /// How many of them, from the root, lie on the way to the value.
    matched: usize,
    expect: Expect,
    /// The current text, if it is a member's name that may be on the way.
    name: Vec<u8>,
    /// Code unit of an escape in the making, and the digits still to come.
    unit: (u32, u8),
    high_surrogate: Option<u32>,
    /// Containers around the value, once it has begun.
    capture: Option<usize>,
    captured: Vec<u8>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    Array { index: u32 },
    Object,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A value; in an array that just began also its end.
    Value {
        or_end: bool,
    },
    /// A name; in an object that just began also its end.
    Name {
        or_end: bool,
    },
    Colon,
    /// A comma or the end of the container.
    Next,
    Text(Piece, bool),
    /// A number or a word.
    Plain,
}

/// Where in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Plain,
    Escape,
    Unicode,
}

impl Target {
    /// Reads a JSON pointer: nothing, or tokens that each begin with `/`.
    pub fn new(pointer: &str, first_bytes: usize) -> Option<Self> {
        let tokens = match pointer {
            "" => Vec::new(),
            _ => {
                let tokens = pointer.strip_prefix('/')?.split('/');
                tokens.map(unescaped).collect::<Option<_>>()?
            }
        };
        Some(Self {
            tokens,
            first_bytes,
        })
    }
}

/// Undoes the escapes of a pointer's token.
fn unescaped(token: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = token.chars();
    while let Some(char) = chars.next() {
        text.push(match char {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            char => char,
        });
    }
    Some(text)
}

impl Scanner {
    /// Starts at the beginning of a body.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            stack: Vec::new(),
            matched: 0,
            expect: Expect::Value { or_end: false },
            name: Vec::new(),
            unit: (0, 0),
            high_surrogate: None,
            capture: None,
            captured: Vec::new(),
            progress: Progress::More,
        }
    }

    /// Reads the next piece of the body.
    pub fn read(&mut self, piece: &[u8]) -> &Progress {
        for &byte in piece {
            if self.progress != Progress::More {
                break;
            }
            if self.step(byte).is_none() {
                self.progress = Progress::Absent;
            }
        }
        &self.progress
    }

    /// Says that the body ends here. A value that isn't whole by now is none.
    pub fn end(&mut self) -> &Progress {
        if self.progress == Progress::More {
            // A number at the root ends with the body.
            let is_whole = self.expect == Expect::Plain && self.stack.is_empty();
            if is_whole && self.capture.is_some() {
                self.finish();
            } else {
                self.progress = Progress::Absent;
            }
        }
        &self.progress
    }

    /// How far it has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// One byte; `None` if it can't be JSON.
    fn step(&mut self, byte: u8) -> Option<()> {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.expect {
            Expect::Text(piece, is_name) => return self.text(piece, is_name, byte),
            Expect::Plain if !is_blank && !matches!(byte, b',' | b']' | b'}') => {
                // Letters, digits, signs and points; whatever else is a mistake that changes nothing.
                self.keep(byte);
                return Some(());
            }
            Expect::Plain => {
                self.ended();
                if is_blank || self.progress != Progress::More {
                    return Some(());
                }
            }
            _ if is_blank => return Some(()),
            _ => {}
        }
        match (self.expect, byte) {
            (Expect::Value { or_end: true }, b']') | (Expect::Name { or_end: true }, b'}') => {
                self.close(byte)
            }
            (Expect::Value { .. }, _) => self.begin(byte),
            (Expect::Name { .. }, b'"') => {
                self.keep(byte);
                self.name.clear();
                self.expect = Expect::Text(Piece::Plain, true);
                Some(())
            }
            (Expect::Colon, b':') => {
                self.keep(byte);
                self.expect = Expect::Value { or_end: false };
                Some(())
            }
            (Expect::Next, b',') => {
                self.keep(byte);
                self.expect = match self.stack.last_mut()? {
                    Frame::Array { index } => {
                        *index = index.saturating_add(1);
                        Expect::Value { or_end: false }
                    }
                    Frame::Object => Expect::Name { or_end: false },
                };
                Some(())
            }
            (Expect::Next, b']' | b'}') => self.close(byte),
            _ => None,
        }
    }

    /// The first byte of a value.
    fn begin(&mut self, byte: u8) -> Option<()> {
        let depth = self.stack.len();
        let is_on_the_way = self.capture.is_none() && self.is_on_the_way();
        if is_on_the_way {
            if depth == self.target.tokens.len() {
                self.capture = Some(depth);
            } else if !matches!(byte, b'{' | b'[') {
                return None;
            }
        }
        let is_value_itself = self.capture == Some(self.stack.len());
        match byte {
            b'"' => {
                if !is_value_itself {
                    self.keep(byte);
                }
                self.expect = Expect::Text(Piece::Plain, false);
            }
            b'{' | b'[' => {
                if self.stack.len() >= DEEPEST {
                    return None;
                }
                self.keep(byte);
                self.name.clear();
                let (frame, expect) = match byte {
                    b'{' => (Frame::Object, Expect::Name { or_end: true }),
                    _ => (Frame::Array { index: 0 }, Expect::Value { or_end: true }),
                };
                self.stack.push(frame);
                if is_on_the_way {
                    self.matched = self.stack.len();
                }
                self.expect = expect;
            }
            // `null` is no value.
            b'n' if is_value_itself => return None,
            b'-' | b'0'..=b'9' | b'a'..=b'z' => {
                self.keep(byte);
                self.expect = Expect::Plain;
            }
            _ => return None,
        }
        Some(())
    }

    /// Whether the value that begins lies on the way: its container does, and it is the right one in it.
    fn is_on_the_way(&self) -> bool {
        let Some(above) = self.stack.len().checked_sub(1) else {
            return true;
        };
        let Some(token) = self.target.tokens.get(above) else {
            return false;
        };
        let is_the_one = match self.stack.last() {
            Some(Frame::Array { index }) => index.to_string() == *token,
            Some(Frame::Object) => self.name == token.as_bytes(),
            None => false,
        };
        self.matched == self.stack.len() && is_the_one
    }

    /// A byte within a text.
    fn text(&mut self, piece: Piece, is_name: bool, byte: u8) -> Option<()> {
        let piece = match (piece, byte) {
            (Piece::Plain, b'"') => {
                self.flush_surrogate(is_name);
                self.end_text(is_name);
                return Some(());
            }
            (Piece::Plain, b'\\') => Piece::Escape,
            (Piece::Plain, _) => {
                self.flush_surrogate(is_name);
                self.put(&[byte], is_name);
                Piece::Plain
            }
            (Piece::Escape, b'u') => {
                self.unit = (0, 4);
                Piece::Unicode
            }
            (Piece::Escape, _) => {
                let decoded = match byte {
                    b'"' | b'\\' | b'/' => byte,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => return None,
                };
                self.flush_surrogate(is_name);
                self.put(&[decoded], is_name);
                Piece::Plain
            }
            (Piece::Unicode, _) => {
                let digit = char::from(byte).to_digit(16)?;
                let (unit, left) = self.unit;
                let unit = unit.checked_mul(16)?.checked_add(digit)?;
                let left = left.saturating_sub(1);
                self.unit = (unit, left);
                if left == 0 {
                    self.put_unit(unit, is_name);
                    Piece::Plain
                } else {
                    Piece::Unicode
                }
            }
        };
        if self.progress == Progress::More {
            self.expect = Expect::Text(piece, is_name);
        }
        Some(())
    }

    /// A code unit of UTF-16; two may be one character.
    fn put_unit(&mut self, unit: u32, is_name: bool) {
        if let (Some(high), 0xdc00..=0xdfff) = (self.high_surrogate, unit) {
            self.high_surrogate = None;
            let above = (high & 0x3ff) << 10;
            self.put_char((above | (unit & 0x3ff)).saturating_add(0x1_0000), is_name);
            return;
        }
        self.flush_surrogate(is_name);
        match unit {
            0xd800..=0xdbff => self.high_surrogate = Some(unit),
            _ => self.put_char(unit, is_name),
        }
    }

    /// A half character without its other half is one that can't be told.
    fn flush_surrogate(&mut self, is_name: bool) {
        if self.high_surrogate.take().is_some() {
            self.put_char(0xfffd, is_name);
        }
    }

    fn put_char(&mut self, code: u32, is_name: bool) {
        let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.put(char.encode_utf8(&mut [0; 4]).as_bytes(), is_name);
    }

    /// Takes decoded bytes of a text.
    fn put(&mut self, bytes: &[u8], is_name: bool) {
        if is_name && self.capture.is_none() {
            let above = self.stack.len().saturating_sub(1);
            let longest = self.target.tokens.get(above).map_or(0, String::len);
            // One more than fits tells it apart for good.
            if self.name.len() <= longest {
                self.name.extend_from_slice(bytes);
            }
        }
        bytes.iter().for_each(|byte| self.keep(*byte));
    }

    fn end_text(&mut self, is_name: bool) {
        if is_name {
            self.keep(b'"');
            self.expect = Expect::Colon;
            return;
        }
        if self.capture != Some(self.stack.len()) {
            self.keep(b'"');
        }
        self.ended();
    }

    fn close(&mut self, byte: u8) -> Option<()> {
        let expected = match self.stack.pop()? {
            Frame::Array { .. } => b']',
            Frame::Object => b'}',
        };
        if byte != expected {
            return None;
        }
        self.keep(byte);
        if self.capture.is_none() && self.matched > self.stack.len() {
            // The container on the way has ended, and the value was not in it.
            return None;
        }
        self.ended();
        Some(())
    }

    /// A value has ended.
    fn ended(&mut self) {
        if self.capture == Some(self.stack.len()) {
            self.finish();
        } else if self.stack.is_empty() {
            self.progress = Progress::Absent;
        } else {
            self.expect = Expect::Next;
        }
    }

    /// Keeps a byte of the value.
    fn keep(&mut self, byte: u8) {
        if self.capture.is_some() && self.progress == Progress::More {
            self.captured.push(byte);
            if self.captured.len() >= self.target.first_bytes {
                self.finish();
            }
        }
    }

    fn finish(&mut self) {
        if self.progress == Progress::More {
            let found = std::mem::take(&mut self.captured);
            self.progress = match found.is_empty() {
                true => Progress::Absent,
                false => Progress::Found(found),
            };
        }
    }
}
