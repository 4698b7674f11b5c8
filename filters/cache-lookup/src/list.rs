//! Lists in field values (RFC 9110 section 5.6.1), quoted strings in them left whole.

use std::borrow::Cow;

/// The members of a list over all lines of a field: parted at commas outside of quoted strings,
/// trimmed, empty ones left out.
pub(crate) fn members<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    lines
        .into_iter()
        .flat_map(|line| split(line, b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// The pieces between separators that are outside of quoted strings.
pub(crate) fn split(line: &[u8], separator: u8) -> Split<'_> {
    Split {
        rest: Some(line),
        separator,
    }
}

/// Iterator of [`split`].
#[derive(Clone, Debug)]
pub(crate) struct Split<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.rest.take()?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.iter().position(|&byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => return !quoted && byte == self.separator,
            }
            false
        });
        let Some(end) = end else {
            return Some(text);
        };
        let (piece, rest) = text.split_at_checked(end)?;
        self.rest = rest.get(1..);
        Some(piece)
    }
}

/// A text in lower case, as which most come.
pub(crate) fn lower(text: &[u8]) -> Cow<'_, [u8]> {
    if text.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// The text of a quoted string, or of a token as it is; `None` for a string that isn't closed.
pub(crate) fn unquoted(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(inner) = text.strip_prefix(b"\"") else {
        return Some(Cow::Borrowed(text));
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => out.push(*bytes.next()?),
            b'"' => return bytes.next().is_none().then_some(Cow::Owned(out)),
            _ => out.push(byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quoted_strings_part_nothing() {
        let lines = [&br#"a="1,2" , , b"#[..], br#"c="\",",d"#];
        let found: Vec<_> = members(lines).collect();
        assert_eq!(found, [&br#"a="1,2""#[..], b"b", br#"c="\",""#, b"d"]);
    }

    #[test]
    fn a_string_that_is_not_closed_takes_the_rest_of_its_line() {
        let found: Vec<_> = members([&b"a=\"1, b"[..], b"c"]).collect();
        assert_eq!(found, [&b"a=\"1, b"[..], b"c"]);
        assert_eq!(unquoted(b"\"1, b"), None);
    }

    #[test]
    fn quoted_pairs_are_resolved() {
        assert_eq!(unquoted(br#""a\"b""#).as_deref(), Some(&b"a\"b"[..]));
        assert_eq!(unquoted(b"token").as_deref(), Some(&b"token"[..]));
        assert_eq!(unquoted(b"\"a\"b").as_deref(), None);
    }
}
