//! Protocol buffers on the wire (<https://protobuf.dev/programming-guides/encoding>), as far as the
//! Rate Limit Service protocol needs them.

/// A field's value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A number, a truth or an enum.
    Varint(u64),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
    /// A fixed number, which no message here has.
    Fixed,
}

impl<'a> Value<'a> {
    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Varint(_) | Self::Fixed => None,
        }
    }

    pub(crate) fn number(self) -> Option<u64> {
        match self {
            Self::Varint(number) => Some(number),
            Self::Bytes(_) | Self::Fixed => None,
        }
    }
}

/// Reads a message's fields in order; `None` in place of the first one that doesn't add up, and
/// nothing after it.
pub(crate) fn fields(message: &[u8]) -> impl Iterator<Item = Option<(u64, Value<'_>)>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = field(rest);
        rest = field.map_or(&[], |(_, _, rest)| rest);
        Some(field.map(|(number, value, _)| (number, value)))
    })
}

fn field(bytes: &[u8]) -> Option<(u64, Value<'_>, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    let number = tag >> 3;
    let (value, rest) = match tag & 7 {
        0 => {
            let (value, rest) = varint(rest)?;
            (Value::Varint(value), rest)
        }
        1 => (Value::Fixed, rest.get(8..)?),
        2 => {
            let (len, rest) = varint(rest)?;
            let (bytes, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            (Value::Bytes(bytes), rest)
        }
        5 => (Value::Fixed, rest.get(4..)?),
        _ => return None,
    };
    (number > 0).then_some((number, value, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        let shift = u32::try_from(index).ok()?.checked_mul(7)?;
        // The tenth byte has one bit left to give.
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits.checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index.checked_add(1)?..)?));
        }
    }
    None
}

/// Writes a number, unless it is zero, which is what a missing one means.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u8, number: u64) {
    if number > 0 {
        out.push(field << 3);
        put_varint(out, number);
    }
}

/// Writes text, bytes or a message.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
        fields(bytes).collect()
    }

    #[test]
    fn reads_the_examples_of_the_specification() {
        assert_eq!(read(b"\x08\x96\x01"), Some(vec![(1, Value::Varint(150))]));
        assert_eq!(
            read(b"\x12\x07testing"),
            Some(vec![(2, Value::Bytes(b"testing"))])
        );
        assert_eq!(
            read(b"\x0d\0\0\0\0\x09\0\0\0\0\0\0\0\0"),
            Some(vec![(1, Value::Fixed), (1, Value::Fixed)])
        );
    }

    #[test]
    fn what_does_not_add_up_is_nothing() {
        for bytes in [
            &b"\x08"[..],
            b"\x08\xff",
            b"\x12\x08testing",
            b"\x0b",
            b"\x0c",
            b"\x0f",
            b"\0\0",
            b"\x09\0",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn numbers_of_every_length_come_back() {
        for shift in 0..64 {
            for number in [1 << shift, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put_number(&mut bytes, 3, number);
                assert_eq!(read(&bytes), Some(vec![(3, Value::Varint(number))]));
            }
        }
    }
}
