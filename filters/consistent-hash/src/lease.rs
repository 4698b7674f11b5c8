//! Who of several workers does a piece of work for all: the one whose name stands in shared data.
//!
//! A lease is a name and the moment until which it counts. Its holder renews it in time; when it has
//! gone, whoever comes first takes over. Two workers can believe for a moment that they hold it only if
//! one was halted between reading and writing, and the compare-and-set of shared data rules that out.

use filter_core::time::{Span, Timestamp};

/// The name of a worker's VM: random.
pub type Name = u64;

/// What a worker learns of the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is its own, for long enough yet.
    Mine,
    /// It is its own if this can be stored.
    IfStored(Vec<u8>),
    /// Another has it.
    Others,
}

/// Reads the stored lease as the worker `me` that would do the work now. A value that is no lease, or
/// one that ends later than any lease could, counts as none.
pub fn ask(stored: Option<&[u8]>, me: Name, now: Timestamp, length: Span) -> Held {
    let current = stored.and_then(read);
    let ends = now.after(length);
    match current {
        Some((holder, until)) if holder == me && until > now => {
            let half = Span::from_nanos(length.as_nanos().checked_div(2).unwrap_or(0));
            if until.since(now) > half && until <= ends {
                Held::Mine
            } else {
                Held::IfStored(write(me, ends))
            }
        }
        Some((_, until)) if until > now && until <= ends => Held::Others,
        _ => Held::IfStored(write(me, ends)),
    }
}

fn read(bytes: &[u8]) -> Option<(Name, Timestamp)> {
    let (name, rest) = bytes.split_first_chunk::<8>()?;
    let until = <[u8; 8]>::try_from(rest).ok()?;
    let until = Timestamp::from_nanos(u64::from_le_bytes(until));
    Some((Name::from_le_bytes(*name), until))
}

fn write(name: Name, until: Timestamp) -> Vec<u8> {
    let mut bytes = name.to_le_bytes().to_vec();
    bytes.extend_from_slice(&until.as_nanos().to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Span = Span::from_secs(10);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.after(Span::from_secs(seconds))
    }

    #[test]
    fn the_first_takes_it_and_others_wait_until_it_ends() {
        let Held::IfStored(mine) = ask(None, 1, at(100), LENGTH) else {
            panic!("nobody had it");
        };
        assert_eq!(ask(Some(&mine), 1, at(101), LENGTH), Held::Mine);
        assert_eq!(ask(Some(&mine), 2, at(109), LENGTH), Held::Others);
        assert!(matches!(
            ask(Some(&mine), 2, at(110), LENGTH),
            Held::IfStored(_)
        ));
    }

    #[test]
    fn the_holder_renews_it_in_the_second_half() {
        let stored = write(1, at(10));
        assert_eq!(ask(Some(&stored), 1, at(4), LENGTH), Held::Mine);
        assert_eq!(
            ask(Some(&stored), 1, at(6), LENGTH),
            Held::IfStored(write(1, at(16)))
        );
    }

    #[test]
    fn what_is_no_lease_is_taken_over() {
        for stored in [&b""[..], b"nonsense", &[0xff; 16], &[0; 17]] {
            assert!(
                matches!(ask(Some(stored), 2, at(5), LENGTH), Held::IfStored(_)),
                "{stored:?}"
            );
        }
    }
}
