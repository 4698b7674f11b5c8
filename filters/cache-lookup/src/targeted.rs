//! Targeted cache control (RFC 9213): `CDN-Cache-Control` and the like, which are Structured Fields
//! (RFC 9651) and, if they can be read, count in place of `Cache-Control` and `Expires`.

use crate::cache_control::{Delta, Directives};

/// Reads all lines of a targeted field. `None` if there are none, if they are empty or can't be
/// parsed: the field "MUST be ignored by the cache" then (section 2.1).
pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Directives> {
    let mut whole = Vec::new();
    for line in lines {
        if !whole.is_empty() {
            whole.push(b',');
        }
        whole.extend_from_slice(line);
    }
    let members = Parser::new(&whole).dictionary()?;
    let mut directives = Directives::default();
    // The last of several members with one name counts.
    for (at, (name, value)) in members.iter().enumerate() {
        let is_last = !members
            .iter()
            .skip(at.saturating_add(1))
            .any(|(other, _)| other == name);
        if is_last {
            take(&mut directives, name, value)?;
        }
    }
    (!members.is_empty()).then_some(directives)
}

/// Takes one directive; `None` if its value is of the wrong type.
fn take(directives: &mut Directives, name: &[u8], value: &Value) -> Option<()> {
    let numeric = match name {
        b"max-age" => Some(&mut directives.max_age),
        b"s-maxage" => Some(&mut directives.s_maxage),
        b"stale-while-revalidate" => Some(&mut directives.stale_while_revalidate),
        b"stale-if-error" => Some(&mut directives.stale_if_error),
        _ => None,
    };
    match (numeric, value) {
        (Some(delta), Value::Integer(seconds)) => *delta = Delta::Seconds(*seconds),
        (Some(delta), Value::Negative) => *delta = Delta::Invalid,
        (Some(_), _) => return None,
        (None, Value::Boolean(false)) => {}
        (None, Value::Text(text)) => {
            let mut quoted = vec![b'"'];
            quoted.extend_from_slice(text);
            quoted.push(b'"');
            directives.set(name, Some(&quoted));
        }
        (None, _) => directives.set(name, None),
    }
    Some(())
}

/// The value of a member, as far as directives need it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Integer(u64),
    Negative,
    Boolean(bool),
    Text(Vec<u8>),
    Other,
}

/// A reader of RFC 9651 section 4.2.
struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn new(text: &'a [u8]) -> Self {
        let start = text.iter().position(|&byte| byte != b' ');
        let rest = text.get(start.unwrap_or(text.len())..).unwrap_or_default();
        Self { rest }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.rest.strip_prefix(&[byte]) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, fits: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| !fits(byte));
        let (taken, rest) = self
            .rest
            .split_at_checked(end.unwrap_or(self.rest.len()))
            .unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    fn skip_spaces(&mut self) {
        self.take_while(|byte| byte == b' ');
    }

    fn skip_optional_whitespace(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn dictionary(&mut self) -> Option<Vec<(&'a [u8], Value)>> {
        let mut members = Vec::new();
        while self.peek().is_some() {
            let name = self.key()?;
            let value = if self.eat(b'=') {
                self.item_or_inner_list()?
            } else {
                Value::Boolean(true)
            };
            self.parameters()?;
            members.push((name, value));
            self.skip_optional_whitespace();
            if self.peek().is_none() {
                return Some(members);
            }
            if !self.eat(b',') {
                return None;
            }
            self.skip_optional_whitespace();
            // A comma after the last member.
            self.peek()?;
        }
        Some(members)
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        self.peek()
            .filter(|&byte| byte.is_ascii_lowercase() || byte == b'*')?;
        Some(self.take_while(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        }))
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.skip_spaces();
            self.key()?;
            if self.eat(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn item_or_inner_list(&mut self) -> Option<Value> {
        if !self.eat(b'(') {
            return self.bare_item();
        }
        loop {
            self.skip_spaces();
            if self.eat(b')') {
                return Some(Value::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.peek()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn bare_item(&mut self) -> Option<Value> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string().map(Value::Text),
            b'?' => {
                self.eat(b'?');
                let is_true = self.eat(b'1');
                (is_true || self.eat(b'0')).then_some(Value::Boolean(is_true))
            }
            b':' => {
                self.eat(b':');
                self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                self.eat(b':').then_some(Value::Other)
            }
            b'@' => {
                self.eat(b'@');
                let number = self.number()?;
                matches!(number, Value::Integer(_) | Value::Negative).then_some(Value::Other)
            }
            b'%' => {
                self.eat(b'%');
                self.string().map(|_| Value::Other)
            }
            byte if byte.is_ascii_alphabetic() || byte == b'*' => {
                self.take_while(|byte| {
                    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
                });
                Some(Value::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let is_negative = self.eat(b'-');
        let whole = self.take_while(|byte| byte.is_ascii_digit());
        if whole.is_empty() {
            return None;
        }
        if self.eat(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let fits = (1..=3).contains(&fraction.len()) && whole.len() <= 12;
            return fits.then_some(Value::Other);
        }
        let value = crate::cache_control::number(whole)?;
        (whole.len() <= 15).then_some(if is_negative && value > 0 {
            Value::Negative
        } else {
            Value::Integer(value)
        })
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        if !self.eat(b'"') {
            return None;
        }
        let mut out = Vec::new();
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return Some(out),
                b'\\' => {
                    let (&escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    if !matches!(escaped, b'"' | b'\\') {
                        return None;
                    }
                    out.push(escaped);
                }
                0x20..=0x7e => out.push(byte),
                _ => return None,
            }
        }
    }
}

/// Reads a List of Strings, as `Cache-Groups` is (RFC 9875); `None` if it isn't one.
pub fn strings<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<Vec<u8>>> {
    let mut whole = Vec::new();
    for line in lines {
        if !whole.is_empty() {
            whole.push(b',');
        }
        whole.extend_from_slice(line);
    }
    let mut parser = Parser::new(&whole);
    let mut found = Vec::new();
    while parser.peek().is_some() {
        found.push(parser.string()?);
        parser.parameters()?;
        parser.skip_optional_whitespace();
        if parser.peek().is_none() {
            break;
        }
        if !parser.eat(b',') {
            return None;
        }
        parser.skip_optional_whitespace();
        parser.peek()?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Directives> {
        parse([text.as_bytes()])
    }

    #[test]
    fn directives_are_members_of_a_dictionary() {
        let directives = read("max-age=3600, no-cache, stale-if-error=60;x=1, foo").expect("one");
        assert_eq!(directives.max_age, Delta::Seconds(3600));
        assert_eq!(directives.stale_if_error, Delta::Seconds(60));
        assert!(directives.no_cache.is_all() && !directives.no_store);
        assert_eq!(
            read("max-age=99999999999").map(|read| read.max_age),
            Some(Delta::Seconds(99_999_999_999))
        );
    }

    #[test]
    fn a_field_that_is_empty_or_fails_to_parse_must_be_ignored() {
        for text in [
            "",
            " ",
            "max-age=10000, &&&&&",
            "MaX-aGe=3600",
            "max-age =100",
            "max-age= 100",
            "max-age=100,",
            "max-age=100 no-store",
            "max-age=1.1234",
            "max-age=1234567890123456",
            "x=\"a",
            "x=\"\u{7f}\"",
            "x=(a b",
            "x=:a",
            "x=?2",
            "é",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(parse([]), None);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_an_error() {
        assert_eq!(read("max-age=\"10000\""), None);
        assert_eq!(read("max-age=1.5"), None);
        assert_eq!(read("max-age"), None);
    }

    #[test]
    fn unknown_members_of_any_type_are_no_error() {
        let text =
            "a=1.5, b=(1 \"x\";p tok), c=:aGk=:, d=@1659578233, e=%\"f%c3\", f=*t/x, max-age=1";
        assert_eq!(read(text).map(|read| read.max_age), Some(Delta::Seconds(1)));
    }

    #[test]
    fn the_last_of_several_members_with_one_name_counts() {
        let max_age = |text| read(text).map(|read| read.max_age);
        assert_eq!(max_age("max-age=1, max-age=2"), Some(Delta::Seconds(2)));
        let lines = [&b"max-age=1"[..], b"max-age=3"];
        assert_eq!(
            parse(lines).map(|read| read.max_age),
            Some(Delta::Seconds(3))
        );
    }

    #[test]
    fn a_boolean_that_is_false_is_no_directive() {
        assert!(!read("no-store=?0, x").expect("one").no_store);
    }

    #[test]
    fn groups_are_a_list_of_strings() {
        let read = |text: &str| strings([text.as_bytes()]);
        assert_eq!(
            read("\"a\";x=1, \"b c\""),
            Some(vec![b"a".to_vec(), b"b c".to_vec()])
        );
        assert_eq!(read("a, b"), None);
        assert_eq!(read("\"a\","), None);
        assert_eq!(read(""), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_field_or_not(text in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse([&text[..]]);
            let _ = strings([&text[..]]);
        }
    }
}
