//! A serialized `google.protobuf.Struct` into a tree.
//!
//! Envoy 1.40 hands a Struct to the filter as it is, though its documentation promises JSON. The
//! message is small and fixed (google/protobuf/struct.proto), so it is decoded by hand:
//!
//! - `Struct { map<string, Value> fields = 1; }`, each entry a message `{ key = 1; value = 2; }`
//! - `Value { oneof { null = 1; number = 2 (double); string = 3; bool = 4; struct = 5; list = 6 } }`
//! - `ListValue { repeated Value values = 1; }`
//!
//! Every number is a double there, and Envoy's YAML loader makes text of the numbers that are not
//! 32-bit integers.

use super::tree::{Entry, MAX_DEPTH, Tree};

/// Largest magnitude up to which every integer is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What made the bytes unreadable.
type Cause = &'static str;

const TRUNCATED: Cause = "it ends too early";
const NOT_A_STRUCT: Cause = "it has a field that is not in this message";

/// Returns whether bytes are a non-empty Struct rather than JSON text.
///
/// Both may begin with 0x0a, tag of the first entry there and line feed here. But each entry of a
/// Struct has a value, whose tag 0x12 is a control character that JSON text never contains.
pub(crate) fn is_struct(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x0a) && bytes.contains(&0x12)
}

/// Decodes a Struct; the error says why the bytes are not one.
pub(crate) fn parse(bytes: &[u8]) -> Result<Tree, Cause> {
    object(Message(bytes), 0)
}

/// The bytes of a message that are not read yet.
struct Message<'a>(&'a [u8]);

/// The value of one field as the wire has it.
enum Wire<'a> {
    Bytes(&'a [u8]),
    Double(f64),
    Varint(u64),
}

impl<'a> Message<'a> {
    /// Reads the next field: its number and value.
    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, Cause> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(TRUNCATED)?;
                self.0 = rest;
                Wire::Double(f64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| TRUNCATED)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(TRUNCATED)?;
                self.0 = rest;
                Wire::Bytes(bytes)
            }
            _ => return Err(NOT_A_STRUCT),
        };
        Ok(Some((tag >> 3, wire)))
    }

    fn varint(&mut self) -> Result<u64, Cause> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(TRUNCATED)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("it has a number longer than 64 bits")
    }
}

fn object(mut message: Message<'_>, depth: usize) -> Result<Tree, Cause> {
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(field) = message.next()? {
        let (1, Wire::Bytes(bytes)) = field else {
            return Err(NOT_A_STRUCT);
        };
        let entry = entry(Message(bytes), depth)?;
        // A map has no order on the wire: this one makes errors come in the same order each time.
        let place = entries.partition_point(|other| other.key <= entry.key);
        entries.insert(place, entry);
    }
    Ok(Tree::Object(entries))
}

fn entry(mut message: Message<'_>, depth: usize) -> Result<Entry, Cause> {
    let mut key = String::new();
    let mut node = None;
    while let Some(field) = message.next()? {
        match field {
            (1, Wire::Bytes(bytes)) => key = text(bytes)?,
            (2, Wire::Bytes(bytes)) => node = Some(value(Message(bytes), depth)?),
            _ => return Err(NOT_A_STRUCT),
        }
    }
    let node = node.ok_or("it has a field without a value")?;
    Ok(Entry::new(key, node))
}

fn value(mut message: Message<'_>, depth: usize) -> Result<Tree, Cause> {
    let depth = depth.saturating_add(1);
    if depth > MAX_DEPTH {
        return Err("it is nested deeper than 64 levels");
    }
    let mut node = None;
    while let Some(field) = message.next()? {
        // The last one counts: that is the rule for a oneof.
        node = Some(match field {
            (1, Wire::Varint(_)) => Tree::Null,
            (2, Wire::Double(number)) => number_node(number)?,
            (3, Wire::Bytes(bytes)) => Tree::TextOrNumber(text(bytes)?),
            (4, Wire::Varint(value)) => Tree::Bool(value != 0),
            (5, Wire::Bytes(bytes)) => object(Message(bytes), depth)?,
            (6, Wire::Bytes(bytes)) => list(Message(bytes), depth)?,
            _ => return Err(NOT_A_STRUCT),
        });
    }
    node.ok_or("it has an empty value")
}

fn list(mut message: Message<'_>, depth: usize) -> Result<Tree, Cause> {
    let mut items = Vec::new();
    while let Some(field) = message.next()? {
        let (1, Wire::Bytes(bytes)) = field else {
            return Err(NOT_A_STRUCT);
        };
        items.push(value(Message(bytes), depth)?);
    }
    Ok(Tree::List(items))
}

fn text(bytes: &[u8]) -> Result<String, Cause> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err("it has text that is not UTF-8"),
    }
}

fn number_node(number: f64) -> Result<Tree, Cause> {
    match number.is_finite() {
        true => Ok(integer(number).unwrap_or(Tree::Float(number))),
        false => Err("it has a number that is not finite"),
    }
}

/// Returns a double that is exactly an integer as one.
pub(crate) fn integer(number: f64) -> Option<Tree> {
    if number.trunc() != number || number.abs() > EXACT {
        return None;
    }
    #[expect(clippy::as_conversions, reason = "no fraction, and within 2^53: exact")]
    let integer = number as i64;
    Some(u64::try_from(integer).map_or(Tree::Signed(integer), Tree::Unsigned))
}
