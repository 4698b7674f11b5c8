//! What workers tell each other about hosts through shared data.

use std::cell::Cell;

use filter_core::time::Timestamp;
use filter_core::transaction::Cas;
use filter_shell::host::{self, Status};
use filter_shell::log;

use super::chooser::{Chooser, TRIES};
use crate::config::Format;
use crate::decision::Count;
use crate::discovery;
use crate::health::{Board, Change, Event};
use placement::Placement;
use placement::hosts::{HostId, HostSet};

impl Chooser {
    pub(super) fn learn_health(&self) -> Result<(), Status> {
        let (stored, cas) = host::shared(self.keys.board.as_bytes())?;
        if let Some(version) = changed(cas, &self.board_version) {
            *self.board.borrow_mut() = Board::from_bytes(&stored.unwrap_or_default());
            self.board_version.set(Some(version));
        }
        Ok(())
    }

    pub(super) fn learn_hosts(&self) -> Result<(), Status> {
        let (stored, cas) = host::shared(self.keys.hosts.as_bytes())?;
        let (Some(stored), Some(version)) = (stored, changed(cas, &self.hosts_version)) else {
            return Ok(());
        };
        self.hosts_version.set(Some(version));
        // Written by a worker that had read it as hosts.
        let hosts = discovery::read(&Format::List, &stored);
        if let Some(hosts) = hosts.ok().and_then(|hosts| HostSet::new(hosts).ok()) {
            let placement = Placement::begin(&hosts, self.policy.config().algorithm);
            *self.building.borrow_mut() = Some((hosts, placement));
        }
        Ok(())
    }

    /// Tells all workers what was learned about hosts.
    pub(super) fn report(&self, events: &[(HostId, Event)]) {
        let rules = &self.policy.config().health.rules;
        let says_something = |board: &Board| {
            let now = self.lately();
            let mut events = events.iter();
            events.any(|(host, event)| board.would_change(*host, *event, now, rules))
        };
        if !says_something(&self.board.borrow()) {
            return;
        }
        match host::monotonic_now().and_then(|now| self.store(events, now)) {
            Ok(true) => {}
            Ok(false) => self.count(Count::Contention),
            Err(status) => self.check(Err(status)),
        }
    }

    fn store(&self, events: &[(HostId, Event)], now: Timestamp) -> Result<bool, Status> {
        let name = self.keys.board.as_bytes();
        for _ in 0..TRIES {
            let (stored, cas) = host::shared(name)?;
            let mut board = Board::from_bytes(&stored.unwrap_or_default());
            let changes = self.apply(&mut board, events, now);
            let is_new = changes.iter().any(|(_, change)| *change != Change::None);
            if is_new && !host::set_shared(name, &board.to_bytes(), cas)? {
                self.count(Count::Conflict);
                continue;
            }
            // It has another version now, so the next tick reads it again; that does no harm.
            *self.board.borrow_mut() = board;
            self.refresh(now);
            changes
                .into_iter()
                .for_each(|(host, change)| self.tell(host, change));
            return Ok(true);
        }
        Ok(false)
    }

    fn apply(
        &self,
        board: &mut Board,
        events: &[(HostId, Event)],
        now: Timestamp,
    ) -> Vec<(HostId, Change)> {
        let rules = &self.policy.config().health.rules;
        let view = self.view.borrow();
        let Some(view) = &*view else {
            return Vec::new();
        };
        let hosts = view.hosts();
        // One that left meanwhile isn't remembered.
        let known = events
            .iter()
            .filter(|(host, _)| hosts.index_of(*host).is_some());
        let changes = known.map(|(host, event)| {
            let change = board.apply(*host, *event, now, rules, hosts.len());
            (*host, change)
        });
        changes.collect()
    }

    /// Counts and logs that a host went or came.
    fn tell(&self, id: HostId, change: Change) {
        let (count, text) = match change {
            Change::Out(reason) => {
                let text = format!("event=host_out reason={}", reason.name());
                (Count::HostOut, text)
            }
            Change::Back => (Count::HostIn, "event=host_in".to_owned()),
            Change::None | Change::Counted | Change::Spared(_) => return,
        };
        self.count(count);
        let view = self.view.borrow();
        let hosts = view.as_ref().map(crate::view::View::hosts);
        if let Some(host) = hosts.and_then(|hosts| hosts.get(hosts.index_of(id)?)) {
            log::warn(&format!("{text} host={}", host.address));
        }
    }

    /// Forgets hosts that have gone or are well again. For the worker that works for all.
    pub(super) fn tidy(&self, now: Timestamp) -> Result<(), Status> {
        let rules = &self.policy.config().health.rules;
        let name = self.keys.board.as_bytes();
        let (stored, cas) = host::shared(name)?;
        let mut board = Board::from_bytes(&stored.unwrap_or_default());
        let view = self.view.borrow();
        let is_tidied = view
            .as_ref()
            .is_some_and(|view| board.retain(view.hosts(), now, rules));
        if is_tidied {
            // Who was faster told something newer; there is a next time.
            let _: bool = host::set_shared(name, &board.to_bytes(), cas)?;
        }
        Ok(())
    }
}

/// The version of a value that isn't the one known.
fn changed(cas: Cas, known: &Cell<Option<u32>>) -> Option<u32> {
    match cas {
        Cas::Version(version) if known.get() != Some(version) => Some(version),
        _ => None,
    }
}
