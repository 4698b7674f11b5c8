//! Reads protobuf's text format.
//!
//! All of the format is read but for extensions and `Any`, of which a suite has none: `:` may be
//! left out before a message, braces may be `<>`, lists stand in `[]`, fields may end with `,` or
//! `;`, and texts that follow each other are one.

mod lexer;
#[cfg(test)]
mod tests;

use self::lexer::{Lexer, Token};
use super::message::{Message, Mistake, Place, Value, scalar};
use super::schema::{FieldType, Kind, MessageType};

/// How deep messages can be nested: deeper than any suite.
const DEPTH: usize = 64;

/// Reads a whole text as a message of that type.
pub(super) fn parse(text: &str, kind: &'static MessageType) -> Result<Message, Mistake> {
    let mut lexer = Lexer::new(text);
    let next = lexer.next()?;
    let mut parser = Parser { lexer, next };
    let mut message = Message::new(kind, (1, 1));
    parser.fields(&mut message, None, DEPTH)?;
    Ok(message)
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    next: (Token, Place),
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<(Token, Place), Mistake> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn sees(&self, symbol: char) -> bool {
        self.next.0 == Token::Symbol(symbol)
    }

    /// Takes a symbol if it comes next.
    fn takes(&mut self, symbol: char) -> Result<bool, Mistake> {
        let sees = self.sees(symbol);
        if sees {
            self.advance()?;
        }
        Ok(sees)
    }

    /// Fields up to a closing brace or, without one, to the end of the text.
    fn fields(
        &mut self,
        message: &mut Message,
        close: Option<char>,
        depth: usize,
    ) -> Result<(), Mistake> {
        loop {
            match (&self.next.0, close) {
                (Token::End, None) => return Ok(()),
                (Token::End, Some(close)) => {
                    let (line, column) = message.at;
                    let cause = format!(
                        "the file ends before the {close} of the message at {line}:{column}"
                    );
                    return Err(Mistake::new(self.next.1, cause));
                }
                (Token::Symbol(symbol), Some(close)) if *symbol == close => {
                    self.advance()?;
                    return Ok(());
                }
                _ => self.field(message, depth)?,
            }
        }
    }

    fn field(&mut self, message: &mut Message, depth: usize) -> Result<(), Mistake> {
        let (name, at) = self.advance()?;
        let name = match name {
            Token::Word(name) if !name.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                name
            }
            Token::Symbol('[') => {
                return Err(Mistake::new(at, "a suite has no extensions and no Any"));
            }
            other => return Err(unexpected(&other, at, "the name of a field")),
        };
        let field = message.field_type(&name, at)?;
        let colon = self.takes(':')?;
        if self.sees('[') {
            self.list(message, field, at, colon, depth)?;
        } else {
            let value = self.value(field, colon, depth)?;
            message.put(field, at, value)?;
        }
        if !self.takes(';')? {
            self.takes(',')?;
        }
        Ok(())
    }

    fn list(
        &mut self,
        message: &mut Message,
        field: &'static FieldType,
        at: Place,
        colon: bool,
        depth: usize,
    ) -> Result<(), Mistake> {
        let (_, list_at) = self.advance()?;
        if !field.repeated {
            let cause = format!(
                "`{}` can be given only once, so it takes no list",
                field.name
            );
            return Err(Mistake::new(list_at, cause));
        }
        if self.takes(']')? {
            return Ok(());
        }
        loop {
            let item_at = self.next.1;
            let value = self.value(field, colon, depth)?;
            // In a list each item has a place of its own.
            let item_at = if matches!(value, Value::Message(_)) {
                item_at
            } else {
                at
            };
            message.put(field, item_at, value)?;
            if self.takes(']')? {
                return Ok(());
            }
            if !self.takes(',')? {
                let (token, at) = self.advance()?;
                return Err(unexpected(&token, at, "`,` or `]`"));
            }
        }
    }

    fn value(
        &mut self,
        field: &'static FieldType,
        colon: bool,
        depth: usize,
    ) -> Result<Value, Mistake> {
        if let Kind::Message(kind) = field.kind {
            let (open, at) = self.advance()?;
            let close = match open {
                Token::Symbol('{') => '}',
                Token::Symbol('<') => '>',
                other => {
                    let wanted = format!("`{{` with the fields of {}", kind.name);
                    return Err(unexpected(&other, at, &wanted));
                }
            };
            let Some(depth) = depth.checked_sub(1) else {
                return Err(Mistake::new(at, "messages are nested too deeply"));
            };
            let mut message = Message::new(kind, at);
            self.fields(&mut message, Some(close), depth)?;
            return Ok(Value::Message(message));
        }
        if !colon {
            let cause = format!("`{}` needs a `:` before its value", field.name);
            return Err(Mistake::new(self.next.1, cause));
        }
        let (token, at) = self.advance()?;
        match token {
            Token::Quoted(mut text) => {
                while let Token::Quoted(_) = self.next.0
                    && let (Token::Quoted(more), _) = self.advance()?
                {
                    text.extend(more);
                }
                scalar(field.kind, &text, true, at)
            }
            Token::Word(word) => scalar(field.kind, word.as_bytes(), false, at),
            Token::Symbol('-') => match self.advance()? {
                (Token::Word(word), _) => {
                    scalar(field.kind, format!("-{word}").as_bytes(), false, at)
                }
                (other, at) => Err(unexpected(&other, at, "a number")),
            },
            other => Err(unexpected(
                &other,
                at,
                &format!("the value of `{}`", field.name),
            )),
        }
    }
}

fn unexpected(found: &Token, at: Place, wanted: &str) -> Mistake {
    let found = match found {
        Token::Word(word) => format!("`{word}`"),
        Token::Quoted(text) => format!("{:?}", String::from_utf8_lossy(text)),
        Token::Symbol(symbol) => format!("`{symbol}`"),
        Token::End => "the end of the file".to_owned(),
    };
    Mistake::new(at, format!("found {found}, expected {wanted}"))
}
