//! Carries out one scenario on one host, and keeps what was observed for a comparison.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_saphyr::Spanned;

use crate::envoy::EnvoyBackend;
use crate::host::Received;
use crate::trace::Trace;
use crate::worker::LogLine;

use super::backend::{Backend, Broken, Exchange, StartFailure};
use super::expect::{Mismatch, callout_mismatches, log_mismatches, mismatches, refusal_mismatches};
use super::forced::Parallel;
use super::load::ScenarioFile;
use super::model::{AdvanceFields, Expect, HostKind, RequestFields, Step};
use super::rechunk::Cutter;
use super::runner::{Failure, Verdict};
use super::trace;
use super::wasmtime::WasmtimeBackend;

/// A failing repetition fails every round; more than this tells nothing new.
const FAILURES_KEPT: usize = 5;

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
    /// Whether a callout waited for an answer.
    Answer(bool),
    Callouts(Vec<Received>),
    Exchange(Box<RequestFields>, Box<Exchange>),
    Logs(Vec<LogLine>),
    Metrics(BTreeMap<String, u64>),
    SharedData(BTreeMap<Vec<u8>, Vec<u8>>),
}

impl Seen {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Answer(_) => "an answer",
            Self::Callouts(_) => "callouts",
            Self::Exchange(..) => "a request",
            Self::Logs(_) => "log lines",
            Self::Metrics(_) => "metrics",
            Self::SharedData(_) => "shared data",
        }
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

    fn start(self, file: &ScenarioFile, cutter: &Cutter) -> Result<Box<dyn Backend>, StartFailure> {
        Ok(match self {
            Self::Wasmtime => Box::new(WasmtimeBackend::start(file, cutter)?),
            Self::Envoy => Box::new(EnvoyBackend::start(file)?),
        })
    }
}

/// What came of a scenario on one host.
#[derive(Default)]
pub(super) struct Run {
    pub(super) observed: Vec<Observed>,
    /// Callbacks and hostcalls by step, where the host records them.
    pub(super) trace: String,
    failures: Vec<Failure>,
    failed: usize,
    /// The host broke, so there is nothing to compare.
    pub(super) broken: bool,
}

impl Run {
    pub(super) fn verdict(&self) -> Verdict {
        Verdict::Ran(self.failures.clone(), self.failed)
    }

    pub(super) fn fail(&mut self, failure: Failure) {
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

/// Carries out a scenario on a host.
pub(super) fn run_on(file: &ScenarioFile, host: HostKind) -> Run {
    run_with(file, host, &Cutter::whole())
}

/// The same with bodies cut, which is for our own host.
pub(super) fn run_with(file: &ScenarioFile, host: HostKind, cutter: &Cutter) -> Run {
    run_started(file, host.start(file, cutter))
}

/// Carries out a scenario on a host that was just started, or failed to.
pub(super) fn run_started(
    file: &ScenarioFile,
    started: Result<Box<dyn Backend>, StartFailure>,
) -> Run {
    run_then(file, started, |_| ())
}

/// The same, with a look at the host in the end.
pub(super) fn run_then(
    file: &ScenarioFile,
    started: Result<Box<dyn Backend>, StartFailure>,
    look: impl FnOnce(&mut dyn Backend),
) -> Run {
    let mut run = Run::default();
    let refusal = &file.scenario.expect_config_error;
    match started {
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
            let first = file.scenario.plugins.first();
            let mut walk = Walk {
                first_vm_id: first.map_or_else(String::new, |plugin| plugin.vm_id().to_owned()),
                backend,
                run,
                started: BTreeMap::new(),
            };
            walk.record("start", Trace::default());
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
            look(&mut *walk.backend);
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
    first_vm_id: String,
    /// Requests that were started, by name.
    started: BTreeMap<String, RequestFields>,
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
            Step::Advance(advance) => {
                self.advance(advance.0)?;
                self.record(title, Trace::default());
                return Ok(());
            }
            Step::Fault(fault) => return self.backend.fault(fault),
            Step::Tick(tick) => {
                let ran = self.backend.tick(*tick)?;
                self.record(title, Trace::default());
                if ran == 0 {
                    let cause = "no plugin has set a tick period there, so no tick ran";
                    self.fail_step(title, place, vec![cause.to_owned()], String::new());
                }
                return Ok(());
            }
            Step::Parallel(parallel) => return self.parallel(parallel, title, place),
            Step::SharedData(expect) => {
                let vm_id = expect.vm_id.as_ref().unwrap_or(&self.first_vm_id);
                let entries = self.backend.shared_data(vm_id)?;
                let wrong = expect.mismatches(&entries, round);
                (Seen::SharedData(entries), wrong)
            }
            Step::Exchange(request, expect) => {
                let numbered = round.map(|n| request.0.numbered(n));
                let request = numbered.as_ref().unwrap_or(&request.0);
                let exchange = self.backend.exchange(request)?;
                exchanged(request.clone(), exchange, expect, round)
            }
            Step::Start(name, request) => {
                let numbered = round.map(|n| request.0.numbered(n));
                let request = numbered.unwrap_or_else(|| request.0.clone());
                self.backend.start(name, &request)?;
                self.started.insert(name.clone(), request);
                return Ok(());
            }
            Step::Await(name, expect) => {
                let exchange = self.backend.finish(name)?;
                let started = self.started.remove(name);
                let request = started.ok_or_else(|| {
                    Broken(format!("no request was started by the name `{name}`"))
                })?;
                exchanged(request, exchange, expect, round)
            }
            Step::Answer(answer) => {
                let waited = self.backend.answer(answer)?;
                let wrong = (!waited).then(|| Mismatch {
                    what: "answer".to_owned(),
                    expected: format!("a callout to {} that waits", answer.cluster),
                    got: "none".to_owned(),
                });
                (Seen::Answer(waited), wrong.into_iter().collect())
            }
            Step::Callouts(expect) => {
                let callouts = self.backend.take_callouts()?;
                let wrong = callout_mismatches(expect, &callouts, round, false);
                (Seen::Callouts(callouts), wrong)
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
                        got: metrics
                            .get(name)
                            .map_or_else(|| "none".to_owned(), u64::to_string),
                    })
                    .collect();
                (Seen::Metrics(metrics), wrong)
            }
        };
        self.saw(seen, &wrong, title, place);
        Ok(())
    }

    /// Notes what was seen in a step, and what of it is wrong.
    fn saw(&mut self, seen: Seen, wrong: &[Mismatch], title: &str, place: (u64, u64)) {
        let trace = match &seen {
            Seen::Exchange(_, exchange) => exchange.trace.clone(),
            _ => Trace::default(),
        };
        self.record(title, trace);
        if !wrong.is_empty() {
            let causes = wrong.iter().map(Mismatch::to_string).collect();
            let calls = match &seen {
                Seen::Exchange(_, exchange) => trace::hostcalls(&exchange.trace, wrong),
                _ => String::new(),
            };
            self.fail_step(&seen.title(title), place, causes, seen.trace() + &calls);
        }
        self.run.observed.push(Observed {
            step: title.to_owned(),
            place: Some(place),
            seen,
        });
    }

    fn fail_step(&mut self, step: &str, place: (u64, u64), causes: Vec<String>, trace: String) {
        self.run.fail(Failure {
            step: step.to_owned(),
            place: Some(place),
            causes,
            trace,
        });
    }

    /// Keeps the callbacks of a step, those outside its request included.
    fn record(&mut self, title: &str, mut trace: Trace) {
        trace.merge(self.backend.take_trace());
        if !trace.is_empty() {
            let _ = write!(self.run.trace, "{title}\n{trace}");
        }
    }

    /// Requests at the same time.
    fn parallel(
        &mut self,
        parallel: &Parallel,
        title: &str,
        place: (u64, u64),
    ) -> Result<(), Broken> {
        let all = (1..=parallel.times).flat_map(|n| {
            parallel
                .requests
                .iter()
                .enumerate()
                .map(move |one| (n, one))
        });
        let all: Vec<_> = all
            .map(|(n, (index, one))| {
                let title = format!("{title}, request {} of round {n}", index + 1);
                (n, title, one.request.0.numbered(n), &one.expect)
            })
            .collect();
        let requests: Vec<RequestFields> = all
            .iter()
            .map(|(_, _, request, _)| request.clone())
            .collect();
        let exchanges = self.backend.parallel(parallel.seed, &requests)?;
        // Their callbacks took turns, so they are kept in one list.
        let mut turns = Trace::default();
        for exchange in &exchanges {
            turns.merge(exchange.trace.clone());
        }
        self.record(title, turns);
        let wrong = parallel.mismatches(&exchanges);
        if !wrong.is_empty() {
            let causes = wrong.iter().map(Mismatch::to_string).collect();
            self.fail_step(title, place, causes, String::new());
        }
        for ((n, title, request, expect), exchange) in all.into_iter().zip(exchanges) {
            let expect = expect.clone().unwrap_or_default();
            let (seen, wrong) = exchanged(request, exchange, &expect, Some(n));
            let kept = std::mem::take(&mut self.run.trace);
            self.saw(seen, &wrong, &title, place);
            self.run.trace = kept;
        }
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
                causes: vec![violation(found).to_string()],
                trace: String::new(),
            });
        }
        for seen in [
            Seen::Callouts(self.backend.take_callouts()?),
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

/// What was seen of a request, and what of it is wrong.
fn exchanged(
    request: RequestFields,
    exchange: Exchange,
    expect: &Expect,
    round: Option<u64>,
) -> (Seen, Vec<Mismatch>) {
    let mut wrong = mismatches(&expect.0, &exchange, round);
    wrong.extend(exchange.violations.iter().map(violation));
    (Seen::Exchange(Box::new(request), Box::new(exchange)), wrong)
}

/// Something that works here and hurts in production.
fn violation(found: impl Into<String>) -> Mismatch {
    Mismatch {
        what: "strict mode".to_owned(),
        expected: "no violation".to_owned(),
        got: found.into(),
    }
}

impl Seen {
    pub(super) fn title(&self, step: &str) -> String {
        match self {
            Self::Exchange(request, _) => format!("{step}: {} {}", request.method, request.path),
            _ => format!("{step}: {}", self.kind()),
        }
    }

    pub(super) fn trace(&self) -> String {
        match self {
            Self::Exchange(request, exchange) => trace::render(request, exchange),
            _ => String::new(),
        }
    }
}
