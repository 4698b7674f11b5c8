//! As much of protobuf's wire format as flat messages of numbers, strings and bytes need.

/// A message's fields; of those that come twice the last counts, as in protobuf.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    fields: Vec<(u64, Value<'a>)>,
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed32 and fixed64, which none of our messages has.
    Other,
}

impl<'a> Message<'a> {
    /// Reads a message whose fields of these numbers are `string`s; `None` if it is malformed or
    /// one of them isn't UTF-8.
    pub(crate) fn parse(mut rest: &'a [u8], strings: &[u64]) -> Option<Self> {
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let tag = varint(&mut rest)?;
            // Tags have 32 bits, and no field has the number 0.
            let number = u64::from(u32::try_from(tag).ok()? >> 3);
            let value = match tag & 7 {
                0 => Value::Varint(varint(&mut rest)?),
                1 => take(&mut rest, 8).map(|_| Value::Other)?,
                2 => {
                    let size = usize::try_from(varint(&mut rest)?).ok()?;
                    Value::Bytes(take(&mut rest, size)?)
                }
                5 => take(&mut rest, 4).map(|_| Value::Other)?,
                _ => return None,
            };
            if number == 0 {
                return None;
            }
            if let Value::Bytes(bytes) = value
                && strings.contains(&number)
            {
                std::str::from_utf8(bytes).ok()?;
            }
            fields.push((number, value));
        }
        Some(Self { fields })
    }

    /// A `bytes` field; empty if it isn't there.
    pub(crate) fn bytes(&self, number: u64) -> &'a [u8] {
        let of_type = |&(found, value): &(u64, Value<'a>)| match value {
            Value::Bytes(bytes) if found == number => Some(bytes),
            _ => None,
        };
        self.fields
            .iter()
            .rev()
            .find_map(of_type)
            .unwrap_or_default()
    }

    /// A `string` field; empty if it isn't there.
    pub(crate) fn text(&self, number: u64) -> &'a str {
        std::str::from_utf8(self.bytes(number)).unwrap_or_default()
    }

    /// A number, `bool` or `enum` field; 0 if it isn't there.
    pub(crate) fn number(&self, number: u64) -> u64 {
        let of_type = |&(found, value): &(u64, Value<'a>)| match value {
            Value::Varint(value) if found == number => Some(value),
            _ => None,
        };
        self.fields
            .iter()
            .rev()
            .find_map(of_type)
            .unwrap_or_default()
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        // The tenth byte holds one bit; protobuf drops what is above it.
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(size)?;
    *rest = tail;
    Some(taken)
}

/// Appends a `bool`; false is the default and left out.
pub(crate) fn put_bool(out: &mut Vec<u8>, number: u8, value: bool) {
    if value {
        out.extend([number << 3, 1]);
    }
}

/// Appends `bytes` or a `string`; empty is the default and left out.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    out.push(number << 3 | 2);
    let mut size = value.len();
    while size >= 0x80 {
        out.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    out.push(size as u8);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_what_was_written() {
        let mut bytes = Vec::new();
        put_bool(&mut bytes, 1, true);
        put_bytes(&mut bytes, 2, &[7; 300]);
        put_bytes(&mut bytes, 3, b"");
        let message = Message::parse(&bytes, &[]).expect("well-formed");
        assert_eq!(message.number(1), 1);
        assert_eq!(message.bytes(2), [7; 300]);
        assert_eq!(message.bytes(3), b"");
        assert_eq!(bytes[..5], [8, 1, 0x12, 0xac, 2]);
    }

    #[test]
    fn the_last_of_two_equal_fields_counts_and_unknown_ones_are_skipped() {
        let bytes = [
            0x0a, 1, b'a', 0x0a, 1, b'b', 0x78, 0x96, 1, 0x0d, 0, 0, 0, 0,
        ];
        let message = Message::parse(&bytes, &[1]).expect("well-formed");
        assert_eq!(message.text(1), "b");
    }

    #[test]
    fn what_is_cut_short_or_no_text_is_malformed() {
        assert!(
            Message::parse(&[0x0a, 5, 1], &[]).is_none(),
            "too few bytes"
        );
        assert!(Message::parse(&[0x80], &[]).is_none(), "half a varint");
        assert!(Message::parse(&[0x02, 0], &[]).is_none(), "field 0");
        assert!(Message::parse(&[0x0f], &[]).is_none(), "wire type 7");
        assert!(Message::parse(&[0x0a, 1, 0xff], &[1]).is_none(), "no UTF-8");
        assert!(Message::parse(&[0x0a, 1, 0xff], &[]).is_some());
    }
}
