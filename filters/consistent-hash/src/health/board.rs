//! What is remembered of all hosts, as one value in shared data.

use std::collections::BTreeMap;

use filter_core::time::Timestamp;

use super::{Change, Event, Reason, Record, Rules, State};
use placement::hosts::{HostId, HostSet};

/// The first bytes of a board: what it is and in which version. What begins otherwise is taken for
/// an empty board.
const MAGIC: [u8; 4] = *b"chh1";

/// Bytes of a record with its host's id.
const RECORD_LEN: usize = 33;

/// The records of those hosts about whom there is something to remember.
///
/// Hosts are named by their ids, so a board outlives a change of the hosts. It has no record of a
/// host that is well, and so is empty as long as all are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    records: BTreeMap<HostId, Record>,
}

impl Board {
    /// Reads a board out of shared data. Bytes that no board wrote are an empty one: hosts count as
    /// well until shown otherwise.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let Some(records) = bytes.strip_prefix(&MAGIC) else {
            return Self::default();
        };
        if !records.len().is_multiple_of(RECORD_LEN) {
            return Self::default();
        }
        let records = records.chunks_exact(RECORD_LEN);
        let records: Option<BTreeMap<_, _>> = records.map(read).collect();
        Self {
            records: records.unwrap_or_default(),
        }
    }

    /// Returns the bytes for shared data: 4 and 33 for each record.
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = self.records.len().saturating_mul(RECORD_LEN);
        let mut bytes = Vec::with_capacity(length.saturating_add(MAGIC.len()));
        bytes.extend_from_slice(&MAGIC);
        for (id, record) in &self.records {
            write(&mut bytes, *id, record);
        }
        bytes
    }

    /// Returns whether all hosts are well and have been for a while.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns how a host stands.
    pub fn state(&self, host: HostId, now: Timestamp, rules: &Rules) -> State {
        let record = self.records.get(&host);
        record.map_or(State::In, |record| record.state(now, rules))
    }

    /// Applies an event to a host that is one of `hosts`.
    ///
    /// There is nothing to write if that changes nothing.
    pub fn apply(
        &mut self,
        host: HostId,
        event: Event,
        now: Timestamp,
        rules: &Rules,
        hosts: usize,
    ) -> Change {
        let may_eject = self.may_eject(host, now, rules, hosts);
        let mut record = self.records.get(&host).copied().unwrap_or_default();
        let change = record.apply(event, now, rules, may_eject);
        if record.is_clean(now, rules) {
            // It may have become clean just by the time that passed: then nothing was lost either.
            self.records.remove(&host);
        } else {
            self.records.insert(host, record);
        }
        change
    }

    /// Returns whether an event would change anything, for a look at a copy before the board is
    /// fetched to be changed.
    pub fn would_change(&self, host: HostId, event: Event, now: Timestamp, rules: &Rules) -> bool {
        let mut record = self.records.get(&host).copied().unwrap_or_default();
        record.apply(event, now, rules, true) != Change::None
    }

    /// Drops the records of hosts that are none of these, and of those that are well again. Returns
    /// whether there were such.
    pub fn retain(&mut self, hosts: &HostSet, now: Timestamp, rules: &Rules) -> bool {
        let before = self.records.len();
        self.records
            .retain(|host, record| hosts.index_of(*host).is_some() && !record.is_clean(now, rules));
        self.records.len() != before
    }

    /// Whether one more than those ejected already would be no more than the rules allow.
    fn may_eject(&self, host: HostId, now: Timestamp, rules: &Rules, hosts: usize) -> bool {
        let ejected = self
            .records
            .iter()
            .filter(|(other, record)| **other != host && record.is_ejected(now, rules))
            .count();
        if ejected == 0 {
            return hosts > 1;
        }
        let most = u64::try_from(hosts).unwrap_or(u64::MAX);
        let next = u64::try_from(ejected).unwrap_or(u64::MAX).saturating_add(1);
        crate::share::Share::ratio(next, most) <= rules.most_ejected
    }
}

fn write(bytes: &mut Vec<u8>, id: HostId, record: &Record) {
    bytes.extend_from_slice(&id.as_u64().to_le_bytes());
    bytes.extend_from_slice(&record.ejected_until.as_nanos().to_le_bytes());
    bytes.extend_from_slice(&record.let_in.as_nanos().to_le_bytes());
    for count in [
        record.server_errors,
        record.connect_failures,
        record.slow_answers,
    ] {
        bytes.extend_from_slice(&count.to_le_bytes());
    }
    let reason = match record.reason {
        None | Some(Reason::Checks) => 0,
        Some(Reason::ServerErrors) => 1,
        Some(Reason::ConnectFailures) => 2,
        Some(Reason::SlowAnswers) => 3,
    };
    let flags = u8::from(record.fails_checks) | (reason << 1_u32);
    bytes.extend_from_slice(&[record.checks, record.ejections, flags]);
}

fn read(bytes: &[u8]) -> Option<(HostId, Record)> {
    let (id, bytes) = bytes.split_first_chunk()?;
    let (ejected_until, bytes) = bytes.split_first_chunk()?;
    let (let_in, bytes) = bytes.split_first_chunk()?;
    let (server_errors, bytes) = bytes.split_first_chunk()?;
    let (connect_failures, bytes) = bytes.split_first_chunk()?;
    let (slow_answers, bytes) = bytes.split_first_chunk()?;
    let [checks, ejections, flags] = *bytes else {
        return None;
    };
    let record = Record {
        ejected_until: Timestamp::from_nanos(u64::from_le_bytes(*ejected_until)),
        let_in: Timestamp::from_nanos(u64::from_le_bytes(*let_in)),
        server_errors: u16::from_le_bytes(*server_errors),
        connect_failures: u16::from_le_bytes(*connect_failures),
        slow_answers: u16::from_le_bytes(*slow_answers),
        checks,
        ejections,
        fails_checks: flags & 1 == 1,
        reason: match flags >> 1 {
            0 => None,
            1 => Some(Reason::ServerErrors),
            2 => Some(Reason::ConnectFailures),
            3 => Some(Reason::SlowAnswers),
            _ => return None,
        },
    };
    Some((HostId::from_u64(u64::from_le_bytes(*id)), record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::Share;
    use filter_core::time::Span;
    use placement::hosts::Host;

    fn at(secs: u64) -> Timestamp {
        Timestamp::ZERO.after(Span::from_secs(secs))
    }

    fn host(number: u64) -> HostId {
        HostId::from_u64(number)
    }

    fn rules() -> Rules {
        Rules {
            connect_failures: 1,
            ..Rules::default()
        }
    }

    fn eject(board: &mut Board, number: u64, hosts: usize) -> Change {
        board.apply(host(number), Event::ConnectFailure, at(1), &rules(), hosts)
    }

    #[test]
    fn a_board_comes_back_from_its_bytes() {
        let mut board = Board::default();
        let events = [
            Event::ConnectFailure,
            Event::ServerError,
            Event::Slow,
            Event::CheckFailed,
        ];
        for (number, event) in (0_u64..).zip(events) {
            for times in 0..=number {
                board.apply(host(number), event, at(times + 1), &rules(), 9);
            }
        }
        let bytes = board.to_bytes();
        assert_eq!(Board::from_bytes(&bytes), board);
        assert_eq!(bytes.len(), 4 + 4 * RECORD_LEN);
    }

    #[test]
    fn foreign_bytes_are_an_empty_board() {
        let mut board = Board::default();
        eject(&mut board, 1, 9);
        let bytes = board.to_bytes();
        let mut flags = bytes.clone();
        *flags.last_mut().unwrap() = 0xff;
        for bytes in [
            &[][..],
            b"chh0",
            b"chh",
            &bytes[1..],
            &bytes[..bytes.len() - 1],
            &flags,
        ] {
            assert!(Board::from_bytes(bytes).is_empty(), "{bytes:?}");
        }
    }

    #[test]
    fn half_of_the_hosts_at_most_are_ejected() {
        let mut board = Board::default();
        let changes: Vec<Change> = (0..4).map(|number| eject(&mut board, number, 4)).collect();
        let reason = Reason::ConnectFailures;
        let (out, spared) = (Change::Out(reason), Change::Spared(reason));
        assert_eq!(changes, [out, out, spared, spared]);
    }

    #[test]
    fn one_host_may_be_ejected_but_not_the_only_one() {
        let reason = Reason::ConnectFailures;
        assert_eq!(eject(&mut Board::default(), 1, 1), Change::Spared(reason));
        let mut board = Board::default();
        let none = Rules {
            most_ejected: Share::NONE,
            ..rules()
        };
        let change = board.apply(host(1), Event::ConnectFailure, at(1), &none, 2);
        assert_eq!(change, Change::Out(reason));
    }

    #[test]
    fn only_news_are_worth_a_write() {
        let mut board = Board::default();
        let would = |board: &Board, event| board.would_change(host(1), event, at(1), &rules());
        assert!(!would(&board, Event::Succeeded));
        assert!(!would(&board, Event::CheckPassed));
        assert!(would(&board, Event::ServerError));
        board.apply(host(1), Event::ServerError, at(1), &rules(), 9);
        assert!(would(&board, Event::Succeeded));
        board.apply(host(1), Event::Succeeded, at(1), &rules(), 9);
        assert!(board.is_empty());
    }

    #[test]
    fn hosts_that_are_gone_and_those_that_are_well_again_are_forgotten() {
        let set = HostSet::new(vec![Host::new("a"), Host::new("b")]).unwrap();
        let mut board = Board::default();
        for name in ["a", "b", "c"] {
            board.apply(HostId::of(name), Event::CheckFailed, at(1), &rules(), 9);
        }
        eject(&mut board, 7, 9);
        assert!(board.retain(&set, at(1), &rules()));
        assert_eq!(board.records.len(), 2);
        assert!(!board.retain(&set, at(1), &rules()));
    }

    #[test]
    fn counts_of_workers_add_up() {
        // Each worker applies what it saw to the newest value.
        let rules = Rules::default();
        let mut stored = Board::default().to_bytes();
        let mut last = Change::None;
        for worker in 0..5 {
            let mut board = Board::from_bytes(&stored);
            last = board.apply(host(1), Event::ServerError, at(worker), &rules, 9);
            stored = board.to_bytes();
        }
        assert_eq!(last, Change::Out(Reason::ServerErrors));
    }
}
