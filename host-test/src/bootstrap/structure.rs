//! `google.protobuf.Struct` on the wire, with the values that Envoy's YAML loader makes.
//!
//! The loader turns every float, and every integer beyond 32 bits, into a *string*: `0.5` arrives at
//! the guest as `"0.5"`. Members are written in the order of the file; Envoy's order is that of a
//! hash table, different in each process.

use super::yaml::{Entry, Meaning, Node, Value};

/// Serializes the members of a `Struct`.
pub(crate) fn serialize(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let mut member = Vec::new();
        bytes(1, entry.key.as_bytes(), &mut member);
        bytes(2, &value(&entry.value), &mut member);
        bytes(1, &member, &mut out);
    }
    out
}

/// Serializes a `google.protobuf.Value`. Members of a oneof are written even if they are zero.
fn value(node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    match &node.value {
        Value::Scalar(scalar) => match scalar.meaning() {
            Meaning::Null => out.extend([0x08, 0]),
            Meaning::Bool(value) => out.extend([0x20, u8::from(value)]),
            Meaning::Integer(number) => match i32::try_from(number) {
                Ok(number) => {
                    out.push(0x11);
                    out.extend(f64::from(number).to_le_bytes());
                }
                Err(_) => bytes(3, number.to_string().as_bytes(), &mut out),
            },
            Meaning::Text(text) => bytes(3, text.as_bytes(), &mut out),
        },
        Value::Mapping(entries) => bytes(5, &serialize(entries), &mut out),
        Value::Sequence(items) => {
            let mut list = Vec::new();
            for item in items {
                bytes(1, &value(item), &mut list);
            }
            bytes(6, &list, &mut out);
        }
    }
    out
}

/// Writes a length-delimited field.
fn bytes(field: u8, data: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    let mut length = data.len();
    while length >= 0x80 {
        out.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    out.push(length.to_le_bytes()[0]);
    out.extend(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::yaml;

    fn wire(source: &str) -> Vec<u8> {
        let Value::Mapping(entries) = yaml::parse(source).unwrap().value else {
            panic!("a mapping")
        };
        serialize(&entries)
    }

    #[test]
    fn scalars_take_the_member_of_the_oneof_that_envoy_chooses() {
        let one = f64::from(1).to_le_bytes();
        let number = [&[10, 14, 10, 1, b'a', 18, 9, 0x11][..], &one].concat();
        assert_eq!(wire("{a: 1}"), number);
        assert_eq!(wire("{a: '1'}"), b"\x0a\x08\x0a\x01a\x12\x03\x1a\x011");
        assert_eq!(wire("{a: 0.5}"), b"\x0a\x0a\x0a\x01a\x12\x05\x1a\x030.5");
        assert_eq!(wire("{a: false}"), b"\x0a\x07\x0a\x01a\x12\x02\x20\x00");
        assert_eq!(wire("{a: ~}"), b"\x0a\x07\x0a\x01a\x12\x02\x08\x00");
        assert_eq!(
            wire("{a: 2147483648}"),
            b"\x0a\x11\x0a\x01a\x12\x0c\x1a\x0a2147483648"
        );
    }

    #[test]
    fn lists_and_mappings_nest() {
        assert_eq!(
            wire("{a: [{b: c}]}"),
            b"\x0a\x15\x0a\x01a\x12\x10\x32\x0e\x0a\x0c\x2a\x0a\x0a\x08\x0a\x01b\x12\x03\x1a\x01c"
        );
        assert_eq!(wire("{}"), b"");
    }

    #[test]
    fn lengths_beyond_a_byte_are_varints() {
        let long = "x".repeat(300);
        let bytes = wire(&format!("{{a: {long}}}"));
        assert!(bytes.ends_with(long.as_bytes()));
        // 300 = 0b10_0101100
        assert_eq!(&bytes[bytes.len() - 303..][..3], [0x1a, 0xac, 0x02]);
    }
}
