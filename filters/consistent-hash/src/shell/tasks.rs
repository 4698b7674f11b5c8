//! What one worker does for all: asking hosts after their health, and a discovery endpoint for hosts.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use filter_core::headers::Headers;
use filter_core::time::{Span, Timestamp};
use filter_shell::host::{self, HeaderMap, Status};
use filter_shell::log;
use proxy_wasm::hostcalls::dispatch_http_call;
use proxy_wasm::types::Status as Refusal;

use super::chooser::Chooser;
use crate::config::{Active, Discovery, Steer};
use crate::decision::Count;
use crate::discovery;
use crate::health::Event;
use crate::lease::{self, Held};
use placement::hosts::{Host, HostId};

/// How long a worker that is gone keeps others waiting.
const LEASE: Span = Span::from_secs(3);
/// How often what is no longer worth remembering is forgotten.
const TIDY: Span = Span::from_secs(10);
/// Bytes of a discovery endpoint's answer that are read.
const MOST_BYTES: usize = 4 << 20;
const AGENT: (&str, &str) = ("user-agent", "penstock-consistent-hash");

/// What this worker does for all, if it does.
#[derive(Default)]
pub(super) struct Tasks {
    /// When each host is asked next.
    checks: RefCell<BTreeMap<HostId, Timestamp>>,
    /// When the discovery endpoint is asked next.
    poll: Cell<Option<Timestamp>>,
    tidied: Cell<Timestamp>,
    calls: RefCell<BTreeMap<u32, Task>>,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Check(HostId),
    Poll,
}

impl Tasks {
    /// Does what is due, if it is this worker's.
    pub(super) fn run(&self, chooser: &Chooser, now: Timestamp) {
        let config = chooser.policy.config();
        if !config.health.is_watched() && config.discovery.is_none() {
            return;
        }
        let held = hold(chooser, now);
        if held != Ok(true) {
            // Whoever takes over begins anew.
            self.checks.borrow_mut().clear();
            self.poll.set(None);
            chooser.check(held.map(drop));
            return;
        }
        if let Some(active) = &config.health.active {
            self.ask_hosts(chooser, active, now);
        }
        if let Some(discovery) = &config.discovery {
            self.ask_endpoint(chooser, discovery, now);
        }
        if config.health.is_watched() && now.since(self.tidied.get()) >= TIDY {
            self.tidied.set(now);
            chooser.check(chooser.tidy(now));
        }
    }

    fn ask_hosts(&self, chooser: &Chooser, active: &Active, now: Timestamp) {
        let hosts = chooser.hosts();
        let mut checks = self.checks.borrow_mut();
        checks.retain(|id, _| hosts.iter().any(|host| host.id() == *id));
        let mut failed = Vec::new();
        for host in &hosts {
            let id = host.id();
            let due = checks.entry(id).or_insert_with(|| {
                // Not all at the same time.
                let part = id.as_u64().checked_rem(active.interval.as_nanos());
                now.after(Span::from_nanos(part.unwrap_or(0)))
            });
            if *due > now || self.is_under_way(Task::Check(id)) {
                continue;
            }
            let percent = chooser.draw().checked_rem(active.jitter.saturating_add(1));
            let hundredth = active.interval.as_nanos().checked_div(100).unwrap_or(0);
            let sooner = hundredth.saturating_mul(percent.unwrap_or(0));
            *due = now.after(active.interval.minus(Span::from_nanos(sooner)));
            match self.ask_host(chooser, active, host) {
                Err(Refusal::InternalFailure) => failed.push((id, Event::CheckFailed)),
                Err(status) => refused(chooser, status),
                Ok(()) => {}
            }
        }
        drop(checks);
        for event in failed {
            // The gateway has nobody to send to.
            chooser.count(Count::CheckFailed);
            chooser.report(&[event]);
        }
    }

    fn ask_host(&self, chooser: &Chooser, active: &Active, host: &Host) -> Result<(), Refusal> {
        let authority = active.authority.as_deref().unwrap_or(&host.address);
        let mut headers = vec![
            (":method", "GET"),
            (":path", &*active.path),
            (":authority", authority),
            AGENT,
        ];
        let steer = &chooser.policy.config().steer;
        let cluster = match (steer, &active.cluster) {
            (Steer::ClusterHeader { .. }, _) | (_, None) => &host.address,
            (steer, Some(cluster)) => {
                headers.extend(steer.header().map(|name| (name, &*host.address)));
                cluster
            }
        };
        let token = call(cluster, headers, active.timeout)?;
        self.calls
            .borrow_mut()
            .insert(token, Task::Check(host.id()));
        Ok(())
    }

    fn ask_endpoint(&self, chooser: &Chooser, endpoint: &Discovery, now: Timestamp) {
        let is_due = self.poll.get().is_none_or(|due| due <= now);
        if !is_due || self.is_under_way(Task::Poll) {
            return;
        }
        self.poll.set(Some(now.after(endpoint.interval)));
        let headers = vec![
            (":method", "GET"),
            (":path", &*endpoint.path),
            (":authority", &*endpoint.authority),
            ("accept", "application/json"),
            AGENT,
        ];
        match call(&endpoint.cluster, headers, endpoint.timeout) {
            Ok(token) => {
                self.calls.borrow_mut().insert(token, Task::Poll);
            }
            Err(status) => {
                chooser.count(Count::DiscoveryFailed);
                if status != Refusal::InternalFailure {
                    refused(chooser, status);
                }
            }
        }
    }

    fn is_under_way(&self, task: Task) -> bool {
        self.calls.borrow().values().any(|other| *other == task)
    }

    /// Takes what came of a call.
    pub(super) fn answered(&self, chooser: &Chooser, token: u32, headers: usize, body: usize) {
        let task = self.calls.borrow_mut().remove(&token);
        let status = match headers {
            0 => None,
            _ => status(),
        };
        let config = chooser.policy.config();
        match (task, &config.health.active, &config.discovery) {
            (Some(Task::Check(id)), Some(active), _) => {
                let [lowest, highest] = active.statuses;
                let passed = status.is_some_and(|status| (lowest..=highest).contains(&status));
                let (count, event) = match passed {
                    true => (Count::CheckPassed, Event::CheckPassed),
                    false => (Count::CheckFailed, Event::CheckFailed),
                };
                chooser.count(count);
                chooser.report(&[(id, event)]);
            }
            (Some(Task::Poll), _, Some(endpoint)) => {
                let count = match status {
                    Some(200) => take_hosts(chooser, endpoint, body),
                    _ => Ok(Count::DiscoveryFailed),
                };
                match count {
                    Ok(count) => chooser.count(count),
                    Err(status) => chooser.check(Err(status)),
                }
            }
            _ => {}
        }
    }
}

/// Whether the work is this worker's.
fn hold(chooser: &Chooser, now: Timestamp) -> Result<bool, Status> {
    let name = chooser.keys.lease.as_bytes();
    let (stored, cas) = host::shared(name)?;
    match lease::ask(stored.as_deref(), chooser.me, now, LEASE) {
        Held::Mine => Ok(true),
        Held::Others => Ok(false),
        Held::IfStored(value) => host::set_shared(name, &value, cas),
    }
}

/// Stores what a discovery endpoint told for all workers, if it is new.
fn take_hosts(chooser: &Chooser, endpoint: &Discovery, body: usize) -> Result<Count, Status> {
    let read = match body > MOST_BYTES {
        true => Err(discovery::Lie::Form),
        false => discovery::read(&endpoint.format, &host::call_response_body(body)?),
    };
    let hosts = match read {
        Ok(hosts) => discovery::write(&hosts),
        Err(lie) => {
            log::warn(&format!("event=discovery_lied what={}", lie.word()));
            return Ok(Count::DiscoveryLied);
        }
    };
    let name = chooser.keys.hosts.as_bytes();
    let (stored, _) = host::shared(name)?;
    if stored.as_deref() == Some(&*hosts) {
        return Ok(Count::DiscoverySame);
    }
    host::overwrite_shared(name, &hosts)?;
    Ok(Count::DiscoveryChanged)
}

fn status() -> Option<u16> {
    let block = host::header_pairs(HeaderMap::CallResponse).ok()?;
    let status = Headers::decode(&block).first(":status")?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

/// Sends a request. The SDK's call, since it dispatches the answer.
fn call(cluster: &str, headers: Vec<(&str, &str)>, millis: u32) -> Result<u32, Refusal> {
    let timeout = Duration::from_millis(u64::from(millis));
    dispatch_http_call(cluster, headers, None, Vec::new(), timeout)
}

/// There is no such cluster, as a rule.
fn refused(chooser: &Chooser, status: Refusal) {
    chooser.check(Err(Status(match status {
        Refusal::BadArgument => 2,
        _ => 10,
    })));
}
