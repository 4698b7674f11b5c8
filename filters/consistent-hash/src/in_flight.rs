//! How many requests each host has, over all workers of a gateway: one value in shared data.
//!
//! Each worker's VM has a row in it that it alone changes, with a name, the moment of its last sign of
//! life and its requests by host. A request adds one to its host in its worker's row and takes it away
//! when it ends; since the whole value is compared and set at once, whoever adds has seen all. A VM that
//! trapped never takes its requests away: its row is dropped when it has given no sign of life for the
//! length of a lease. Hosts are told by a hash of their names, so the order of hosts, which differs for a
//! moment between workers when it changes, doesn't matter.

use filter_core::time::{Span, Timestamp};

use crate::lease::Name;

/// How long a worker counts without a sign of life.
pub const LEASE: Span = Span::from_secs(10);
/// What a value begins with; another layout is another version.
const VERSION: u8 = 1;
/// Bytes of a row without its hosts: name, sign of life, number of hosts.
const HEAD: usize = 18;
/// Bytes of a host: name and count.
const ENTRY: usize = 12;

/// Requests in flight, by worker and host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    worker: Name,
    alive: Timestamp,
    hosts: Vec<(u64, u32)>,
}

impl InFlight {
    /// Reads a stored value without the rows of workers that are gone. What isn't one reads as none.
    pub fn read(stored: Option<&[u8]>, now: Timestamp) -> Self {
        let mut counts = stored.and_then(Self::parse).unwrap_or_default();
        let is_alive = |row: &Row| {
            let ahead = row.alive.since(now);
            now.since(row.alive) <= LEASE && ahead <= LEASE
        };
        counts.rows.retain(is_alive);
        counts
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[VERSION])?;
        let mut rows = Vec::new();
        while !rest.is_empty() {
            let (head, after) = rest.split_at_checked(HEAD)?;
            let (worker, head) = head.split_first_chunk::<8>()?;
            let (alive, count) = head.split_first_chunk::<8>()?;
            let count = usize::from(u16::from_le_bytes(count.try_into().ok()?));
            let (hosts, after) = after.split_at_checked(count.checked_mul(ENTRY)?)?;
            let hosts = hosts.chunks_exact(ENTRY).map(|entry| {
                let (host, count) = entry.split_first_chunk::<8>()?;
                let count = u32::from_le_bytes(count.try_into().ok()?);
                Some((u64::from_le_bytes(*host), count))
            });
            rows.push(Row {
                worker: Name::from_le_bytes(*worker),
                alive: Timestamp::from_nanos(u64::from_le_bytes(*alive)),
                hosts: hosts.collect::<Option<_>>()?,
            });
            rest = after;
        }
        Some(Self { rows })
    }

    /// Writes what [`InFlight::read`] reads. Rows without requests are left out.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for row in self.rows.iter().filter(|row| !row.hosts.is_empty()) {
            // More hosts with requests than this are not configurable.
            let Ok(count) = u16::try_from(row.hosts.len()) else {
                continue;
            };
            bytes.extend_from_slice(&row.worker.to_le_bytes());
            bytes.extend_from_slice(&row.alive.as_nanos().to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
            for (host, count) in &row.hosts {
                bytes.extend_from_slice(&host.to_le_bytes());
                bytes.extend_from_slice(&count.to_le_bytes());
            }
        }
        bytes
    }

    /// The counts of all workers by host: a host comes once for each worker that has a request to it.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.rows.iter().flat_map(|row| row.hosts.iter().copied())
    }

    /// Puts a worker's own requests in place of what is stored of them, which is a sign of life too.
    pub fn restate(&mut self, worker: Name, own: &Own, now: Timestamp) {
        self.rows.retain(|row| row.worker != worker);
        self.rows.push(Row {
            worker,
            alive: now,
            hosts: own.hosts.clone(),
        });
    }
}

/// A worker's own requests by host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    hosts: Vec<(u64, u32)>,
}

impl Own {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// A request begins.
    pub fn add(&mut self, host: u64) {
        let mut hosts = self.hosts.iter_mut();
        match hosts.find(|(candidate, _)| *candidate == host) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.hosts.push((host, 1)),
        }
    }

    /// A request has ended.
    pub fn take(&mut self, host: u64) {
        for (candidate, count) in &mut self.hosts {
            if *candidate == host {
                *count = count.saturating_sub(1);
            }
        }
        self.hosts.retain(|(_, count)| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.after(Span::from_secs(seconds))
    }

    impl InFlight {
        fn of(&self, host: u64) -> u32 {
            let counts = self.iter().filter(|(candidate, _)| *candidate == host);
            counts.map(|(_, count)| count).sum()
        }

        fn total(&self) -> u32 {
            self.iter().map(|(_, count)| count).sum()
        }
    }

    fn own(hosts: &[u64]) -> Own {
        let mut own = Own::default();
        hosts.iter().for_each(|host| own.add(*host));
        own
    }

    #[test]
    fn counts_of_all_workers_add_up() {
        let mut counts = InFlight::default();
        counts.restate(1, &own(&[7, 7, 8]), at(0));
        counts.restate(2, &own(&[7]), at(0));
        let counts = InFlight::read(Some(&counts.write()), at(1));
        assert_eq!(
            (counts.of(7), counts.of(8), counts.of(9), counts.total()),
            (3, 1, 0, 4)
        );
    }

    #[test]
    fn what_a_worker_states_replaces_what_it_stated() {
        let mut counts = InFlight::default();
        let mut mine = own(&[7, 8]);
        counts.restate(1, &mine, at(0));
        mine.take(7);
        mine.take(9);
        counts.restate(1, &mine, at(0));
        assert_eq!((counts.of(7), counts.total()), (0, 1));
        mine.take(8);
        counts.restate(1, &mine, at(0));
        assert_eq!(counts.write(), [VERSION]);
    }

    #[test]
    fn a_worker_that_gives_no_sign_of_life_is_forgotten() {
        let mut counts = InFlight::default();
        counts.restate(1, &own(&[7]), at(0));
        counts.restate(2, &own(&[7]), at(8));
        let stored = counts.write();
        assert_eq!(InFlight::read(Some(&stored), at(10)).of(7), 2);
        assert_eq!(InFlight::read(Some(&stored), at(11)).of(7), 1);
        assert_eq!(InFlight::read(Some(&stored), at(19)).of(7), 0);
    }

    #[test]
    fn what_is_no_value_of_ours_reads_as_none() {
        let mut counts = InFlight::default();
        counts.restate(1, &own(&[7, 8]), at(0));
        let stored = counts.write();
        for cut in 2..stored.len() {
            assert_eq!(
                InFlight::read(Some(&stored[..cut]), at(0)).total(),
                0,
                "cut at {cut}"
            );
        }
        assert_eq!(InFlight::read(Some(b"nonsense"), at(0)).total(), 0);
        assert_eq!(InFlight::read(None, at(0)).total(), 0);
    }
}
