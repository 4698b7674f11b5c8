//! Redis through webdis: commands are the segments of a path, answers come as Redis writes them.
//!
//! All buckets of a call are asked and charged by one script, which Redis runs alone: exact over any
//! number of gateways. Redis has the only clock, so gateways need not agree on the time.

use filter_core::time::Span;
use sha2_current::{Digest as _, Sha256};

use crate::gcra::Gcra;

/// The script.
pub const SCRIPT: &str = include_str!("redis.lua");
/// What Redis knows it by.
const SCRIPT_SHA1: &str = "4198deffd7c286eea5c153da8914e00aca9552c7";
/// The script's unit of time in nanoseconds.
const TICK: u64 = 100;
/// Answers are shorter: a line for each bucket.
pub const LONGEST_ANSWER: usize = 16 * 1024;

/// A bucket and what it is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its key in Redis: letters, digits, `:`, `-` and `_`.
    pub key: String,
    /// Units of a request.
    pub cost: u64,
    /// Its limit, as Redis counts it.
    pub gcra: Gcra,
}

/// What the script answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether every bucket was charged; none was otherwise.
    pub allowed: bool,
    /// Requests that were charged for ahead.
    pub ahead: u64,
    /// Time until every bucket has the units.
    pub wait: Span,
    /// For each bucket the time until it is full.
    pub debts: Vec<Span>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Redis doesn't know the script, or no more: it was started anew.
    NoScript,
    /// It isn't an answer of the script.
    Other,
}

impl Bucket {
    /// Makes a bucket of a client that has that key under a rule.
    ///
    /// A client is named by a cryptographic hash: keys can be secrets, and nobody may be able to find
    /// a key that has the same one. The limit is part of the name, so that one that changes starts
    /// anew and no other does.
    pub fn new(prefix: &str, rule: &str, client: &[u8], cost: u64, gcra: Gcra) -> Self {
        let gcra = gcra.in_units_of(TICK);
        let [interval, capacity] = gcra.numbers();
        let hash = hex(client);
        Self {
            key: format!("{prefix}:{rule}:{interval}-{capacity}:{hash}"),
            cost,
            gcra,
        }
    }
}

/// The first half of a client's SHA-256, in hexadecimal digits.
pub(crate) fn hex(client: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = Sha256::digest(client);
    let nibbles = hash.iter().take(16).flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .map(|digit| char::from(*digit))
        .collect()
}

/// The path of a call that charges the buckets, and up to `ahead` more requests. With `whole` it
/// brings the script, which Redis remembers from then on.
pub fn path(buckets: &[Bucket], ahead: u64, whole: bool) -> String {
    let mut path = String::with_capacity(256);
    if whole {
        path.push_str("/EVAL/");
        for byte in SCRIPT.bytes() {
            if byte.is_ascii_alphanumeric() {
                path.push(char::from(byte));
            } else {
                path.push_str(&format!("%{byte:02x}"));
            }
        }
    } else {
        path.push_str("/EVALSHA/");
        path.push_str(SCRIPT_SHA1);
    }
    path.push_str(&format!("/{}", buckets.len()));
    for bucket in buckets {
        path.push('/');
        path.push_str(&bucket.key);
    }
    path.push_str(&format!("/{ahead}"));
    for Bucket { cost, gcra, .. } in buckets {
        let [interval, capacity] = gcra.numbers().map(|nanos| nanos / TICK);
        path.push_str(&format!("/{cost}/{interval}/{capacity}"));
    }
    // The answer's form: Redis' own protocol.
    path.push_str(".raw");
    path
}

/// Reads an answer for so many buckets.
///
/// # Errors
/// [`Refusal`].
pub fn read(answer: &[u8], buckets: usize) -> Result<Answer, Refusal> {
    if answer.starts_with(b"-NOSCRIPT") {
        return Err(Refusal::NoScript);
    }
    let mut lines = answer.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let count = lines.next().and_then(|line| line.strip_prefix(b"*"));
    let expected = buckets.checked_add(3).ok_or(Refusal::Other)?;
    if count.and_then(number) != u64::try_from(expected).ok() {
        return Err(Refusal::Other);
    }
    // The script answers texts; a number would do.
    let mut next = || match lines.next()?.split_first()? {
        (b':', rest) => number(rest),
        (b'$', _) => number(lines.next()?),
        _ => None,
    };
    let mut read = || {
        let (allowed, ahead, wait) = (next()?, next()?, next()?);
        let debts: Option<Vec<_>> = (0..buckets).map(|_| next().map(span)).collect();
        Some(Answer {
            allowed: allowed == 1,
            ahead,
            wait: span(wait),
            debts: debts?,
        })
    };
    read().ok_or(Refusal::Other)
}

fn span(ticks: u64) -> Span {
    Span::from_nanos(ticks.saturating_mul(TICK))
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(client: &[u8]) -> Bucket {
        let gcra = Gcra::new(7, Span::from_secs(1), 10, Span::from_secs(86_400));
        Bucket::new("p", "login", client, 2, gcra.unwrap())
    }

    #[test]
    fn a_client_is_named_by_its_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223");
    }

    #[test]
    fn a_path_says_what_is_charged_and_rounds_against_the_client() {
        let path = path(&[bucket(b"abc")], 3, false);
        let expected = format!(
            "/EVALSHA/{SCRIPT_SHA1}/1/p:login:142857200-1428572000:ba7816bf8f01cfea414140de5dae2223\
             /3/2/1428572/14285720.raw"
        );
        assert_eq!(path, expected);
    }

    #[test]
    fn a_path_has_no_byte_that_could_end_it() {
        let path = path(&[bucket(b"a /%\r\n?#")], 0, true);
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!path.contains(['?', '#']));
    }

    #[test]
    fn reads_what_the_script_says() {
        let answer = read(b"*5\r\n:1\r\n:4\r\n:0\r\n:10\r\n:20\r\n", 2);
        assert_eq!(
            answer,
            Ok(Answer {
                allowed: true,
                ahead: 4,
                wait: Span::ZERO,
                debts: vec![Span::from_nanos(1_000), Span::from_nanos(2_000)],
            })
        );
    }

    #[test]
    fn reads_texts_as_well_as_numbers() {
        let answer = read(b"*4\r\n$1\r\n0\r\n$1\r\n0\r\n$2\r\n15\r\n$3\r\n200\r\n", 1).unwrap();
        assert_eq!((answer.allowed, answer.wait.as_nanos()), (false, 1_500));
        assert_eq!(answer.debts, [Span::from_nanos(20_000)]);
    }

    #[test]
    fn redis_knows_the_script_by_its_sha_1() {
        use sha1::Digest as _;
        let hash = sha1::Sha1::digest(SCRIPT);
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digits, SCRIPT_SHA1);
    }

    #[test]
    fn an_unknown_script_is_told_from_other_refusals() {
        assert_eq!(
            read(b"-NOSCRIPT No matching script. Please use EVAL.\r\n", 1),
            Err(Refusal::NoScript)
        );
        for answer in [
            &b""[..],
            b"-ERR x\r\n",
            b"*3\r\n:1\r\n:0\r\n:0\r\n",
            b"*4\r\n:1\r\n:0\r\n:0\r\n",
            b"*4\r\n:1\r\n:0\r\n:-1\r\n:0\r\n",
            b"*4\r\n$1\r\n1\r\n:0\r\n:0\r\n",
            b"*4\r\n$1\r\n",
            b"*4\r\n+1\r\n:0\r\n:0\r\n:0\r\n",
            b"<html>",
        ] {
            assert_eq!(read(answer, 1), Err(Refusal::Other), "{answer:?}");
        }
    }
}
