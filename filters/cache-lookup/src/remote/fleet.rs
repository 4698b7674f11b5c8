//! The purges that a fleet of gateways tells each other of, through a list in the remote tier.
//!
//! A gateway that is asked to purge adds a line to the list; all read it once a second and purge their
//! own stores by the lines that they haven't seen. A value of the remote tier isn't taken if a line
//! younger than it hits it. The list keeps its last [`LINES`]; what is older than all of a full list may
//! have been hit by one that is no longer there, and isn't taken either.

use std::collections::BTreeSet;

use super::value::Value;
use crate::store::op::Op;
use crate::store::wire::index;
use crate::store::{Layout, Millis, Purge, Scope};

/// Lines that the list keeps.
pub const LINES: u32 = 256;
/// How far the clocks of two gateways may be apart, in milliseconds.
pub const SKEW: Millis = 2000;
/// For so long no worker of a gateway asks the remote tier after one of them has heard of a purge: each
/// reads the list by itself, once a second, and a value that it took before that would come back to stay.
const QUIET: Millis = 2500;
/// Bytes of a prefix, tag or key that go into a line.
const LONGEST: usize = 1024;

/// One purge, as a line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was asked for.
    pub at: Millis,
    /// A number that no other line has.
    pub id: u64,
    /// What it hits.
    pub what: Target,
    /// Whether what it hits becomes stale instead of going.
    pub soft: bool,
}

/// What a line hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Many objects.
    Many(Scope),
    /// What is stored under one key.
    Key(Vec<u8>),
}

impl Line {
    /// The text of the list. A prefix that is too long is cut, and hits more; a tag or key that is too
    /// long to be told exactly hits all.
    pub fn encode(&self) -> String {
        let (kind, bytes) = match &self.what {
            Target::Many(Scope::All) => ('a', &[][..]),
            Target::Many(Scope::Prefix(prefix)) => ('p', prefix.get(..LONGEST).unwrap_or(prefix)),
            Target::Many(Scope::Tag(tag)) if tag.len() <= LONGEST => ('t', &tag[..]),
            Target::Key(key) if key.len() <= LONGEST => ('k', &key[..]),
            Target::Many(Scope::Tag(_)) | Target::Key(_) => ('a', &[][..]),
        };
        let soft = u8::from(self.soft);
        let mut text = format!("1-{}-{:016x}-{soft}-{kind}-", self.at, self.id);
        bytes
            .iter()
            .for_each(|byte| text.push_str(&format!("{byte:02x}")));
        text
    }

    /// Reads a line back; `None` if it isn't one.
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        if parts.next()? != "1" {
            return None;
        }
        let at = parts.next()?.parse().ok()?;
        let id = u64::from_str_radix(parts.next()?, 16).ok()?;
        let soft = parts.next()? == "1";
        let kind = parts.next()?;
        let (pairs, rest) = parts.next()?.as_bytes().as_chunks::<2>();
        let digit = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Vec<u8> = pairs.iter().map(digit).collect::<Option<_>>()?;
        let what = match kind {
            "a" => Target::Many(Scope::All),
            "p" => Target::Many(Scope::Prefix(bytes)),
            "t" => Target::Many(Scope::Tag(bytes)),
            "k" => Target::Key(bytes),
            _ => return None,
        };
        let line = Self { at, id, what, soft };
        (rest.is_empty() && parts.next().is_none()).then_some(line)
    }

    fn hits(&self, key: &[u8], value: &Value) -> bool {
        match &self.what {
            Target::Many(Scope::All) => true,
            Target::Many(Scope::Prefix(prefix)) => value.meta.name.starts_with(prefix),
            Target::Many(Scope::Tag(tag)) => value.meta.tags.contains(tag),
            Target::Key(hit) => hit == key,
        }
    }

    /// The purge of the own store that it stands for; `None` for that of one key.
    pub fn purge(&self) -> Option<Purge> {
        match &self.what {
            Target::Many(what) => Some(Purge {
                what: what.clone(),
                soft: self.soft,
            }),
            Target::Key(_) => None,
        }
    }
}

/// Whether the caller is the one of this gateway's workers to carry a line out: the first that asks.
pub fn claim<'a>(layout: &'a Layout, id: u64) -> Op<'a, bool> {
    const TRIES: u32 = 32;
    Op::new(move |io| async move {
        for _ in 0..TRIES {
            let (stored, cas) = io.read(layout.fleet_key()).await;
            let stored = stored.unwrap_or_default();
            let (ids, _) = stored.as_chunks::<8>();
            if ids.contains(&id.to_le_bytes()) {
                return false;
            }
            // Twice the list, so that no line in it is ever out of here.
            let most = index(u64::from(LINES).saturating_mul(2)).saturating_sub(1);
            let skip = ids.len().saturating_sub(most);
            let kept = ids.iter().skip(skip).flatten().copied();
            let value: Vec<u8> = kept.chain(id.to_le_bytes()).collect();
            if io.write(layout.fleet_key(), value, Some(cas)).await {
                return true;
            }
        }
        false
    })
}

/// Has all workers of this gateway leave the remote tier alone for a while: one of them knows of a purge
/// that the others haven't read of.
pub fn keep_quiet<'a>(layout: &'a Layout, now: Millis) -> Op<'a, bool> {
    let until = now.saturating_add(QUIET).to_le_bytes();
    Op::new(move |io| async move { io.write(layout.quiet_key(), until.to_vec(), None).await })
}

/// Whether the remote tier is to be left alone.
pub fn is_quiet<'a>(layout: &'a Layout, now: Millis) -> Op<'a, bool> {
    Op::new(move |io| async move {
        let (stored, _) = io.read(layout.quiet_key()).await;
        let until = stored.and_then(|value| value.try_into().ok());
        until.is_some_and(|until| now < Millis::from_le_bytes(until))
    })
}

/// What purges of the fleet do to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Spared,
    /// It is to be taken as stale.
    Stale,
    /// It isn't to be taken.
    Gone,
}

/// The list as it was read last.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    lines: Vec<Line>,
    seen: BTreeSet<u64>,
    /// When it was read last; none before it was read once.
    read: Option<Millis>,
}

impl Fleet {
    /// Takes the list as it was read; returns the lines that weren't in it before. Lines that aren't ours
    /// are passed over.
    ///
    /// What the first reading brings counts for values of the remote tier, but isn't new: the own store
    /// is younger, or has seen it.
    pub fn read(&mut self, texts: &[String], now: Millis) -> Vec<Line> {
        let lines: Vec<_> = texts.iter().filter_map(|text| Line::decode(text)).collect();
        let is_first = self.read.replace(now).is_none();
        let mut new = lines.clone();
        new.retain(|line| !is_first && !self.seen.contains(&line.id));
        self.seen = lines.iter().map(|line| line.id).collect();
        self.lines = lines;
        new
    }

    /// Notes a purge that was asked of this gateway.
    pub fn add(&mut self, line: Line) {
        self.seen.insert(line.id);
        self.lines.push(line);
    }

    /// Whether the list is known and not too old to go by.
    pub fn is_known(&self, now: Millis) -> bool {
        const OLDEST: Millis = 10_000;
        self.read
            .is_some_and(|read| now.saturating_sub(read) <= OLDEST)
    }

    /// What the purges do to a value found under a key.
    pub fn fate(&self, key: &[u8], value: &Value) -> Fate {
        let is_before = |at: Millis| value.asked <= at.saturating_add(SKEW);
        let is_full = self.lines.len() >= index(u64::from(LINES));
        let oldest = self.lines.iter().map(|line| line.at).min();
        if is_full && oldest.is_some_and(is_before) {
            return Fate::Gone;
        }
        let hits = self
            .lines
            .iter()
            .filter(|line| is_before(line.at) && line.hits(key, value));
        hits.fold(Fate::Spared, |fate, line| match (fate, line.soft) {
            (Fate::Gone, _) | (_, false) => Fate::Gone,
            _ => Fate::Stale,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Meta;

    fn line(at: Millis, id: u64, what: Target) -> Line {
        Line {
            at,
            id,
            what,
            soft: false,
        }
    }

    fn value(asked: Millis) -> Value {
        Value {
            asked,
            meta: Meta {
                name: b"a.example/x".to_vec(),
                tags: vec![b"news".to_vec()],
                ..Meta::default()
            },
            body: Vec::new(),
        }
    }

    fn targets() -> [Target; 4] {
        [
            Target::Many(Scope::All),
            Target::Many(Scope::Prefix(b"a.example/".to_vec())),
            Target::Many(Scope::Tag(b"news".to_vec())),
            Target::Key(b"key".to_vec()),
        ]
    }

    #[test]
    fn a_line_reads_back_as_it_was_written_and_nonsense_does_not() {
        for what in targets() {
            let line = line(7, u64::MAX, what);
            assert_eq!(Line::decode(&line.encode()), Some(line));
        }
        for text in [
            "",
            "1",
            "1-x-0-0-a-",
            "1-7-0-0-z-",
            "1-7-0-0-p-0",
            "1-7-0-0-a--",
            "2-7-0-0-a-",
        ] {
            assert_eq!(Line::decode(text), None, "{text}");
        }
    }

    #[test]
    fn a_value_older_than_a_purge_that_hits_it_is_not_taken() {
        for what in targets() {
            let mut fleet = Fleet::default();
            fleet.add(line(10_000, 1, what));
            assert_eq!(fleet.fate(b"key", &value(10_000)), Fate::Gone);
            assert_eq!(fleet.fate(b"key", &value(10_001 + SKEW)), Fate::Spared);
        }
        let mut fleet = Fleet::default();
        fleet.add(line(10_000, 1, Target::Many(Scope::Tag(b"sport".to_vec()))));
        assert_eq!(fleet.fate(b"key", &value(0)), Fate::Spared);
    }

    #[test]
    fn a_line_is_new_once_and_those_of_the_first_reading_are_not() {
        let texts = |ids: std::ops::Range<u64>| -> Vec<String> {
            ids.map(|id| line(id, id, Target::Many(Scope::All)).encode())
                .collect()
        };
        let mut fleet = Fleet::default();
        assert!(!fleet.is_known(0));
        assert_eq!(fleet.read(&texts(0..3), 0).len(), 0);
        assert!(fleet.is_known(5000) && !fleet.is_known(10_001));
        assert_eq!(fleet.read(&texts(1..5), 0).len(), 2);
        assert_eq!(fleet.read(&texts(1..5), 0).len(), 0);
        fleet.add(line(9, 9, Target::Many(Scope::All)));
        assert_eq!(fleet.read(&texts(5..10), 0).len(), 4);
    }

    #[test]
    fn what_is_older_than_a_full_list_is_not_taken() {
        let mut fleet = Fleet::default();
        for id in 0..u64::from(LINES) {
            fleet.add(line(100_000 + id, id, Target::Key(b"other".to_vec())));
        }
        assert_eq!(fleet.fate(b"key", &value(100_000)), Fate::Gone);
        assert_eq!(fleet.fate(b"key", &value(110_000)), Fate::Spared);
    }
}
