//! Runs scenario files side by side on the hosts asked for, and judges what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::expect::Mismatch;
use super::load::ScenarioFile;
use super::model::HostKind;
use super::parity;
use super::rechunk;
use super::recorded;
use super::snapshot;
use super::source::SourceError;
use super::walk::{Run, run_on};
use crate::inspector::{Mask, Report};
use crate::plugin_tester::{self, Overrides, SuiteFile};

/// Files that run at the same time: Envoy's start is the long part, and CI has two cores.
const FILES_AT_ONCE: usize = 2;

/// The hosts that scenarios are to be run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Ours and the real Envoy, which must not differ in anything.
    Both,
    /// One of them.
    One(HostKind),
}

/// How files are to be run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// On which hosts.
    pub hosts: Hosts,
    /// What goes before what suites of the plugin tester say in `env`.
    pub overrides: Overrides,
    /// Whether snapshots are written that are missing or differ.
    pub update: bool,
    /// Whether scenarios are carried out again with their bodies in other pieces.
    pub rechunk: Option<Rechunk>,
    /// Whether our own host notes what [`report::html`](super::report::html) shows, and whether
    /// credentials are masked in it.
    pub report: Option<Mask>,
}

/// How often, and how, bodies are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rechunk {
    /// How often.
    pub rounds: u64,
    /// Decides where; each round counts one on.
    pub seed: u64,
}

impl RunOptions {
    /// On these hosts, and nothing special.
    pub fn on(hosts: Hosts) -> Self {
        Self {
            hosts,
            overrides: Overrides::default(),
            update: false,
            rechunk: None,
            report: None,
        }
    }
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
    /// Snapshots that were written.
    pub written: Vec<PathBuf>,
    /// The requests of our own host, if a report is wanted.
    pub(crate) requests: Report,
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

impl Verdict {
    /// Whether something is not as it should be.
    pub fn failed(&self) -> bool {
        matches!(self, Self::Ran(_, count) if *count > 0)
    }
}

/// A file that can be run.
enum Runnable {
    Scenario(Box<ScenarioFile>),
    Suite(Box<SuiteFile>),
}

/// Runs scenario files, and suites of Google's plugin tester, a few at a time, and returns what
/// came of them in the given order.
///
/// # Errors
///
/// Those of the files that don't hold a scenario or a suite, or name a module that isn't there;
/// nothing is run then.
pub fn run_files(paths: &[PathBuf], hosts: Hosts) -> Result<Vec<FileRun>, Vec<SourceError>> {
    run_files_with(paths, &RunOptions::on(hosts))
}

/// The same with all that can be chosen.
///
/// # Errors
///
/// As [`run_files`].
pub fn run_files_with(
    paths: &[PathBuf],
    options: &RunOptions,
) -> Result<Vec<FileRun>, Vec<SourceError>> {
    let files = load_files(paths, &options.overrides)?;
    let next = Mutex::new(files.iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..FILES_AT_ONCE.min(files.len()) {
            scope.spawn(|| {
                loop {
                    let Some((index, file)) = lock(&next).next() else {
                        return;
                    };
                    let runs = match file {
                        Runnable::Scenario(file) => vec![run_file(file, options)],
                        Runnable::Suite(file) => run_suite(file, options.hosts),
                    };
                    lock(&done).insert(index, runs);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(done.into_values().flatten().collect())
}

/// The names of what the files would run, each with its file.
///
/// # Errors
///
/// As [`run_files`].
pub fn list_files(
    paths: &[PathBuf],
    overrides: &Overrides,
) -> Result<Vec<(PathBuf, String)>, Vec<SourceError>> {
    let files = load_files(paths, overrides)?;
    let names = files.iter().flat_map(|file| match file {
        Runnable::Scenario(file) => vec![(file.path.clone(), file.scenario.name.clone())],
        Runnable::Suite(file) => file.names().map(|name| (file.path.clone(), name)).collect(),
    });
    Ok(names.collect())
}

fn load_files(paths: &[PathBuf], overrides: &Overrides) -> Result<Vec<Runnable>, Vec<SourceError>> {
    let load = |path: &PathBuf| {
        if plugin_tester::is_suite(path) {
            let file = SuiteFile::load(path, overrides)?;
            file.check_module()?;
            return Ok(Runnable::Suite(Box::new(file)));
        }
        let file = ScenarioFile::load(path)?;
        file.check_modules()?;
        Ok(Runnable::Scenario(Box::new(file)))
    };
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        match load(path) {
            Ok(file) => files.push(file),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(files)
    } else {
        Err(errors)
    }
}

/// The tests of a suite, which drive single callbacks: no proxy can do that.
fn run_suite(file: &SuiteFile, hosts: Hosts) -> Vec<FileRun> {
    let skipped = || Case {
        title: HostKind::Envoy.name(),
        verdict: Verdict::Skipped("a plugin-tester suite drives single callbacks".to_owned()),
        took: Duration::ZERO,
    };
    if hosts == Hosts::One(HostKind::Envoy) {
        let skipped = |name| FileRun {
            path: file.path.clone(),
            name,
            cases: vec![skipped()],
            written: Vec::new(),
            requests: Report::default(),
        };
        return file.names().map(skipped).collect();
    }
    let mut runs = plugin_tester::run(file);
    if hosts == Hosts::Both {
        for run in &mut runs {
            run.cases.push(skipped());
        }
    }
    runs
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run_file(file: &ScenarioFile, options: &RunOptions) -> FileRun {
    let chosen = match options.hosts {
        Hosts::Both => vec![HostKind::Wasmtime, HostKind::Envoy],
        Hosts::One(host) => vec![host],
    };
    let mut cases = Vec::new();
    let mut runs = Vec::new();
    let mut written = Vec::new();
    let mut requests = Report::default();
    for host in chosen {
        if file.scenario.hosts.contains(&host) {
            let start = Instant::now();
            let mut run = match options.report {
                Some(mask) if host == HostKind::Wasmtime => {
                    let (run, seen) = recorded::run(file, mask);
                    requests = seen;
                    run
                }
                _ => run_on(file, host),
            };
            if !run.broken {
                let (paths, failures) = snapshot::check(file, host, &run, options.update);
                written.extend(paths);
                failures.into_iter().for_each(|failure| run.fail(failure));
            }
            cases.push(Case {
                title: host.name(),
                verdict: run.verdict(),
                took: start.elapsed(),
            });
            if let Some(Rechunk { rounds, seed }) = options.rechunk
                && host == HostKind::Wasmtime
            {
                cases.push(rechunk::case(file, &run, rounds, seed));
            }
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
        written,
        requests,
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
