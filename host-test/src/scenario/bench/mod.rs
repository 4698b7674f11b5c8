//! What the requests of a scenario cost.
//!
//! The scenario is carried out again and again, each time on a fresh host, so that a request always
//! meets the same state and gets the same answer; what is timed is the request alone, from the
//! moment it is sent until nothing moves any more. A request that is to be measured warm stands in a
//! `repeat`. Instructions and hostcalls are counted in a run of their own, because counters slow the
//! code down; they are the same each time. So that the plugins' part can be told from the host's,
//! the requests are also sent through a host without plugins.

mod report;
mod spread;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::load::ScenarioFile;
use super::rechunk::Cutter;
use super::walk::{Seen, run_started};
use super::wasmtime::{Setup, WasmtimeBackend};

pub use report::{json, pretty};
pub use spread::Spread;

/// A scenario is carried out at least so many times, however long it takes.
const LEAST_ROUNDS: usize = 5;

/// What a scenario's requests cost.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The file.
    pub path: PathBuf,
    /// The scenario's name.
    pub name: String,
    /// How many times it was carried out.
    pub rounds: usize,
    /// Nanoseconds that a fresh host of all the scenario's workers takes to start, its modules being
    /// loaded.
    pub start: Spread,
    /// What each request costs, in the order of the file.
    pub requests: Vec<RequestCost>,
}

/// What one request of the file costs, over all its repetitions.
#[derive(Clone, Debug)]
pub struct RequestCost {
    /// Its line in the file.
    pub line: u64,
    /// Its method and path.
    pub title: String,
    /// How often the scenario sends it.
    pub times: usize,
    /// Nanoseconds from sending it until nothing moves any more.
    pub nanoseconds: Spread,
    /// The same in a host without plugins.
    pub without_plugins: Spread,
    /// Hostcalls made for it.
    pub hostcalls: Spread,
    /// Wasm instructions run for it.
    pub instructions: Spread,
}

/// What was measured of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) nanoseconds: u64,
    pub(super) hostcalls: u64,
    pub(super) instructions: u64,
}

/// Where a host notes what its requests cost.
pub(super) type Samples = Rc<RefCell<Vec<Sample>>>;

/// Measures a scenario file for about that long.
///
/// # Errors
///
/// The file holds no scenario, one without requests, or one that fails: one sentence.
pub fn bench(path: &Path, time: Duration) -> Result<Bench, String> {
    let file = ScenarioFile::load(path).map_err(|error| error.to_string())?;
    file.check_modules().map_err(|error| error.to_string())?;
    let shown = path.display();
    let counted = carry_out(&file, Kind::Counted)?;
    if counted.samples.is_empty() {
        return Err(format!("{shown}: there is no request to measure"));
    }
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    for ((line, title), sample) in counted.requests.iter().zip(&counted.samples) {
        let row = rows.entry(*line).or_insert_with(|| Row::new(title));
        row.hostcalls.push(sample.hostcalls);
        row.instructions.push(sample.instructions);
    }
    let began = Instant::now();
    let (mut rounds, mut starts) = (0, Vec::new());
    while rounds < LEAST_ROUNDS || began.elapsed() < time {
        let timed = carry_out(&file, Kind::Timed)?;
        let empty = carry_out(&file, Kind::WithoutPlugins)?;
        starts.push(timed.start);
        let samples = timed.samples.iter().zip(&empty.samples);
        for ((line, _), (timed, empty)) in timed.requests.iter().zip(samples) {
            if let Some(row) = rows.get_mut(line) {
                row.nanoseconds.push(timed.nanoseconds);
                row.without_plugins.push(empty.nanoseconds);
            }
        }
        rounds += 1;
    }
    Ok(Bench {
        path: path.to_owned(),
        name: file.scenario.name,
        rounds,
        start: Spread::of(starts),
        requests: rows
            .into_iter()
            .map(|(line, row)| row.finish(line))
            .collect(),
    })
}

/// The samples of one request of the file.
struct Row {
    title: String,
    nanoseconds: Vec<u64>,
    without_plugins: Vec<u64>,
    hostcalls: Vec<u64>,
    instructions: Vec<u64>,
}

impl Row {
    fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            nanoseconds: Vec::new(),
            without_plugins: Vec::new(),
            hostcalls: Vec::new(),
            instructions: Vec::new(),
        }
    }

    fn finish(self, line: u64) -> RequestCost {
        RequestCost {
            line,
            title: self.title,
            times: self.instructions.len(),
            nanoseconds: Spread::of(self.nanoseconds),
            without_plugins: Spread::of(self.without_plugins),
            hostcalls: Spread::of(self.hostcalls),
            instructions: Spread::of(self.instructions),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Counted,
    Timed,
    WithoutPlugins,
}

/// What came of carrying a scenario out once.
struct Round {
    /// Line, and method and path, of each request.
    requests: Vec<(u64, String)>,
    samples: Vec<Sample>,
    /// Nanoseconds that the host took to start.
    start: u64,
}

fn carry_out(file: &ScenarioFile, kind: Kind) -> Result<Round, String> {
    let samples = Samples::default();
    let setup = Setup {
        count_instructions: kind == Kind::Counted,
        trace: kind == Kind::Counted,
        without_plugins: kind == Kind::WithoutPlugins,
        samples: Some(Rc::clone(&samples)),
        detail: false,
    };
    let began = Instant::now();
    let backend = WasmtimeBackend::start_with(file, &Cutter::whole(), setup);
    let start = nanoseconds(began.elapsed());
    let started = backend.map(|backend| Box::new(backend) as _);
    let run = run_started(file, started);
    let failed = match kind {
        Kind::Counted => run.verdict().failed(),
        // Nobody expects anything of requests that pass no plugin, and budgets can't be looked at
        // where nothing is counted.
        Kind::Timed | Kind::WithoutPlugins => run.broken,
    };
    if failed {
        let path = file.path.display();
        return Err(format!(
            "{path} fails, so its times would mean nothing; `host-test run {path}` says why"
        ));
    }
    let requests = run.observed.iter().filter_map(|observed| {
        let Seen::Exchange(request, _) = &observed.seen else {
            return None;
        };
        let line = observed.place.map_or(0, |(line, _)| line);
        Some((line, format!("{} {}", request.method, request.path)))
    });
    let round = Round {
        requests: requests.collect(),
        samples: samples.take(),
        start,
    };
    if round.requests.len() != round.samples.len() {
        let path = file.path.display();
        return Err(format!(
            "{path}: requests in `parallel` interrupt each other, so they can't be measured one by one"
        ));
    }
    Ok(round)
}

/// The time as a number.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
