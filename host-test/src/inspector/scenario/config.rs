//! Configurations as scenarios write them: JSON where the bytes are JSON or a protobuf Struct, text
//! where they are text, else base64.

use serde_json::{Map, Number, Value as Json};

/// The lines of a plugin's configuration in its block.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let text = str::from_utf8(bytes).ok();
    let json = text.and_then(|text| serde_json::from_str::<Json>(text).ok());
    if let Some(json) = json.filter(|json| !json.is_string()) {
        return block(&json);
    }
    if let Some(json) = structure(bytes) {
        let mut lines = block(&json);
        lines.push("config_form: struct".to_owned());
        return lines;
    }
    match text {
        Some(text) => vec![format!("config: {}", Json::from(text))],
        None => vec![
            format!("config: {}", Json::from(base64(bytes))),
            "config_form: bytes".to_owned(),
        ],
    }
}

/// JSON is YAML, too.
fn block(json: &Json) -> Vec<String> {
    let pretty = serde_json::to_string_pretty(json).unwrap_or_default();
    let mut lines = vec!["config:".to_owned()];
    lines.extend(pretty.lines().map(|line| format!("  {line}")));
    lines
}

/// Reads a serialized `google.protobuf.Struct`; `None` if the bytes are something else.
fn structure(bytes: &[u8]) -> Option<Json> {
    let mut object = Map::new();
    for (field, value) in fields(bytes)? {
        let (1, Wire::Bytes(entry)) = (field, value) else {
            return None;
        };
        let mut key = None;
        let mut value = Json::Null;
        for (field, wire) in fields(entry)? {
            match (field, wire) {
                (1, Wire::Bytes(name)) => key = Some(str::from_utf8(name).ok()?.to_owned()),
                (2, Wire::Bytes(bytes)) => value = self::value(bytes)?,
                _ => return None,
            }
        }
        object.insert(key?, value);
    }
    Some(object.into())
}

fn value(bytes: &[u8]) -> Option<Json> {
    let [(field, wire)] = fields(bytes)?.try_into().ok()?;
    Some(match (field, wire) {
        (1, Wire::Number(_)) => Json::Null,
        (2, Wire::Fixed(bits)) => number(f64::from_bits(bits))?,
        (3, Wire::Bytes(text)) => str::from_utf8(text).ok()?.into(),
        (4, Wire::Number(on)) => (on != 0).into(),
        (5, Wire::Bytes(bytes)) => structure(bytes)?,
        (6, Wire::Bytes(bytes)) => {
            let values = fields(bytes)?.into_iter().map(|(field, wire)| match wire {
                Wire::Bytes(bytes) if field == 1 => value(bytes),
                _ => None,
            });
            values.collect::<Option<Vec<_>>>()?.into()
        }
        _ => return None,
    })
}

/// Whole numbers are written without a point.
fn number(number: f64) -> Option<Json> {
    let whole = number as i32;
    if f64::from(whole) == number {
        return Some(whole.into());
    }
    Number::from_f64(number).map(Json::from)
}

/// A field's value in protobuf's encoding.
enum Wire<'b> {
    Number(u64),
    Fixed(u64),
    Bytes(&'b [u8]),
}

fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let wire = match tag & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            1 => {
                let (head, rest) = bytes.split_first_chunk::<8>()?;
                bytes = rest;
                Wire::Fixed(u64::from_le_bytes(*head))
            }
            2 => {
                let size = usize::try_from(varint(&mut bytes)?).ok()?;
                let (head, rest) = bytes.split_at_checked(size)?;
                bytes = rest;
                Wire::Bytes(head)
            }
            _ => return None,
        };
        found.push((tag >> 3, wire));
    }
    Some(found)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub(in crate::inspector) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            match place <= chunk.len() {
                true => out.push(LETTERS[(bits >> (18 - 6 * place) & 63) as usize].into()),
                false => out.push('='),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scenario::struct_bytes;

    #[test]
    fn a_struct_is_read_back_as_it_was_written() {
        let config = json!({
            "rules": [{"name": "a", "on": true, "limit": 5, "none": null}],
            "text": "ü",
            "nested": {"empty": {}, "list": []},
        });
        assert_eq!(structure(&struct_bytes(&config)), Some(config.clone()));
        let lines = lines(&struct_bytes(&config));
        assert_eq!(lines.first().map(String::as_str), Some("config:"));
        assert_eq!(
            lines.last().map(String::as_str),
            Some("config_form: struct")
        );
    }

    #[test]
    fn configurations_keep_their_form() {
        assert_eq!(
            lines(b"{\"a\": 1}").join("\n"),
            "config:\n  {\n    \"a\": 1\n  }"
        );
        assert_eq!(lines(b"plain"), ["config: \"plain\""]);
        assert_eq!(
            lines(b"\xff\x00"),
            ["config: \"/wA=\"", "config_form: bytes"]
        );
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn base64_is_what_the_reader_reads() {
        for size in 0..6 {
            let bytes: Vec<u8> = (0..size).map(|n| n * 47 + 3).collect();
            assert_eq!(crate::bootstrap::base64(&base64(&bytes)), Some(bytes));
        }
    }
}
