//! The words of protobuf's text format.

use super::super::message::{Mistake, Place};

/// A word of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, or a number without its sign.
    Word(String),
    /// One piece of a text in quotes, without its escapes.
    Quoted(Vec<u8>),
    /// Any other character.
    Symbol(char),
    /// There is no more.
    End,
}

/// Reads a text word by word.
pub(super) struct Lexer<'t> {
    rest: &'t str,
    at: Place,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            rest: text,
            at: (1, 1),
        }
    }

    /// The next word and where it begins.
    pub(super) fn next(&mut self) -> Result<(Token, Place), Mistake> {
        self.skip_space();
        let at = self.at;
        let token = match self.rest.chars().next() {
            None => Token::End,
            Some(quote @ ('"' | '\'')) => {
                self.bump();
                Token::Quoted(self.quoted(quote, at)?)
            }
            Some(c) if is_word(c) || c == '.' => {
                let mut word = String::new();
                while let Some(c) = self.rest.chars().next() {
                    // The sign of an exponent belongs to its number.
                    let sign = (c == '-' || c == '+')
                        && word.ends_with(['e', 'E'])
                        && word.starts_with(|c: char| c.is_ascii_digit() || c == '.')
                        && !word.starts_with("0x");
                    if !(is_word(c) || c == '.' || sign) {
                        break;
                    }
                    word.push(c);
                    self.bump();
                }
                Token::Word(word)
            }
            Some(c) => {
                self.bump();
                Token::Symbol(c)
            }
        };
        Ok((token, at))
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.at = match c {
            '\n' => (self.at.0 + 1, 1),
            _ => (self.at.0, self.at.1 + 1),
        };
        Some(c)
    }

    fn skip_space(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            if c == '#' {
                while self.rest.chars().next().is_some_and(|c| c != '\n') {
                    self.bump();
                }
            } else if c.is_ascii_whitespace() || c == '\u{b}' || c == '\u{feff}' {
                self.bump();
            } else {
                return;
            }
        }
    }

    /// What stands between quotes; the first has been read.
    fn quoted(&mut self, quote: char, start: Place) -> Result<Vec<u8>, Mistake> {
        let mut out = Vec::new();
        loop {
            let at = self.at;
            match self.bump() {
                None | Some('\n') => {
                    let cause = format!("this text is not closed with {quote} on its line");
                    return Err(Mistake::new(start, cause));
                }
                Some('\\') => self.escape(at, &mut out)?,
                Some(c) if c == quote => return Ok(out),
                Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escape(&mut self, at: Place, out: &mut Vec<u8>) -> Result<(), Mistake> {
        let wrong = |cause: &str| Err(Mistake::new(at, cause));
        let Some(c) = self.bump() else {
            return wrong("the file ends in the middle of a text");
        };
        let byte = match c {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0b,
            '?' | '\\' | '\'' | '"' => c as u8,
            '0'..='7' => {
                let digits = format!("{c}{}", self.digits(8, 2));
                match u8::from_str_radix(&digits, 8) {
                    Ok(byte) => byte,
                    Err(_) => return wrong("an octal escape is at most \\377"),
                }
            }
            'x' | 'X' => match u8::from_str_radix(&self.digits(16, 2), 16) {
                Ok(byte) => byte,
                Err(_) => return wrong("\\x needs one or two hexadecimal digits"),
            },
            'u' | 'U' => {
                let count = if c == 'u' { 4 } else { 8 };
                let digits = self.digits(16, count);
                let code = u32::from_str_radix(&digits, 16).ok();
                match code
                    .filter(|_| digits.len() == count)
                    .and_then(char::from_u32)
                {
                    Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => return wrong("\\u needs four and \\U eight digits of a character"),
                }
                return Ok(());
            }
            _ => return wrong("there is no such escape"),
        };
        out.push(byte);
        Ok(())
    }

    /// Up to `most` digits.
    fn digits(&mut self, radix: u32, most: usize) -> String {
        let mut digits = String::new();
        while digits.len() < most
            && let Some(c) = self.rest.chars().next().filter(|c| c.is_digit(radix))
        {
            digits.push(c);
            self.bump();
        }
        digits
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
