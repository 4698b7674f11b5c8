//! A configuration as Envoy hands inline YAML to a plugin: a serialized `google.protobuf.Struct`.
//!
//! Envoy's YAML loader turns floats, and integers beyond 32 bits, into texts before they get into
//! the Struct (measured with 1.40); so does this. Wire format: protobuf encoding, `struct.proto`.

use serde_json::Value;

/// Length-delimited and fixed 64-bit wire types.
const BYTES: u8 = 2;
const FIXED64: u8 = 1;
const VARINT: u8 = 0;

/// Serializes a configuration as a `google.protobuf.Struct`. What isn't an object has no such
/// form and gives no bytes.
pub fn struct_bytes(config: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if let Value::Object(fields) = config {
        for (name, value) in fields {
            // message Struct { map<string, Value> fields = 1; }: an entry is a message {key = 1,
            // value = 2}.
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, name.as_bytes());
            put_bytes(&mut entry, 2, &value_bytes(value));
            put_bytes(&mut out, 1, &entry);
        }
    }
    out
}

fn value_bytes(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Null => out.extend([1 << 3 | VARINT, 0]),
        Value::Bool(value) => out.extend([4 << 3 | VARINT, u8::from(*value)]),
        Value::Number(number) => match number.as_i64().and_then(|n| i32::try_from(n).ok()) {
            Some(small) => {
                out.push(2 << 3 | FIXED64);
                out.extend(f64::from(small).to_le_bytes());
            }
            None => put_bytes(&mut out, 3, number.to_string().as_bytes()),
        },
        Value::String(text) => put_bytes(&mut out, 3, text.as_bytes()),
        Value::Object(_) => put_bytes(&mut out, 5, &struct_bytes(value)),
        Value::Array(values) => {
            let mut list = Vec::new();
            for value in values {
                put_bytes(&mut list, 1, &value_bytes(value));
            }
            put_bytes(&mut out, 6, &list);
        }
    }
    out
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | BYTES);
    let mut length = bytes.len();
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Google's protobuf library for Python serializes them.
    #[test]
    fn a_struct_has_the_bytes_that_protobuf_gives_it() {
        let table: &[(Value, &[u8])] = &[
            (json!({}), b""),
            (json!({"a": "b"}), b"\x0a\x08\x0a\x01a\x12\x03\x1a\x01b"),
            (json!({"a": null}), b"\x0a\x07\x0a\x01a\x12\x02\x08\x00"),
            (json!({"a": true}), b"\x0a\x07\x0a\x01a\x12\x02\x20\x01"),
            (
                json!({"a": 5}),
                b"\x0a\x0e\x0a\x01a\x12\x09\x11\x00\x00\x00\x00\x00\x00\x14\x40",
            ),
            (
                json!({"a": [true, "x"]}),
                b"\x0a\x10\x0a\x01a\x12\x0b\x32\x09\x0a\x02\x20\x01\x0a\x03\x1a\x01x",
            ),
            (
                json!({"a": {"b": "c"}}),
                b"\x0a\x11\x0a\x01a\x12\x0c\x2a\x0a\x0a\x08\x0a\x01b\x12\x03\x1a\x01c",
            ),
            (json!({"a": 0.5}), b"\x0a\x0a\x0a\x01a\x12\x05\x1a\x030.5"),
        ];
        for (value, bytes) in table {
            assert_eq!(struct_bytes(value), *bytes, "{value}");
        }
    }

    #[test]
    fn an_integer_beyond_32_bits_becomes_a_text() {
        let as_text = |value: &str| {
            let mut bytes = vec![0x1a, value.len() as u8];
            bytes.extend(value.as_bytes());
            bytes
        };
        assert_eq!(
            value_bytes(&json!(2_147_483_648_u64)),
            as_text("2147483648")
        );
        assert_eq!(value_bytes(&json!(2_147_483_647)).len(), 9);
        assert_eq!(
            value_bytes(&json!(-2_147_483_649_i64)),
            as_text("-2147483649")
        );
    }

    #[test]
    fn a_long_text_has_a_length_of_two_bytes() {
        let bytes = value_bytes(&json!("x".repeat(200)));
        assert_eq!(&bytes[..3], &[0x1a, 0xc8, 0x01]);
        assert_eq!(bytes.len(), 203);
    }
}
