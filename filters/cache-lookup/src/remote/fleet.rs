//! What the gateways of a fleet tell one another, through two lists in the remote tier: purges of many
//! objects, and keys that a write or a purge made worthless.
//!
//! A gateway that is asked to purge, or sees a write pass, adds a line to one of them; all read them once
//! a second and do to their own stores what the lines say that they haven't seen.
//!
//! A value of the remote tier isn't taken if a purge of the list is younger than it and hits it. That list
//! keeps its last [`List::length`] lines; what is older than all of a full list may have been hit by one
//! that is no longer there, and isn't taken either. Keys are many more than purges and need no such rule:
//! their values are removed, and each gateway's store knows for a while which keys went.

use super::value::Value;
use crate::store::op::Op;
use crate::store::wire::{Reader, index};
use crate::store::{Layout, Millis, Purge, Scope};

/// How far the clocks of two gateways may be apart, in milliseconds.
pub const SKEW: Millis = 2000;
/// Milliseconds between two readings of a list.
pub const EVERY: Millis = 1000;
/// For so long no worker of a gateway asks the remote tier after one of them has heard of a purge: each
/// reads the list by itself, once a second, and a value that it took before that would come back to stay.
const QUIET: Millis = 2500;
/// For so long a purge counts that isn't in the list: it may be on its way there.
const ON_ITS_WAY: Millis = 60_000;
/// Bytes of a prefix or tag, and of all keys, that go into a line.
const LONGEST: usize = 1024;
const LONGEST_KEYS: usize = 4096;

/// One of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Purges of many objects.
    Purges,
    /// Keys that went.
    Keys,
}

impl List {
    /// Lines that it keeps.
    pub const fn length(self) -> u32 {
        match self {
            Self::Purges => 256,
            Self::Keys => 1024,
        }
    }

    /// What its name in the remote tier ends with.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Purges => "purges",
            Self::Keys => "keys",
        }
    }

    /// Bytes of it at its longest.
    pub fn most_bytes(self) -> usize {
        let line = match self {
            Self::Purges => LONGEST,
            Self::Keys => LONGEST_KEYS,
        };
        // Two digits a byte, and what stands before them.
        let line = line.saturating_mul(2).saturating_add(256);
        index(self.length().into()).saturating_mul(line)
    }
}

/// One purge or write, as a line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was asked for.
    pub at: Millis,
    /// The gateway that was asked, which has done so already.
    pub gateway: u64,
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
    /// What is stored under these keys.
    Keys(Vec<Vec<u8>>),
}

impl Target {
    /// These keys; or, where they are too long to be told, all whose name begins as theirs does.
    pub fn keys(keys: Vec<Vec<u8>>, name: &[u8]) -> Self {
        let bytes = keys.iter().map(Vec::len).fold(0, usize::saturating_add);
        if bytes <= LONGEST_KEYS {
            Self::Keys(keys)
        } else {
            Self::Many(Scope::Prefix(name.to_vec()))
        }
    }
}

impl Line {
    /// The list that it belongs to.
    pub const fn list(&self) -> List {
        match self.what {
            Target::Many(_) => List::Purges,
            Target::Keys(_) => List::Keys,
        }
    }

    /// The text of the list. A prefix that is too long is cut, and hits more; a tag that is too long to be
    /// told exactly hits all.
    pub fn encode(&self) -> String {
        let all = &b""[..];
        let (kind, parts) = match &self.what {
            Target::Many(Scope::Prefix(prefix)) => {
                ('p', vec![prefix.get(..LONGEST).unwrap_or(prefix)])
            }
            Target::Many(Scope::Tag(tag)) if tag.len() <= LONGEST => ('t', vec![&tag[..]]),
            Target::Many(Scope::All | Scope::Tag(_)) => ('a', vec![all]),
            Target::Keys(keys) => ('k', keys.iter().map(|key| &key[..]).collect()),
        };
        let (gateway, id, soft) = (self.gateway, self.id, u8::from(self.soft));
        let mut text = format!("2-{}-{gateway:016x}-{id:016x}-{soft}-{kind}", self.at);
        for part in parts {
            text.push('-');
            part.iter()
                .for_each(|byte| text.push_str(&format!("{byte:02x}")));
        }
        text
    }

    /// Reads a line back; `None` if it isn't one.
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        if parts.next()? != "2" {
            return None;
        }
        let at = parts.next()?.parse().ok()?;
        let gateway = u64::from_str_radix(parts.next()?, 16).ok()?;
        let id = u64::from_str_radix(parts.next()?, 16).ok()?;
        let soft = parts.next()? == "1";
        let kind = parts.next()?;
        let mut bytes: Vec<Vec<u8>> = parts.map(unhex).collect::<Option<_>>()?;
        let what = match (kind, bytes.len()) {
            ("k", 1..) => Target::Keys(bytes),
            ("a", 1) => Target::Many(Scope::All),
            ("p", 1) => Target::Many(Scope::Prefix(bytes.pop()?)),
            ("t", 1) => Target::Many(Scope::Tag(bytes.pop()?)),
            _ => return None,
        };
        Some(Self {
            at,
            gateway,
            id,
            what,
            soft,
        })
    }

    fn hits(&self, value: &Value) -> bool {
        match &self.what {
            Target::Many(Scope::All) => true,
            Target::Many(Scope::Prefix(prefix)) => value.meta.name.starts_with(prefix),
            Target::Many(Scope::Tag(tag)) => value.meta.tags.contains(tag),
            Target::Keys(_) => false,
        }
    }

    /// The purge of the own store that it stands for; `None` for that of keys.
    pub fn purge(&self) -> Option<Purge> {
        match &self.what {
            Target::Many(what) => Some(Purge {
                what: what.clone(),
                soft: self.soft,
            }),
            Target::Keys(_) => None,
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty()
        .then(|| pairs.iter().map(digit).collect())
        .flatten()
}

/// What a gateway knows of a list, for all its workers.
#[derive(Clone, Debug, Default)]
struct Known {
    /// When one of its workers set out to read it last.
    asked: Millis,
    /// Whether it was ever read.
    is_read: bool,
    /// The numbers of the lines that were in it, the youngest last.
    ids: Vec<u64>,
}

impl Known {
    fn decode(stored: Option<Vec<u8>>) -> Self {
        let read = |bytes: &[u8]| {
            let mut reader = Reader(bytes);
            let mut known = Self {
                asked: reader.u64()?,
                is_read: reader.u8()? == 1,
                ids: Vec::new(),
            };
            while !reader.is_done() {
                known.ids.push(reader.u64()?);
            }
            Some(known)
        };
        stored.and_then(|bytes| read(&bytes)).unwrap_or_default()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = self.asked.to_le_bytes().to_vec();
        out.push(u8::from(self.is_read));
        for id in &self.ids {
            out.extend_from_slice(&id.to_le_bytes());
        }
        out
    }
}

/// Races lost after which another worker is left to do it.
const TRIES: u32 = 32;

/// Whether the caller is the one of this gateway's workers to read a list now: none has in the last
/// second.
pub fn is_turn<'a>(layout: &'a Layout, list: List, now: Millis) -> Op<'a, bool> {
    Op::new(move |io| async move {
        let (stored, cas) = io.read(layout.fleet_key(list.name())).await;
        let mut known = Known::decode(stored);
        if known.asked <= now && now.saturating_sub(known.asked) < EVERY {
            return false;
        }
        known.asked = now;
        let value = known.encode();
        io.write(layout.fleet_key(list.name()), value, Some(cas))
            .await
    })
}

/// What is to be done about a list that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// The numbers of the lines that the caller is to carry out: no worker of its gateway has seen them.
    pub ids: Vec<u64>,
    /// There may have been lines that are no longer in the list.
    pub is_lost: bool,
}

/// Takes note of a list's lines, for all workers of the gateway; tells which are new. Of the first reading
/// those are that are no older than the gateway's store, which is from `started`.
pub fn sift<'a>(
    layout: &'a Layout,
    list: List,
    lines: &'a [Line],
    started: Millis,
) -> Op<'a, News> {
    Op::new(move |io| async move {
        for _ in 0..TRIES {
            let (stored, cas) = io.read(layout.fleet_key(list.name())).await;
            let mut known = Known::decode(stored);
            let is_new = |line: &&Line| match known.is_read {
                true => !known.ids.contains(&line.id),
                false => line.at.saturating_add(SKEW) >= started,
            };
            let ids: Vec<_> = lines.iter().filter(is_new).map(|line| line.id).collect();
            let length = index(list.length().into());
            let is_lost = lines.len() >= length && ids.len() == lines.len();
            let unseen = lines.iter().map(|line| line.id);
            let unseen: Vec<_> = unseen.filter(|id| !known.ids.contains(id)).collect();
            if unseen.is_empty() && known.is_read {
                return News::default();
            }
            known.ids.extend(unseen);
            // Twice the list, so that no line in it is ever out of here.
            let extra = known.ids.len().saturating_sub(length.saturating_mul(2));
            known.ids.drain(..extra);
            known.is_read = true;
            let value = known.encode();
            if io
                .write(layout.fleet_key(list.name()), value, Some(cas))
                .await
            {
                return News { ids, is_lost };
            }
        }
        News::default()
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

/// The list of purges as a worker read it last.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    lines: Vec<Line>,
    /// When it was read last; none before it was read once.
    read: Option<Millis>,
}

impl Fleet {
    /// Takes the list as it was read.
    pub fn read(&mut self, lines: &[Line], now: Millis) {
        self.read = Some(now);
        let is_there = |id: u64| lines.iter().any(|line| line.id == id);
        self.lines
            .retain(|line| line.at.saturating_add(ON_ITS_WAY) > now && !is_there(line.id));
        self.lines.extend_from_slice(lines);
    }

    /// Notes a purge that was asked of this gateway.
    pub fn add(&mut self, line: Line) {
        if self.lines.len() < index(List::Purges.length().into()).saturating_mul(2) {
            self.lines.push(line);
        }
    }

    /// Whether the list is known and not too old to go by.
    pub fn is_known(&self, now: Millis) -> bool {
        const OLDEST: Millis = 10_000;
        self.read
            .is_some_and(|read| now.saturating_sub(read) <= OLDEST)
    }

    /// What the purges do to a value.
    pub fn fate(&self, value: &Value) -> Fate {
        let is_before = |at: Millis| value.asked <= at.saturating_add(SKEW);
        let is_full = self.lines.len() >= index(List::Purges.length().into());
        let oldest = self.lines.iter().map(|line| line.at).min();
        if is_full && oldest.is_some_and(is_before) {
            return Fate::Gone;
        }
        let hits = self
            .lines
            .iter()
            .filter(|line| is_before(line.at) && line.hits(value));
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
            gateway: 3,
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

    fn scopes() -> [Target; 3] {
        [
            Target::Many(Scope::All),
            Target::Many(Scope::Prefix(b"a.example/".to_vec())),
            Target::Many(Scope::Tag(b"news".to_vec())),
        ]
    }

    #[test]
    fn a_line_reads_back_as_it_was_written_and_nonsense_does_not() {
        let keys = Target::Keys(vec![b"key".to_vec(), Vec::new(), b"-".to_vec()]);
        for what in scopes().into_iter().chain([keys]) {
            let line = line(7, u64::MAX, what);
            assert_eq!(Line::decode(&line.encode()), Some(line));
        }
        for text in [
            "",
            "2",
            "2-x-0-0-0-a-",
            "2-7-0-0-0-z-",
            "2-7-0-0-0-p-0",
            "2-7-0-0-0-p-é",
            "2-7-0-0-0-a--",
            "2-7-0-0-0-k",
            "1-7-0-0-0-a-",
        ] {
            assert_eq!(Line::decode(text), None, "{text}");
        }
    }

    #[test]
    fn keys_that_are_too_long_to_be_told_are_told_as_a_prefix() {
        let name = b"a.example/x";
        let told = |len| Target::keys(vec![vec![b'k'; len]; 2], name);
        assert_eq!(told(2048), Target::Keys(vec![vec![b'k'; 2048]; 2]));
        assert_eq!(told(2049), Target::Many(Scope::Prefix(name.to_vec())));
    }

    #[test]
    fn no_line_is_longer_than_its_list_is_read() {
        let longest = [
            Target::Many(Scope::Prefix(vec![b'x'; 9999])),
            Target::Many(Scope::Tag(vec![b'x'; LONGEST])),
            Target::keys(vec![vec![b'x'; 64]; LONGEST_KEYS / 64], b""),
        ];
        for what in longest {
            let line = line(u64::MAX, u64::MAX, what);
            let lines = index(line.list().length().into());
            // Its own length stands before each.
            let bytes = (line.encode().len() + 12) * lines;
            assert!(bytes < line.list().most_bytes(), "{:?}", line.list());
        }
    }

    #[test]
    fn a_value_older_than_a_purge_that_hits_it_is_not_taken() {
        for what in scopes() {
            let mut fleet = Fleet::default();
            fleet.add(line(10_000, 1, what));
            assert_eq!(fleet.fate(&value(10_000)), Fate::Gone);
            assert_eq!(fleet.fate(&value(10_001 + SKEW)), Fate::Spared);
        }
        let mut fleet = Fleet::default();
        fleet.add(line(10_000, 1, Target::Many(Scope::Tag(b"sport".to_vec()))));
        assert_eq!(fleet.fate(&value(0)), Fate::Spared);
    }

    #[test]
    fn an_own_purge_counts_before_it_is_in_the_list() {
        let mut fleet = Fleet::default();
        assert!(!fleet.is_known(0));
        fleet.add(line(1000, 1, Target::Many(Scope::All)));
        fleet.read(&[], 2000);
        assert!(fleet.is_known(2000) && fleet.is_known(12_000) && !fleet.is_known(12_001));
        assert_eq!(fleet.fate(&value(500)), Fate::Gone);
        fleet.read(&[], 61_000);
        assert_eq!(fleet.fate(&value(500)), Fate::Spared, "it never got there");
    }

    #[test]
    fn what_is_older_than_a_full_list_is_not_taken() {
        let mut fleet = Fleet::default();
        for id in 0..u64::from(List::Purges.length()) {
            let other = Target::Many(Scope::Tag(b"other".to_vec()));
            fleet.add(line(100_000 + id, id, other));
        }
        assert_eq!(fleet.fate(&value(100_000)), Fate::Gone);
        assert_eq!(fleet.fate(&value(110_000)), Fate::Spared);
    }
}
