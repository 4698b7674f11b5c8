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

/// What a stored value says of the other workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others<'a> {
    rows: Vec<Row<'a>>,
}

/// A worker's row as it is stored: read and written with every request, so nothing is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row<'a> {
    whole: &'a [u8],
    hosts: &'a [u8],
}

impl<'a> Others<'a> {
    /// Reads a stored value without the row of `me` and those of workers that are gone. What isn't one
    /// reads as none.
    pub fn read(stored: Option<&'a [u8]>, me: Name, now: Timestamp) -> Self {
        let others = stored.and_then(|stored| Self::parse(stored, me, now));
        others.unwrap_or_default()
    }

    fn parse(stored: &'a [u8], me: Name, now: Timestamp) -> Option<Self> {
        let mut rest = stored.strip_prefix(&[VERSION])?;
        let mut rows = Vec::new();
        while !rest.is_empty() {
            let (worker, head) = rest.split_first_chunk::<8>()?;
            let (alive, head) = head.split_first_chunk::<8>()?;
            let (count, after) = head.split_first_chunk::<2>()?;
            let count = usize::from(u16::from_le_bytes(*count));
            let (hosts, after) = after.split_at_checked(count.checked_mul(ENTRY)?)?;
            let (whole, _) = rest.split_at_checked(HEAD.checked_add(hosts.len())?)?;
            let alive = Timestamp::from_nanos(u64::from_le_bytes(*alive));
            // Neither long ago nor far ahead.
            let is_alive = now.since(alive) <= LEASE && alive.since(now) <= LEASE;
            if is_alive && Name::from_le_bytes(*worker) != me {
                rows.push(Row { whole, hosts });
            }
            rest = after;
        }
        Some(Self { rows })
    }

    /// Their counts by host: a host comes once for each worker that has a request to it.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.rows.iter().flat_map(|row| entries(row.hosts))
    }

    /// The value with this worker's own requests beside theirs, which is a sign of life too. A worker
    /// without requests is left out.
    pub fn and(&self, me: Name, own: &Own, now: Timestamp) -> Vec<u8> {
        let others = self.rows.iter().map(|row| row.whole.len()).sum::<usize>();
        let mine = HEAD.saturating_add(own.entries.len());
        let mut bytes = Vec::with_capacity(others.saturating_add(mine).saturating_add(1));
        bytes.push(VERSION);
        self.rows
            .iter()
            .for_each(|row| bytes.extend_from_slice(row.whole));
        // More hosts with requests than two bytes can say are not configurable.
        let count = own.entries.len().div_euclid(ENTRY);
        let count = u16::try_from(count).ok();
        if let Some(count) = count.filter(|count| *count > 0) {
            bytes.extend_from_slice(&me.to_le_bytes());
            bytes.extend_from_slice(&now.as_nanos().to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
            bytes.extend_from_slice(&own.entries);
        }
        bytes
    }
}

/// The counts by host that are stored in these bytes.
fn entries(bytes: &[u8]) -> impl Iterator<Item = (u64, u32)> {
    bytes.chunks_exact(ENTRY).filter_map(|entry| {
        let (host, count) = entry.split_first_chunk::<8>()?;
        let count = u32::from_le_bytes(*count.first_chunk::<4>()?);
        Some((u64::from_le_bytes(*host), count))
    })
}

/// A worker's own requests by host, as they are stored: they are with each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    entries: Vec<u8>,
}

impl Own {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The counts by host.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        entries(&self.entries)
    }

    /// A request begins.
    pub fn add(&mut self, host: u64) {
        if self.change(host, |count| count.saturating_add(1)).is_none() {
            self.entries.extend_from_slice(&host.to_le_bytes());
            self.entries.extend_from_slice(&1_u32.to_le_bytes());
        }
    }

    /// A request has ended.
    pub fn take(&mut self, host: u64) {
        if self.change(host, |count| count.saturating_sub(1)) != Some(0) {
            return;
        }
        // The last one takes its place.
        let last = self.entries.last_chunk::<ENTRY>().copied();
        let mut entries = self.entries.chunks_exact_mut(ENTRY);
        if let (Some(last), Some(entry)) = (last, entries.find(|entry| is_of(entry, host))) {
            entry.copy_from_slice(&last);
            let rest = self.entries.len().saturating_sub(ENTRY);
            self.entries.truncate(rest);
        }
    }

    /// Changes the count of a host that has one, and returns the new one.
    fn change(&mut self, host: u64, change: impl FnOnce(u32) -> u32) -> Option<u32> {
        let mut entries = self.entries.chunks_exact_mut(ENTRY);
        let count = entries.find(|entry| is_of(entry, host))?.last_chunk_mut()?;
        let changed = change(u32::from_le_bytes(*count));
        *count = changed.to_le_bytes();
        Some(changed)
    }
}

fn is_of(entry: &[u8], host: u64) -> bool {
    entry.first_chunk() == Some(&host.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.after(Span::from_secs(seconds))
    }

    const ME: Name = 99;

    /// What is stored as worker 99 sees it.
    fn read(stored: &[u8], now: Timestamp) -> Vec<(u64, u32)> {
        Others::read(Some(stored), ME, now).iter().collect()
    }

    /// What is stored after a worker has stated its requests.
    fn stated(stored: &[u8], worker: Name, hosts: &[u64], now: Timestamp) -> Vec<u8> {
        let mut own = Own::default();
        hosts.iter().for_each(|host| own.add(*host));
        Others::read(Some(stored), worker, now).and(worker, &own, now)
    }

    #[test]
    fn all_that_workers_state_is_read() {
        let stored = stated(&[], 1, &[7, 7, 8], at(0));
        let stored = stated(&stored, 2, &[7], at(0));
        assert_eq!(read(&stored, at(1)), [(7, 2), (8, 1), (7, 1)]);
        let of_the_first = Others::read(Some(&stored), 1, at(1));
        assert_eq!(of_the_first.iter().collect::<Vec<_>>(), [(7, 1)]);
    }

    #[test]
    fn what_a_worker_states_replaces_what_it_stated() {
        let stored = stated(&[], 1, &[7, 8], at(0));
        let stored = stated(&stored, 1, &[8], at(0));
        assert_eq!(read(&stored, at(0)), [(8, 1)]);
        assert_eq!(stated(&stored, 1, &[], at(0)), [VERSION]);
    }

    #[test]
    fn requests_end_as_often_as_they_began() {
        let mut own = Own::default();
        [7, 7, 8].iter().for_each(|host| own.add(*host));
        own.take(7);
        own.take(9);
        assert_eq!(own.iter().collect::<Vec<_>>(), [(7, 1), (8, 1)]);
        own.add(9);
        own.take(7);
        assert_eq!(own.iter().collect::<Vec<_>>(), [(9, 1), (8, 1)]);
        own.take(8);
        own.take(9);
        assert!(own.is_empty());
    }

    #[test]
    fn a_worker_that_gives_no_sign_of_life_is_forgotten() {
        let stored = stated(&[], 1, &[7], at(0));
        let stored = stated(&stored, 2, &[7], at(8));
        assert_eq!(read(&stored, at(10)).len(), 2);
        assert_eq!(read(&stored, at(11)).len(), 1);
        assert_eq!(read(&stored, at(19)).len(), 0);
    }

    #[test]
    fn what_is_no_value_of_ours_reads_as_none() {
        let stored = stated(&[], 1, &[7, 8], at(0));
        for cut in 2..stored.len() {
            let read = read(&stored[..cut], at(0));
            assert!(read.is_empty(), "cut at {cut}");
        }
        assert!(read(b"nonsense", at(0)).is_empty());
        assert_eq!(Others::read(None, ME, at(0)), Others::default());
    }
}
