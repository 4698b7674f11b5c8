//! Strings: where they end, and what their escapes stand for.

/// Finds the closing quote of a string; `rest` begins after the opening one.
///
/// Returns the bytes before the quote and whether there are escapes among them, or where in `rest`
/// something is wrong. Control characters are, unless they are allowed.
pub(super) fn measure(
    rest: &[u8],
    allows_controls: bool,
) -> Result<(usize, bool), (usize, &'static str)> {
    let mut at: usize = 0;
    let mut is_escaped = false;
    loop {
        let ahead = rest.get(at..).unwrap_or_default();
        let plain = ahead.iter().position(|byte| is_special(*byte));
        at = at.saturating_add(plain.unwrap_or(ahead.len()));
        match rest.get(at) {
            Some(b'"') => return Ok((at, is_escaped)),
            Some(b'\\') => {
                is_escaped = true;
                let ahead = rest.get(at..).unwrap_or_default();
                let (_, length) = escape(ahead).ok_or((at, "not an escape"))?;
                at = at.saturating_add(length);
            }
            Some(_) if allows_controls => at = at.saturating_add(1),
            Some(_) => return Err((at, "a control character in a string")),
            None => return Err((at, "a string without an end")),
        }
    }
}

/// Returns the text that a checked string stands for.
pub(super) fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        let (plain, escaped) = rest.split_at(at);
        text.push_str(plain);
        // A checked string has no other escapes.
        let Some((character, length)) = escape(escaped.as_bytes()) else {
            return text;
        };
        text.push(character);
        rest = escaped.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// Reads the escape at the start of `text`: what it stands for, and its length.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let character = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(text),
        _ => return None,
    };
    Some((character, 2))
}

/// Reads `\uXXXX`, or two of them that are a surrogate pair.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let first = hex(text.get(2..6)?)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 6));
    }
    let second = hex(text.get(6..12)?.strip_prefix(b"\\u")?)?;
    let units = [first, second].map(|unit| u16::try_from(unit).unwrap_or_default());
    let character = char::decode_utf16(units).next()?.ok()?;
    Some((character, 12))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum: u32, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(sum.wrapping_shl(4) | value)
    })
}
