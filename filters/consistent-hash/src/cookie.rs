//! The session cookie: a random name for a client, signed, so that nobody makes up one that suits.
//!
//! `id.expiry.code`, each in hexadecimal: 16 random bytes, the second since 1970 after which it no longer
//! counts (0 for never), and the first 16 bytes of HMAC-SHA-256 (RFC 2104) over the two and the cookie's
//! name. A key to a host it is, not to anything else: whoever steals it gets the same host.

use hmac::{Hmac, KeyInit, Mac};
use sha2_current::Sha256;

/// A session's name.
pub type Id = [u8; 16];

/// Bytes of a code that are sent.
const CODE: usize = 16;

/// How sessions are told, checked.
#[derive(Clone)]
pub struct Sessions {
    /// The cookie's name: a token.
    name: String,
    /// The first signs; all are believed.
    codes: Vec<Hmac<Sha256>>,
    /// Seconds that a cookie counts; until the browser is closed if there are none.
    ttl: Option<u64>,
    /// What else the cookie says.
    attributes: String,
}

/// A cookie that was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its session.
    pub id: Id,
    /// Whether more than half of its time is over, so that it should be given anew.
    pub is_old: bool,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sessions({})", self.name)
    }
}

impl Sessions {
    /// Makes sessions of a cookie's name, secrets of which the first signs, the time that a cookie counts
    /// in seconds, and its attributes as they are written after `; `.
    pub fn new(
        name: &str,
        secrets: &[String],
        ttl: Option<u64>,
        attributes: &[String],
    ) -> Option<Self> {
        let codes = secrets
            .iter()
            .map(|secret| Hmac::new_from_slice(secret.as_bytes()).ok());
        let attributes = attributes.iter().map(|attribute| format!("; {attribute}"));
        Some(Self {
            name: name.to_owned(),
            codes: codes.collect::<Option<_>>()?,
            ttl,
            attributes: attributes.collect(),
        })
    }

    /// The cookie's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a cookie's value; `None` if it isn't one of ours or its time is over. `now` is in seconds
    /// since 1970.
    pub fn read(&self, value: &[u8], now: u64) -> Option<Session> {
        let mut parts = value.split(|byte| *byte == b'.');
        let id: Id = unhexed(parts.next()?)?;
        let expiry: [u8; 8] = unhexed(parts.next()?)?;
        let code: [u8; CODE] = unhexed(parts.next()?)?;
        if parts.next().is_some() {
            return None;
        }
        let is_ours = |key: &Hmac<Sha256>| {
            let mac = self.sign(key.clone(), id, expiry);
            mac.verify_truncated_left(&code).is_ok()
        };
        if !self.codes.iter().any(is_ours) {
            return None;
        }
        let expiry = u64::from_be_bytes(expiry);
        let left = expiry.saturating_sub(now);
        let is_old = match self.ttl {
            // One that never ends, from before cookies did.
            Some(_) if expiry == 0 => true,
            Some(ttl) => left < ttl.div_ceil(2),
            None => false,
        };
        (expiry == 0 || left > 0).then_some(Session { id, is_old })
    }

    /// The line of `Set-Cookie` for a session.
    pub fn write(&self, id: Id, now: u64) -> String {
        let expiry = self.ttl.map_or(0, |ttl| now.saturating_add(ttl));
        let expiry = expiry.to_be_bytes();
        let code = self.codes.first().map(|key| {
            let mac = self.sign(key.clone(), id, expiry);
            mac.finalize().into_bytes()
        });
        let code = code.as_ref().and_then(|code| code.get(..CODE));
        let max_age = self
            .ttl
            .map_or_else(String::new, |ttl| format!("; Max-Age={ttl}"));
        format!(
            "{}={}.{}.{}{max_age}{}",
            self.name,
            hexed(&id),
            hexed(&expiry),
            hexed(code.unwrap_or_default()),
            self.attributes
        )
    }

    fn sign(&self, mut mac: Hmac<Sha256>, id: Id, expiry: [u8; 8]) -> Hmac<Sha256> {
        mac.update(&id);
        mac.update(&expiry);
        mac.update(self.name.as_bytes());
        mac
    }
}

/// Bytes in lower-case hexadecimal.
pub fn hexed(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.collect()
}

fn unhexed<const LEN: usize>(text: &[u8]) -> Option<[u8; LEN]> {
    let mut bytes = [0; LEN];
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != LEN || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| match digit {
            b'A'..=b'F' => None,
            _ => u8::try_from(char::from(digit).to_digit(16)?).ok(),
        };
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(secrets: &[&str], ttl: Option<u64>) -> Sessions {
        let secrets: Vec<_> = secrets.iter().map(ToString::to_string).collect();
        Sessions::new("sid", &secrets, ttl, &["HttpOnly".to_owned()]).unwrap()
    }

    fn value(line: &str) -> Vec<u8> {
        let (_, value) = line.split_once('=').unwrap();
        value.split(';').next().unwrap().as_bytes().to_vec()
    }

    #[test]
    fn what_is_written_is_read_until_its_time_is_over() {
        let sessions = sessions(&["secret"], Some(60));
        let line = sessions.write([7; 16], 1000);
        assert!(line.starts_with("sid=07070707"), "{line}");
        assert!(line.ends_with("; Max-Age=60; HttpOnly"), "{line}");
        let read = |now| sessions.read(&value(&line), now);
        assert_eq!(
            read(1010),
            Some(Session {
                id: [7; 16],
                is_old: false
            })
        );
        assert_eq!(
            read(1031),
            Some(Session {
                id: [7; 16],
                is_old: true
            })
        );
        assert_eq!(read(1059).map(|session| session.id), Some([7; 16]));
        assert_eq!(read(1060), None);
    }

    #[test]
    fn nothing_in_it_can_be_changed() {
        let sessions = sessions(&["secret"], None);
        let right = value(&sessions.write([7; 16], 1000));
        assert!(sessions.read(&right, u64::MAX).is_some());
        for at in 0..right.len() {
            for byte in *b"0af.A " {
                let mut wrong = right.clone();
                wrong[at] = byte;
                if wrong != right {
                    assert_eq!(sessions.read(&wrong, 1000), None, "{at} {byte}");
                }
            }
            assert_eq!(sessions.read(&right[..at], 1000), None);
        }
        assert_eq!(sessions.read(&[&right[..], b".00"].concat(), 1000), None);
    }

    #[test]
    fn secrets_can_be_changed_without_losing_sessions() {
        let old = value(&sessions(&["old"], None).write([7; 16], 0));
        assert!(sessions(&["new", "old"], None).read(&old, 0).is_some());
        assert!(sessions(&["new"], None).read(&old, 0).is_none());
        let new = value(&sessions(&["new", "old"], None).write([7; 16], 0));
        assert!(sessions(&["new"], None).read(&new, 0).is_some());
    }

    #[test]
    fn the_code_is_the_one_that_rfc_2104_makes() {
        // By Python's hmac.new(b'secret', b'\x07' * 16 + b'\0' * 8 + b'sid', sha256).
        let value = value(&sessions(&["secret"], None).write([7; 16], 0));
        let code = std::str::from_utf8(&value[50..]).unwrap();
        assert_eq!(code, "ca7df131f8677ad069ef530553f63db6");
    }
}
