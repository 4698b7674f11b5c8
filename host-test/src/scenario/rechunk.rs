//! The same scenario with its bodies in other pieces: nothing that is seen may differ.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use crate::host::Answer;
use crate::rechunk::{Shape, Split, Splitter};

use super::expect::Mismatch;
use super::load::ScenarioFile;
use super::model::HostKind;
use super::parity;
use super::runner::{Case, Failure, Verdict};
use super::walk::{Run, Seen, run_with};

/// How many times a scenario is carried out again to find a simpler split that shows a difference.
const SIMPLER: usize = 100;

/// Bodies that were cut, each with what it was the body of.
type Cuts = Vec<(String, Split)>;

/// Cuts the bodies of one run, and notes how.
#[derive(Clone, Debug)]
pub(super) struct Cutter(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    source: Source,
    cuts: Cuts,
}

#[derive(Debug)]
enum Source {
    Random(Splitter),
    Given(VecDeque<Split>),
}

impl Cutter {
    /// Leaves bodies whole.
    pub(super) fn whole() -> Self {
        Self::new(Source::Random(Splitter::whole()))
    }

    fn new(source: Source) -> Self {
        Self(Rc::new(RefCell::new(State {
            source,
            cuts: Vec::new(),
        })))
    }

    /// Cuts a body; `what` says whose it is.
    pub(super) fn cut(&self, what: &str, body: &Bytes) -> Split {
        let mut state = self.0.borrow_mut();
        let split = match &mut state.source {
            Source::Random(splitter) => splitter.split(body),
            Source::Given(given) => given
                .pop_front()
                .filter(|split| split.pieces.concat() == body[..])
                .unwrap_or_else(|| Split::whole(body)),
        };
        state.cuts.push((what.to_owned(), split.clone()));
        split
    }

    /// Cuts the body of an answer. How it ends is the host's affair, which is HTTP/1's: no piece is
    /// empty then.
    pub(super) fn cut_answer(&self, mut answer: Answer) -> Answer {
        if let Answer::Respond { chunks, .. } = &mut answer
            && !chunks.is_empty()
        {
            let body = Bytes::from(chunks.concat());
            let mut split = self.cut("an answer", &body);
            split.pieces.retain(|piece| !piece.is_empty());
            *chunks = split.pieces;
        }
        answer
    }

    fn take(&self) -> Cuts {
        std::mem::take(&mut self.0.borrow_mut().cuts)
    }
}

/// Carries out a scenario with its bodies cut, as often as asked.
pub(super) fn case(file: &ScenarioFile, whole: &Run, rounds: u64, seed: u64) -> Case {
    let start = Instant::now();
    let verdict = verdict(file, whole, rounds, seed);
    Case {
        title: "rechunk",
        verdict,
        took: start.elapsed(),
    }
}

fn verdict(file: &ScenarioFile, whole: &Run, rounds: u64, seed: u64) -> Verdict {
    if whole.broken {
        return Verdict::Skipped("the scenario could not be carried out".to_owned());
    }
    for round in 0..rounds {
        let seed = seed.wrapping_add(round);
        let cutter = Cutter::new(Source::Random(Splitter::new(seed)));
        let (failure, cuts) = attempt(file, whole, &cutter);
        if cuts.is_empty() {
            return Verdict::Skipped("no body is sent in it".to_owned());
        }
        if let Some(failure) = failure {
            let (mut failure, cuts) = simplest(file, whole, failure, cuts);
            failure.causes.push(format!("found with --seed {seed}"));
            let cuts = cuts.iter().filter(|(_, split)| split.is_cut());
            let cuts = cuts.map(|(what, split)| format!("{what}: {split}\n"));
            failure.trace = cuts.collect::<String>() + &failure.trace;
            return Verdict::Ran(vec![failure], 1);
        }
    }
    Verdict::Ran(Vec::new(), 0)
}

/// Carries it out once, and tells what differs and how bodies were cut.
fn attempt(file: &ScenarioFile, whole: &Run, cutter: &Cutter) -> (Option<Failure>, Cuts) {
    let run = run_with(file, HostKind::Wasmtime, cutter);
    (difference(file, whole, &run), cutter.take())
}

/// Joins pieces as long as the difference stays.
fn simplest(
    file: &ScenarioFile,
    whole: &Run,
    mut failure: Failure,
    mut cuts: Cuts,
) -> (Failure, Cuts) {
    let mut left = SIMPLER;
    loop {
        let simpler: Vec<Cuts> = (0..cuts.len())
            .flat_map(|at| {
                let (what, split) = &cuts[at];
                split
                    .simpler()
                    .map(move |simple| (at, what.clone(), simple))
            })
            .map(|(at, what, simple)| {
                let mut cuts = cuts.clone();
                cuts[at] = (what, simple);
                cuts
            })
            .collect();
        let mut found = None;
        for candidate in simpler {
            if left == 0 {
                return (failure, cuts);
            }
            left -= 1;
            let given = candidate.iter().map(|(_, split)| split.clone()).collect();
            let cutter = Cutter::new(Source::Given(given));
            if let (Some(failure), made) = attempt(file, whole, &cutter) {
                found = Some((failure, made));
                break;
            }
        }
        match found {
            Some(better) => (failure, cuts) = better,
            None => return (failure, cuts),
        }
    }
}

/// What differs first. Log lines don't count: guests may well log each piece.
fn difference(file: &ScenarioFile, whole: &Run, cut: &Run) -> Option<Failure> {
    let watched = file.scenario.watched_filter_state();
    whole
        .observed
        .iter()
        .zip(&cut.observed)
        .filter(|(whole, _)| !matches!(whole.seen, Seen::Logs(_)))
        .find_map(|(whole, cut)| {
            let found = parity::differences(whole, cut, &watched);
            let causes = found.into_iter().map(
                |Mismatch {
                     what,
                     expected,
                     got,
                 }| {
                    format!("{what}: {expected} if bodies are whole, {got} if they are cut")
                },
            );
            let causes: Vec<String> = causes.collect();
            (!causes.is_empty()).then(|| Failure {
                step: whole.seen.title(&whole.step),
                place: whole.place,
                causes,
                trace: cut.seen.trace(),
            })
        })
}

impl Split {
    fn is_cut(&self) -> bool {
        self.pieces.len() > 1 || self.shape == Shape::Http2
    }
}
