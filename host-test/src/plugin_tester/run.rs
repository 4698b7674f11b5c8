//! Carries out the tests of a suite, each in a VM of its own.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::judge::Outcome;
use super::load::SuiteFile;
use super::model::{Expectation, Invocation, Test};
use super::{LogLevel, chunks};
use crate::clock::Clock;
use crate::headers::Headers;
use crate::module::Module;
use crate::plugin::Plugin;
use crate::scenario::{Case, Failure, FileRun, HostKind, Verdict};
use crate::shared::Shared;
use crate::state::{Alone, StreamId, Way};
use crate::worker::phase::Failed;
use crate::worker::{Environment, LogLine, Worker};

/// Where the clocks stand if a suite doesn't say: Go plugins don't start at 0.
const DEFAULT_TIME: Duration = Duration::from_millis(1);

/// Runs all tests of a suite.
pub(crate) fn run(file: &SuiteFile) -> Vec<FileRun> {
    let path = file.module.as_deref().unwrap_or_else(|| Path::new(""));
    let module = Module::from_file(path)
        .map(Arc::new)
        .map_err(|error| error.to_string());
    let mut runs = Vec::new();
    for test in &file.suite.tests {
        let start = Instant::now();
        let failures = match &module {
            Ok(module) => run_test(file, test, module),
            Err(cause) => vec![start_failure("plugin_init", cause.clone(), &[])],
        };
        let count = failures.len();
        runs.push(FileRun {
            requests: Default::default(),
            path: file.path.clone(),
            name: test.title(),
            cases: vec![Case {
                title: HostKind::Wasmtime.name(),
                verdict: Verdict::Ran(failures, count),
                took: start.elapsed(),
            }],
            written: Vec::new(),
        });
    }
    runs
}

fn run_test(file: &SuiteFile, test: &Test, module: &Arc<Module>) -> Vec<Failure> {
    let log: Arc<Mutex<Vec<LogLine>>> = Arc::default();
    let mut running = Running {
        failures: Vec::new(),
        log: log.clone(),
        all_lines: Vec::new(),
        replied: false,
    };
    let mut plugin = Plugin::new(module.clone()).named("test");
    plugin.configuration.clone_from(&file.configuration);
    let env = Environment {
        shared: Arc::new(Shared::default()),
        clock: Clock::Frozen(match file.suite.env.time_secs {
            0 => DEFAULT_TIME,
            seconds => Duration::from_secs(seconds),
        }),
        log: Arc::new(move |line| {
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line)
        }),
        log_level: file.log_level.filter(),
        seed: 0,
        observe: Default::default(),
    };
    let alone = Alone {
        properties: test.properties.clone(),
        critical_only: file.log_level == LogLevel::Critical,
    };
    match Worker::start_alone(env, &Arc::new(plugin), alone) {
        Err(error) => {
            let lines = running.take_logs();
            running
                .failures
                .push(start_failure("plugin_init", error.cause, &lines));
        }
        Ok(mut worker) => {
            // What runs before the plugin's context is there doesn't log in its name.
            let mut outcome = Outcome::none("plugin_init", false);
            outcome.logs = running.take_logs();
            outcome.logs.retain(|line| !line.plugin.is_empty());
            running
                .failures
                .extend(outcome.judge_logs(&test.plugin_init));
            // What is left out after a failed VM would fail for no other reason.
            if let Err((phase, Failed(cause))) = running.stream(&mut worker, test) {
                let mut outcome = Outcome::none(phase, false);
                outcome.logs = running.take_logs();
                running.failures.push(outcome.failed(Some(test.at), cause));
            }
        }
    }
    if let Some(path) = &file.log_path
        && let Err(error) = write_log(path, &test.title(), &running.all_lines)
    {
        let cause = format!("{} can't be written: {error}", path.display());
        running.failures.push(start_failure("log_path", cause, &[]));
    }
    running.failures
}

fn start_failure(phase: &'static str, cause: String, lines: &[LogLine]) -> Failure {
    let mut outcome = Outcome::none(phase, false);
    outcome.logs = lines.to_vec();
    outcome.failed(None, cause)
}

/// A test under way.
struct Running {
    failures: Vec<Failure>,
    /// What has been logged and not been taken.
    log: Arc<Mutex<Vec<LogLine>>>,
    all_lines: Vec<LogLine>,
    /// The plugin has answered by itself: phases are passed over.
    replied: bool,
}

impl Running {
    /// The lines since the last call.
    fn take_logs(&mut self) -> Vec<LogLine> {
        let lines = std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner));
        self.all_lines.extend_from_slice(&lines);
        lines
    }

    /// The stream from its beginning to its end. The error names the phase in which the VM failed.
    fn stream(&mut self, worker: &mut Worker, test: &Test) -> Result<(), (&'static str, Failed)> {
        let id = worker
            .open_alone()
            .map_err(|failed| ("stream_init", failed))?;
        self.lifecycle("stream_init", &test.stream_init);
        if let Some(invocation) = &test.request_headers {
            self.headers(worker, id, Way::Request, "request_headers", invocation)?;
        }
        for invocation in &test.request_body {
            self.body(worker, id, Way::Request, ("request_body", invocation, test))?;
        }
        if let Some(invocation) = &test.response_headers {
            self.headers(worker, id, Way::Response, "response_headers", invocation)?;
        }
        for invocation in &test.response_body {
            self.body(
                worker,
                id,
                Way::Response,
                ("response_body", invocation, test),
            )?;
        }
        self.take_logs();
        worker
            .close_alone(id)
            .map_err(|failed| ("stream_destroy", failed))?;
        self.lifecycle("stream_destroy", &test.stream_destroy);
        worker
            .shut_down_alone()
            .map_err(|failed| ("plugin_destroy", failed))?;
        self.take_logs();
        Ok(())
    }

    fn lifecycle(&mut self, phase: &'static str, expected: &Expectation) {
        let mut outcome = Outcome::none(phase, false);
        outcome.logs = self.take_logs();
        self.failures.extend(outcome.judge_logs(expected));
    }

    fn headers(
        &mut self,
        worker: &mut Worker,
        id: StreamId,
        way: Way,
        phase: &'static str,
        invocation: &Invocation,
    ) -> Result<(), (&'static str, Failed)> {
        let mut outcome = Outcome::none(phase, true);
        outcome.passed_over = self.replied;
        if !self.replied {
            let mut headers = Headers::coalesced();
            for (name, value) in &invocation.input.headers {
                headers.append(name, value);
            }
            let done = worker
                .headers_alone(id, way, headers)
                .map_err(|failed| (phase, failed))?;
            self.replied = done.reply.is_some();
            outcome.code = done.code;
            outcome.reply = done.reply;
            outcome.headers = done.headers;
            outcome.callouts = done.callouts;
            outcome.logs = self.take_logs();
        }
        self.failures.extend(outcome.judge(&invocation.result));
        Ok(())
    }

    fn body(
        &mut self,
        worker: &mut Worker,
        id: StreamId,
        way: Way,
        (phase, invocation, test): (&'static str, &Invocation, &Test),
    ) -> Result<(), (&'static str, Failed)> {
        let mut outcome = Outcome::none(phase, false);
        outcome.passed_over = self.replied;
        let pieces = chunks::cut(&invocation.input.content, test.chunking)
            .map_err(|cause| (phase, Failed(cause)))?;
        let last = pieces.len().saturating_sub(1);
        for (index, piece) in pieces.into_iter().enumerate() {
            // Of the lines, those of the last piece count, as in the original.
            outcome.logs.clear();
            if self.replied {
                continue;
            }
            let done = worker
                .body_alone(id, way, piece, index == last)
                .map_err(|failed| (phase, failed))?;
            self.replied = done.reply.is_some();
            outcome.code = done.code;
            outcome.reply = done.reply.or(outcome.reply);
            outcome.body.extend(done.body);
            outcome.callouts.extend(done.callouts);
            outcome.logs = self.take_logs();
        }
        self.failures.extend(outcome.judge(&invocation.result));
        Ok(())
    }
}

/// Appends a test's lines to a file. Standard output belongs to the report, so what is meant for it
/// goes to standard error.
fn write_log(path: &Path, test: &str, lines: &[LogLine]) -> io::Result<()> {
    let mut text = format!("--- Starting test: {test} ---\n");
    for line in lines {
        text.push_str(&line.message);
        text.push('\n');
    }
    text.push_str(&format!("--- Finished test: {test} ---\n"));
    if matches!(path.to_str(), Some("/dev/stdout" | "/dev/stderr")) {
        // Whoever started this may not care to read it.
        let _ = io::stderr().write_all(text.as_bytes());
        return Ok(());
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes())
}
