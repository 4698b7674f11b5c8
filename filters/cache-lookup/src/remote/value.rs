//! An object as the remote tier has it: one value, whole, with its key and a checksum.

use filter_core::hash::{Seed, digest};

use crate::store::wire::{Reader, put_counted};
use crate::store::{Meta, Millis};

const MAGIC: u32 = 0x3156_4350;

/// An object that comes from the remote tier, or goes there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// When the origin was asked for it. Purges that are younger hit it.
    pub asked: Millis,
    /// What is stored beside the body.
    pub meta: Meta,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Value {
    /// The bytes to be stored under a key.
    pub fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 8];
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&self.asked.to_le_bytes());
        out.extend_from_slice(&self.meta.keep_until.to_le_bytes());
        put_counted(&mut out, key);
        put_counted(&mut out, &self.meta.name);
        let tags = u16::try_from(self.meta.tags.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&tags.to_le_bytes());
        for tag in self.meta.tags.iter().take(usize::from(tags)) {
            put_counted(&mut out, tag);
        }
        put_counted(&mut out, &self.meta.head);
        put_counted(&mut out, &self.body);
        let sum = sum(out.get(8..).unwrap_or_default());
        if let Some(field) = out.get_mut(..8) {
            field.copy_from_slice(&sum.to_le_bytes());
        }
        out
    }

    /// Reads what was found under a key: `None` if it isn't whole, not of this form, or about another
    /// key.
    pub fn decode(bytes: &[u8], key: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let stored = reader.u64()?;
        if stored != sum(reader.0) || reader.u32()? != MAGIC {
            return None;
        }
        let asked = reader.u64()?;
        let keep_until = reader.u64()?;
        if reader.counted()? != key {
            return None;
        }
        let name = reader.counted()?.to_vec();
        let mut tags = Vec::new();
        for _ in 0..reader.u16()? {
            tags.push(reader.counted()?.to_vec());
        }
        let head = reader.counted()?.to_vec();
        let body = reader.counted()?.to_vec();
        reader.is_done().then_some(Self {
            asked,
            meta: Meta {
                head,
                keep_until,
                name,
                tags,
            },
            body,
        })
    }
}

/// Tells damage, not malice: who can write to the cache can write anything.
fn sum(bytes: &[u8]) -> u64 {
    Seed::from_bytes(*b"penstock value 1").hash_half(bytes) ^ digest(&bytes.len().to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> Value {
        Value {
            asked: 5,
            meta: Meta {
                head: b"head".to_vec(),
                keep_until: 9,
                name: b"a.example/".to_vec(),
                tags: vec![b"news".to_vec(), Vec::new()],
            },
            body: (0..=255).collect(),
        }
    }

    #[test]
    fn a_value_reads_back_under_its_own_key_alone() {
        let bytes = value().encode(b"key");
        assert_eq!(Value::decode(&bytes, b"key"), Some(value()));
        assert_eq!(Value::decode(&bytes, b"other"), None);
    }

    #[test]
    fn a_value_with_any_bit_wrong_or_any_byte_missing_is_none() {
        let bytes = value().encode(b"key");
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert_eq!(Value::decode(&wrong, b"key"), None, "{at}");
            assert_eq!(Value::decode(&bytes[..at], b"key"), None, "{at}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert_eq!(Value::decode(&longer, b"key"), None);
    }
}
