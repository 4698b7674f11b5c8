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
mod http1;
mod logs;
mod process;
mod upstream;

pub use find::{NO_ENVOY, find_envoy};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::scenario::{
    Backend, Broken, Exchange, RequestFields, ScenarioFile, Script, StartFailure,
};
use crate::worker::LogLine;

use self::admin::Admin;
use self::clock::EnvoyClock;
use self::logs::{GuestLines, Record};
use self::process::{Folder, Process};
use self::upstream::Upstream;

/// A real Envoy that runs a scenario.
pub struct EnvoyBackend {
    // Declared before the upstream, so that Envoy is gone when the upstream's connections end.
    process: Process,
    admin: Admin,
    listener: SocketAddr,
    clock: Result<EnvoyClock, String>,
    upstream: Upstream,
    guest_lines: GuestLines,
    logs: Vec<LogLine>,
}

/// A line of the access log; see `bootstrap`.
#[derive(Deserialize)]
struct AccessLine {
    details: Option<String>,
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
            StartFailure::Broken(Broken(format!("can't start the upstream: {error}")))
        };
        let upstream = Upstream::start(Script::new(&file.scenario.upstreams)).map_err(broken)?;
        let folder = Folder::create().map_err(StartFailure::Broken)?;
        let clock = EnvoyClock::create(&folder.path).map_err(|error| error.to_string());
        let process = Process::start(
            &binary,
            &bootstrap::bootstrap(file, upstream.address).to_string(),
            file.scenario.workers,
            folder,
            clock.as_ref().ok(),
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
            upstream,
            guest_lines,
            logs: Vec::new(),
        })
    }

    /// Collects what the guests logged since the last time.
    fn collect_logs(&mut self) -> Vec<LogLine> {
        let records = self.process.take_records();
        let lines = find_lines(&self.guest_lines, &records);
        self.logs.extend_from_slice(&lines);
        lines
    }
}

fn find_lines(guest_lines: &GuestLines, records: &[Record]) -> Vec<LogLine> {
    records
        .iter()
        .filter_map(|record| guest_lines.find(record))
        .collect()
}

impl Backend for EnvoyBackend {
    fn exchange(&mut self, request: &RequestFields) -> Result<Exchange, Broken> {
        self.process.read_log();
        self.collect_logs();
        let answer = client::send(self.listener, request)?;
        let line = self.process.await_access_log()?;
        let access: AccessLine = serde_json::from_str(&line)
            .map_err(|error| Broken(format!("odd access log line `{line}`: {error}")))?;
        self.process.read_log();
        Ok(Exchange {
            answer,
            upstream: self.upstream.take_received().pop(),
            details: access.details.unwrap_or_default(),
            filter_state: access
                .filter_state
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?.into_bytes())))
                .collect(),
            logs: self.collect_logs(),
            violations: Vec::new(),
        })
    }

    fn advance(&mut self, by: Duration) -> Result<(), Broken> {
        // Whatever is under way belongs to the time before.
        self.admin.settle(&mut self.process)?;
        let clock = self.clock.as_mut().map_err(|cause| Broken(cause.clone()))?;
        clock
            .advance(by)
            .map_err(|error| Broken(format!("can't move Envoy's clock: {error}")))?;
        self.admin.settle(&mut self.process)
    }

    fn metrics(&mut self) -> Result<BTreeMap<String, u64>, Broken> {
        self.admin.settle(&mut self.process)?;
        self.admin.metrics()
    }

    fn take_logs(&mut self) -> Result<Vec<LogLine>, Broken> {
        self.admin.settle(&mut self.process)?;
        self.collect_logs();
        Ok(std::mem::take(&mut self.logs))
    }
}
