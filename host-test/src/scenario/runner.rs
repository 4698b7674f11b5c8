//! Carries out scenarios: one at a time on a host, files side by side, and judges what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_saphyr::Spanned;

use crate::envoy::EnvoyBackend;
use crate::worker::LogLine;

use super::backend::{Backend, Broken, Exchange, StartFailure};
use super::expect::{Mismatch, log_mismatches, mismatches, refusal_mismatches};
use super::load::ScenarioFile;
use super::model::{AdvanceFields, HostKind, RequestFields, Step};
use super::source::SourceError;
use super::wasmtime::WasmtimeBackend;
use super::{parity, trace};

/// Files that run at the same time: Envoy's start is the long part, and CI has two cores.
const FILES_AT_ONCE: usize = 2;

/// A failing repetition fails every round; more than this tells nothing new.
const FAILURES_KEPT: usize = 5;

/// The hosts that scenarios are to be run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Ours and the real Envoy, which must not differ in anything.
    Both,
    /// One of them.
    One(HostKind),
}

/// What came of a file.
#[derive(Clone, Debug)]
pub struct FileRun {
    /// The file.
    pub path: PathBuf,
    /// The scenario's name.
    pub name: String,
    /// One case per host, and one for the comparison of both.
    pub cases: Vec<Case>,
}

/// One verdict on a scenario.
#[derive(Clone, Debug)]
pub struct Case {
    /// `wasmtime`, `envoy` or `parity`.
    pub title: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took in real time.
    pub took: Duration,
}

/// What came of a case.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Not carried out, with the reason.
    Skipped(String),
    /// Carried out; it passed if there are no failures. Failures beyond a few are only counted.
    Ran(Vec<Failure>, usize),
}

/// Something that is not as it should be.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which step, and of which round; empty if it is about no step.
    pub step: String,
    /// Line and column of the step.
    pub place: Option<(u64, u64)>,
    /// What is wrong.
    pub causes: Vec<String>,
    /// What was observed of the request; empty if there is none.
    pub trace: String,
}

/// What a host observed in a step.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) step: String,
    pub(super) place: Option<(u64, u64)>,
    pub(super) seen: Seen,
}

/// See [`Observed`].
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Exchange(Box<RequestFields>, Box<Exchange>),
    Logs(Vec<LogLine>),
    Metrics(BTreeMap<String, u64>),
}

impl Seen {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Exchange(..) => "a request",
            Self::Logs(_) => "log lines",
            Self::Metrics(_) => "metrics",
        }
    }
}

impl Verdict {
    /// Whether something is not as it should be.
    pub fn failed(&self) -> bool {
        matches!(self, Self::Ran(_, count) if *count > 0)
    }
}

/// Runs scenario files, a few at a time, and returns what came of them in the given order.
///
/// # Errors
///
/// Those of the files that don't hold a scenario, or name a module that isn't there; nothing is
/// run then.
pub fn run_files(paths: &[PathBuf], hosts: Hosts) -> Result<Vec<FileRun>, Vec<SourceError>> {
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        let file = ScenarioFile::load(path);
        match file.and_then(|file| file.check_modules().map(|()| file)) {
            Ok(file) => files.push(file),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let next = Mutex::new(files.iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..FILES_AT_ONCE.min(files.len()) {
            scope.spawn(|| {
                loop {
                    let Some((index, file)) = lock(&next).next() else {
                        return;
                    };
                    let run = run_file(file, hosts);
                    lock(&done).insert(index, run);
                }
            });
        }
    });
    let done = done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    Ok(done.into_values().collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn run_file(file: &ScenarioFile, hosts: Hosts) -> FileRun {
    let chosen = match hosts {
        Hosts::Both => vec![HostKind::Wasmtime, HostKind::Envoy],
        Hosts::One(host) => vec![host],
    };
    let mut cases = Vec::new();
    let mut runs = Vec::new();
    for host in chosen {
        if file.scenario.hosts.contains(&host) {
            let start = Instant::now();
            let run = run_on(file, host);
            cases.push(Case {
                title: host.name(),
                verdict: run.verdict(),
                took: start.elapsed(),
            });
            runs.push(run);
        } else {
            let because = file.scenario.because.clone().unwrap_or_default();
            cases.push(Case {
                title: host.name(),
                verdict: Verdict::Skipped(because),
                took: Duration::ZERO,
            });
        }
    }
    if let [ours, theirs] = runs.as_slice()
        && !ours.broken
        && !theirs.broken
    {
        cases.push(Case {
            title: "parity",
            verdict: compare(file, ours, theirs).verdict(),
            took: Duration::ZERO,
        });
    }
    FileRun {
        path: file.path.clone(),
        name: file.scenario.name.clone(),
        cases,
    }
}

impl HostKind {
    /// The host's name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wasmtime => "wasmtime",
            Self::Envoy => "envoy",
        }
    }

    fn start(self, file: &ScenarioFile) -> Result<Box<dyn Backend>, StartFailure> {
        Ok(match self {
            Self::Wasmtime => Box::new(WasmtimeBackend::start(file)?),
            Self::Envoy => Box::new(EnvoyBackend::start(file)?),
        })
    }
}

/// What came of a scenario on one host.
#[derive(Default)]
struct Run {
    observed: Vec<Observed>,
    failures: Vec<Failure>,
    failed: usize,
    /// The host broke, so there is nothing to compare.
    broken: bool,
}

impl Run {
    fn verdict(&self) -> Verdict {
        Verdict::Ran(self.failures.clone(), self.failed)
    }

    fn fail(&mut self, failure: Failure) {
        self.failed += 1;
        if self.failures.len() < FAILURES_KEPT {
            self.failures.push(failure);
        }
    }

    fn break_off(&mut self, step: String, place: Option<(u64, u64)>, Broken(cause): Broken) {
        self.broken = true;
        self.fail(Failure {
            step,
            place,
            causes: vec![cause],
            trace: String::new(),
        });
    }
}

fn run_on(file: &ScenarioFile, host: HostKind) -> Run {
    let mut run = Run::default();
    let refusal = &file.scenario.expect_config_error;
    match host.start(file) {
        Err(StartFailure::Broken(broken)) => run.break_off(String::new(), None, broken),
        Err(StartFailure::Refused { cause, logs }) => {
            let mut causes: Vec<String> = refusal_mismatches(refusal, &logs)
                .iter()
                .map(Mismatch::to_string)
                .collect();
            if refusal.is_empty() {
                causes.push(format!("the configuration was refused: {cause}"));
                causes.extend(logs.iter().map(trace::log_line));
                run.broken = true;
            }
            if !causes.is_empty() {
                run.fail(Failure {
                    step: String::new(),
                    place: None,
                    causes,
                    trace: String::new(),
                });
            }
            run.observed.push(Observed {
                step: "refusal".to_owned(),
                place: None,
                seen: Seen::Logs(logs),
            });
        }
        Ok(_) if !refusal.is_empty() => run.break_off(
            String::new(),
            None,
            Broken("the configuration was accepted, but it must be refused".to_owned()),
        ),
        Ok(backend) => {
            let mut walk = Walk { backend, run };
            if let Err(broken) = walk.steps(&file.scenario.steps, "", None) {
                let (step, place) = match broken.1 {
                    Some((step, place)) => (step, Some(place)),
                    None => (String::new(), None),
                };
                walk.run.break_off(step, place, broken.0);
            }
            if !walk.run.broken
                && let Err(broken) = walk.finish()
            {
                walk.run.break_off("end".to_owned(), None, broken);
            }
            run = walk.run;
        }
    }
    run
}

/// A host broke, and in which step.
type BrokenAt = (Broken, Option<(String, (u64, u64))>);

/// A scenario being carried out.
struct Walk {
    backend: Box<dyn Backend>,
    run: Run,
}

impl Walk {
    fn steps(
        &mut self,
        steps: &[Spanned<Step>],
        prefix: &str,
        round: Option<u64>,
    ) -> Result<(), BrokenAt> {
        for (index, step) in steps.iter().enumerate() {
            let title = format!("{prefix}step {}", index + 1);
            let place = (step.referenced.line(), step.referenced.column());
            if let Step::Repeat(repeat) = &step.value {
                for n in 1..=repeat.times {
                    self.steps(&repeat.steps, &format!("{title}, round {n}, "), Some(n))?;
                }
            } else {
                self.step(&step.value, &title, place, round)
                    .map_err(|broken| (broken, Some((title, place))))?;
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        step: &Step,
        title: &str,
        place: (u64, u64),
        round: Option<u64>,
    ) -> Result<(), Broken> {
        let (seen, wrong) = match step {
            Step::Repeat(_) => return Ok(()),
            Step::Advance(advance) => return self.advance(advance.0),
            Step::Exchange(request, expect) => {
                let numbered = round.map(|n| request.0.numbered(n));
                let request = numbered.as_ref().unwrap_or(&request.0);
                let exchange = self.backend.exchange(request)?;
                let mut wrong = mismatches(&expect.0, &exchange, round);
                wrong.extend(exchange.violations.iter().map(violation));
                (
                    Seen::Exchange(Box::new(request.clone()), Box::new(exchange)),
                    wrong,
                )
            }
            Step::Logs(expect) => {
                let lines = self.backend.take_logs()?;
                let wrong = log_mismatches(expect, &lines, round);
                (Seen::Logs(lines), wrong)
            }
            Step::Metrics(expect) => {
                let metrics = self.backend.metrics()?;
                let wrong = expect
                    .iter()
                    .filter(|(name, expected)| !expected.matches(metrics.get(*name).copied()))
                    .map(|(name, expected)| Mismatch {
                        what: format!("metric {name}"),
                        expected: expected.to_string(),
                        got: metrics.get(name).map_or("none".to_owned(), u64::to_string),
                    })
                    .collect();
                (Seen::Metrics(metrics), wrong)
            }
        };
        if !wrong.is_empty() {
            self.run.fail(Failure {
                step: seen.title(title),
                place: Some(place),
                causes: wrong.iter().map(Mismatch::to_string).collect(),
                trace: seen.trace(),
            });
        }
        self.run.observed.push(Observed {
            step: title.to_owned(),
            place: Some(place),
            seen,
        });
        Ok(())
    }

    fn advance(&mut self, AdvanceFields { by, step }: AdvanceFields) -> Result<(), Broken> {
        let mut left = by.0;
        while !left.is_zero() {
            let step = step.map_or(left, |step| step.0.min(left));
            self.backend.advance(step)?;
            left -= step;
        }
        Ok(())
    }

    /// What is looked at in the end of every scenario, whether a step asks for it or not.
    fn finish(&mut self) -> Result<(), Broken> {
        for found in self.backend.violations() {
            self.run.fail(Failure {
                step: "end".to_owned(),
                place: None,
                causes: vec![violation(&found).to_string()],
                trace: String::new(),
            });
        }
        for seen in [
            Seen::Metrics(self.backend.metrics()?),
            Seen::Logs(self.backend.take_logs()?),
        ] {
            self.run.observed.push(Observed {
                step: "end".to_owned(),
                place: None,
                seen,
            });
        }
        Ok(())
    }
}

/// Something that works here and hurts in production.
fn violation(found: &String) -> Mismatch {
    Mismatch {
        what: "strict mode".to_owned(),
        expected: "no violation".to_owned(),
        got: found.clone(),
    }
}

impl Seen {
    fn title(&self, step: &str) -> String {
        match self {
            Self::Exchange(request, _) => format!("{step}: {} {}", request.method, request.path),
            Self::Logs(_) | Self::Metrics(_) => format!("{step}: {}", self.kind()),
        }
    }

    fn trace(&self) -> String {
        match self {
            Self::Exchange(request, exchange) => trace::render(request, exchange),
            Self::Logs(_) | Self::Metrics(_) => String::new(),
        }
    }
}

/// What one host observed against what the other did.
fn compare(file: &ScenarioFile, ours: &Run, theirs: &Run) -> Run {
    let watched: BTreeSet<&str> = file.scenario.watched_filter_state();
    let mut run = Run::default();
    if ours.observed.len() != theirs.observed.len() {
        run.fail(Failure {
            step: String::new(),
            place: None,
            causes: vec!["one host refused the configuration, the other did not".to_owned()],
            trace: String::new(),
        });
        return run;
    }
    for (ours, theirs) in ours.observed.iter().zip(&theirs.observed) {
        let causes: Vec<String> = parity::differences(ours, theirs, &watched)
            .into_iter()
            .map(
                |Mismatch {
                     what,
                     expected,
                     got,
                 }| { format!("{what}: wasmtime has {expected}, envoy has {got}") },
            )
            .collect();
        if !causes.is_empty() {
            let trace = match (ours.seen.trace(), theirs.seen.trace()) {
                (ours, theirs) if ours.is_empty() && theirs.is_empty() => String::new(),
                (ours, theirs) => format!("wasmtime:\n{ours}envoy:\n{theirs}"),
            };
            run.fail(Failure {
                step: ours.seen.title(&ours.step),
                place: ours.place,
                causes,
                trace,
            });
        }
    }
    run
}

/// The scenario files among the given paths: files as they are, folders with all `.yaml` files in
/// them, sorted by name.
///
/// # Errors
///
/// A path that isn't there, or a folder without scenarios.
pub fn scenario_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, SourceError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            collect(path, &mut files)?;
            if files.len() == before {
                return Err(SourceError::whole(
                    path,
                    "there are no .yaml files in this folder",
                ));
            }
            files[before..].sort();
        } else if path.is_file() {
            files.push(path.clone());
        } else {
            return Err(SourceError::whole(path, "there is no such file or folder"));
        }
    }
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    let error =
        |error: std::io::Error| SourceError::whole(folder, format!("can't be read: {error}"));
    for entry in std::fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    Ok(())
}
