//! The real Envoy as a host for scenarios.
//!
//! Each scenario gets a process of its own, on a bootstrap generated from the scenario, with the
//! scripted upstream on loopback. Its clocks stand still until the scenario advances them
//! (`clock`), and nothing here sleeps: a request is over when its access log line comes, and what
//! happens besides requests is waited for by a round through all of Envoy's threads (`admin`).

mod admin;
mod bootstrap;
mod client;
mod clock;
mod find;
mod grpc_server;
mod http1;
mod logs;
mod process;
mod servers;

pub use find::{NO_ENVOY, find_envoy};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::host::Received;
use crate::scenario::{
    AnswerFields, Answered, Backend, Broken, Exchange, RequestFields, ScenarioFile, StartFailure,
    Step, UPSTREAM,
};
use crate::worker::LogLine;

use self::admin::Admin;
use self::client::Sent;
use self::clock::EnvoyClock;
use self::logs::{GuestLines, Record, Routed, routed};
use self::process::{Folder, LOG_LEVELS, PATIENCE, Process};
use self::servers::Servers;

/// A real Envoy that runs a scenario.
pub struct EnvoyBackend {
    // Declared before the servers, so that Envoy is gone when their connections end.
    process: Process,
    admin: Admin,
    listener: SocketAddr,
    clock: Result<EnvoyClock, String>,
    servers: Servers,
    guest_lines: GuestLines,
    /// Guests' lines of the whole scenario, and how many of them were taken.
    logs: Vec<LogLine>,
    logs_taken: usize,
    /// Whether guests may have something under way besides requests.
    calls_out: bool,
    started: BTreeMap<String, Started>,
    /// Requests that reached the upstream while several were under way.
    upstream: Vec<Received>,
    /// Access log lines of requests that were not asked for yet.
    lines: Vec<AccessLine>,
    /// What Envoy's log tells of requests that were sent since the last look at the servers.
    routed: Vec<Routed>,
    /// Callouts of the whole scenario, and how many of them were taken.
    callouts: Vec<Received>,
    callouts_taken: usize,
}

/// A request under way.
struct Started {
    sent: Sent,
    /// How many callouts and log lines there had been.
    callouts: usize,
    lines: usize,
}

/// How many rounds without any change are a long time.
const ROUNDS_OF_REST: usize = 50;

/// A line of the access log; see `bootstrap`.
#[derive(Deserialize)]
struct AccessLine {
    details: Option<String>,
    #[serde(default)]
    peer: String,
    request_id: Option<String>,
    #[serde(default)]
    filter_state: BTreeMap<String, Option<String>>,
}

impl EnvoyBackend {
    /// Starts Envoy on a scenario's plugins and waits until it serves.
    ///
    /// # Errors
    ///
    /// There is no Envoy, it can't be started, or it refuses the plugins.
    pub fn start(file: &ScenarioFile) -> Result<Self, StartFailure> {
        let guest_lines = GuestLines::of(&file.scenario);
        let binary =
            find_envoy().ok_or_else(|| StartFailure::Broken(Broken(NO_ENVOY.to_owned())))?;
        let broken = |error: std::io::Error| {
            StartFailure::Broken(Broken(format!("can't start the servers: {error}")))
        };
        let servers = Servers::start(&file.scenario).map_err(broken)?;
        let calls_out = !file.scenario.callouts.is_empty() || has_flights(&file.scenario.steps);
        let router = if calls_out { ",router:debug" } else { "" };
        let folder = Folder::create().map_err(StartFailure::Broken)?;
        let clock = EnvoyClock::create(&folder.path).map_err(|error| error.to_string());
        let process = Process::start(
            &binary,
            &bootstrap::bootstrap(file, servers.clusters()).to_string(),
            file.scenario.workers,
            folder,
            clock.as_ref().ok(),
            &format!("{LOG_LEVELS}{router}"),
        )
        .map_err(StartFailure::Broken)?
        .map_err(|exited| StartFailure::Refused {
            cause: exited.cause,
            logs: find_lines(&guest_lines, &exited.records),
        })?;
        let mut admin = Admin::connect(&process).map_err(StartFailure::Broken)?;
        let listener = admin.listener().map_err(StartFailure::Broken)?;
        Ok(Self {
            process,
            admin,
            listener,
            clock,
            servers,
            guest_lines,
            logs: Vec::new(),
            logs_taken: 0,
            calls_out,
            started: BTreeMap::new(),
            upstream: Vec::new(),
            lines: Vec::new(),
            routed: Vec::new(),
            callouts: Vec::new(),
            callouts_taken: 0,
        })
    }

    /// Collects what the guests logged since the last time.
    fn collect_logs(&mut self) {
        let records = self.process.take_records();
        self.logs.extend(find_lines(&self.guest_lines, &records));
        self.routed.extend(records.iter().filter_map(routed));
    }

    /// Returns when nothing moves: Envoy has carried out all that was due, and what is under way
    /// waits for a client, for a service that does not answer by itself, or for time to pass.
    fn settle(&mut self) -> Result<(), Broken> {
        self.admin.settle(&mut self.process)?;
        if self.calls_out {
            let deadline = Instant::now() + PATIENCE;
            let (mut before, mut rounds) = (None, 0);
            loop {
                let moved = self.admin.traffic()?;
                rounds = if before == Some(moved) { rounds + 1 } else { 0 };
                // Twice the same, with a round through all threads between.
                let long = rounds > ROUNDS_OF_REST;
                if rounds > 0 && moved.pending == 0 && self.servers.agree(moved.upstream, long) {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(Broken(format!(
                        "Envoy does not come to rest within {} s",
                        PATIENCE.as_secs()
                    )));
                }
                before = Some(moved);
                self.admin.settle(&mut self.process)?;
            }
        }
        self.collect_logs();
        self.collect_received();
        Ok(())
    }

    /// Collects what came to the servers, callouts in the order in which Envoy's log tells of them:
    /// connections are read side by side.
    fn collect_received(&mut self) {
        let (upstream, mut callouts): (Vec<_>, Vec<_>) = self
            .servers
            .take_received()
            .into_iter()
            .partition(|received| received.cluster == UPSTREAM);
        self.upstream.extend(upstream);
        let mut cluster = String::new();
        for routed in self.routed.drain(..) {
            let headers = match routed {
                Routed::To(to) => {
                    cluster = to;
                    continue;
                }
                Routed::With(headers) => headers,
            };
            // The one that has most of the headers: some change on the way to the wire.
            let alike = |received: &Received| {
                let same = |(name, value): &(&[u8], &[u8])| {
                    received.headers.iter().any(|pair| pair == (*name, *value))
                };
                headers.iter().filter(same).count()
            };
            let to_cluster = callouts.iter().enumerate().rev();
            let position = to_cluster
                .filter(|(_, received)| received.cluster == cluster)
                .max_by_key(|(_, received)| alike(received))
                .map(|(position, _)| position);
            if let Some(position) = position {
                self.callouts.push(callouts.remove(position));
            }
        }
        self.callouts.extend(callouts);
    }

    fn launch(&mut self, request: &RequestFields) -> Result<Started, Broken> {
        if self.calls_out {
            // Whatever is under way belongs to the time before.
            self.settle()?;
        } else {
            self.process.read_log();
            self.collect_logs();
        }
        Ok(Started {
            callouts: self.callouts.len(),
            lines: self.logs.len(),
            sent: client::send(self.listener, request)?,
        })
    }

    /// What was observed of a request whose client has its answer or has gone away.
    fn observed(
        &mut self,
        answer: Option<Answered>,
        peer: SocketAddr,
        callouts: usize,
        lines: usize,
    ) -> Result<Exchange, Broken> {
        let access = self.access_line(peer)?;
        if self.calls_out {
            self.settle()?;
        } else {
            self.process.read_log();
            self.collect_logs();
            self.collect_received();
        }
        let upstream = if self.started.is_empty() {
            std::mem::take(&mut self.upstream).pop()
        } else {
            let id = access.request_id.as_deref().unwrap_or_default();
            let this =
                |received: &Received| received.headers.first("x-request-id") == Some(id.as_bytes());
            let position = self.upstream.iter().rposition(this);
            position.map(|position| self.upstream.remove(position))
        };
        Ok(Exchange {
            answer,
            upstream,
            callouts: self.callouts[callouts..].to_vec(),
            details: access.details.unwrap_or_default(),
            filter_state: access
                .filter_state
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?.into_bytes())))
                .collect(),
            logs: self.logs[lines..].to_vec(),
            violations: Vec::new(),
            cost: None,
            trace: Default::default(),
            passages: None,
        })
    }

    /// The access log's line about the request of that client.
    fn access_line(&mut self, peer: SocketAddr) -> Result<AccessLine, Broken> {
        let peer = peer.to_string();
        loop {
            if let Some(position) = self.lines.iter().position(|line| line.peer == peer) {
                return Ok(self.lines.remove(position));
            }
            let line = self.process.await_access_log()?;
            let line = serde_json::from_str(&line)
                .map_err(|error| Broken(format!("odd access log line `{line}`: {error}")))?;
            self.lines.push(line);
        }
    }
}

/// Whether some request is to stay under way.
fn has_flights(steps: &[Spanned<Step>]) -> bool {
    steps.iter().any(|step| match &step.value {
        Step::Start(..) => true,
        Step::Repeat(repeat) => has_flights(&repeat.steps),
        _ => false,
    })
}

fn find_lines(guest_lines: &GuestLines, records: &[Record]) -> Vec<LogLine> {
    records
        .iter()
        .filter_map(|record| guest_lines.find(record))
        .collect()
}

impl Backend for EnvoyBackend {
    fn exchange(&mut self, request: &RequestFields) -> Result<Exchange, Broken> {
        let Started {
            sent,
            callouts,
            lines,
        } = self.launch(request)?;
        let peer = sent.address;
        let answer = if self.calls_out {
            self.settle()?;
            sent.answer_at_once()
        } else {
            sent.answer()
        };
        self.observed(answer, peer, callouts, lines)
    }

    fn start(&mut self, name: &str, request: &RequestFields) -> Result<(), Broken> {
        let started = self.launch(request)?;
        self.started.insert(name.to_owned(), started);
        self.settle()
    }

    fn finish(&mut self, name: &str) -> Result<Exchange, Broken> {
        self.settle()?;
        let started = self.started.remove(name);
        let Started {
            sent,
            callouts,
            lines,
        } = started.ok_or_else(|| Broken(format!("no request `{name}` is under way")))?;
        let peer = sent.address;
        let answer = sent.answer_at_once();
        self.observed(answer, peer, callouts, lines)
    }

    fn answer(&mut self, answer: &AnswerFields) -> Result<bool, Broken> {
        self.settle()?;
        let waited = self.servers.answer(answer);
        self.settle()?;
        Ok(waited)
    }

    fn take_callouts(&mut self) -> Result<Vec<Received>, Broken> {
        self.settle()?;
        let taken = std::mem::replace(&mut self.callouts_taken, self.callouts.len());
        Ok(self.callouts[taken..].to_vec())
    }

    fn advance(&mut self, by: Duration) -> Result<(), Broken> {
        // Whatever is under way belongs to the time before.
        self.settle()?;
        let clock = self.clock.as_mut().map_err(|cause| Broken(cause.clone()))?;
        clock
            .advance(by)
            .map_err(|error| Broken(format!("can't move Envoy's clock: {error}")))?;
        self.settle()
    }

    fn metrics(&mut self) -> Result<BTreeMap<String, u64>, Broken> {
        self.settle()?;
        self.admin.metrics()
    }

    fn take_logs(&mut self) -> Result<Vec<LogLine>, Broken> {
        self.settle()?;
        let taken = std::mem::replace(&mut self.logs_taken, self.logs.len());
        Ok(self.logs[taken..].to_vec())
    }
}
