//! Lists in field values (RFC 9110 section 5.6.1), quoted strings in them left whole.

use std::borrow::Cow;

/// The members of a list over all lines of a field: parted at commas outside of quoted strings,
/// trimmed, empty ones left out.
pub(crate) fn members<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    let mut lines = lines.into_iter();
    let mut line = Split {
        rest: None,
        separator: b',',
    };
    std::iter::from_fn(move || {
        loop {
            for member in line.by_ref() {
                let member = member.trim_ascii();
                if !member.is_empty() {
                    return Some(member);
                }
            }
            line = split(lines.next()?, b',');
        }
    })
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
    let is_suspect = match words(text) {
        Some(mut words) => words.any(has_upper),
        None => text.iter().any(u8::is_ascii_uppercase),
    };
    if is_suspect {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// A text as words of eight bytes, the last of which may begin within the one before it; `None` for one
/// of fewer bytes.
pub(crate) fn words(text: &[u8]) -> Option<impl Iterator<Item = u64>> {
    let last = text.last_chunk::<8>()?;
    let (words, _) = text.as_chunks();
    let words = words.iter().chain([last]);
    Some(words.map(|word| u64::from_le_bytes(*word)))
}

/// Whether one of eight bytes may be an upper-case letter: those beyond ASCII may too.
const fn has_upper(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    // The high bit of each byte: set if it is more than `Z`; and if it is at least `A`.
    let low = word & (ONES * 0x7f);
    let beyond = low.wrapping_add(ONES * (0x80 - 0x5b));
    let within = low.wrapping_add(ONES * (0x80 - 0x41));
    within & !beyond & (ONES * 0x80) != 0
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
    fn texts_in_lower_case_are_taken_as_they_are() {
        for byte in 0..=u8::MAX {
            for place in [0, 5, 7, 8] {
                let mut text = *b"etag-x-yz";
                text[place] = byte;
                assert_eq!(*lower(&text), *text.to_ascii_lowercase(), "{byte} {place}");
            }
        }
        assert!(matches!(lower(b"last-modified"), Cow::Borrowed(_)));
    }

    #[test]
    fn quoted_pairs_are_resolved() {
        assert_eq!(unquoted(br#""a\"b""#).as_deref(), Some(&b"a\"b"[..]));
        assert_eq!(unquoted(b"token").as_deref(), Some(&b"token"[..]));
        assert_eq!(unquoted(b"\"a\"b").as_deref(), None);
    }
}
