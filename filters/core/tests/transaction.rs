//! Transactions under every interleaving of workers that proptest can think of.
//!
//! The model: counters with a limit. A worker wants one unit of several counters, of all or of
//! none.

use std::collections::BTreeMap;

use filter_core::transaction::{Cas, Step, Transaction};
use proptest::prelude::*;

const LIMIT: u32 = 5;

/// Values with versions, one number for the whole store, as in Envoy.
#[derive(Default)]
struct Store {
    values: BTreeMap<usize, (u32, u32)>,
    version: u32,
}

impl Store {
    fn read(&self, key: usize) -> (u32, Cas) {
        self.values
            .get(&key)
            .map_or((0, Cas::Absent), |(value, version)| {
                (*value, Cas::Version(*version))
            })
    }

    fn write(&mut self, key: usize, value: u32, cas: Cas) -> bool {
        if self.read(key).1 != cas {
            return false;
        }
        self.version += 1;
        self.values.insert(key, (value, self.version));
        true
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Charged,
    Refused,
    GaveUp,
}

/// One worker in the middle of one transaction.
struct Worker {
    keys: Vec<usize>,
    values: Vec<u32>,
    transaction: Transaction,
    charged: bool,
}

impl Worker {
    fn new(keys: Vec<usize>, tries: u32) -> Self {
        Self {
            values: vec![0; keys.len()],
            transaction: Transaction::new(keys.len(), tries),
            charged: false,
            keys,
        }
    }

    /// Takes one step; returns how it ended, if it did.
    fn step(&mut self, store: &mut Store) -> Option<End> {
        match self.transaction.step() {
            Step::Read(at) => {
                let (value, cas) = store.read(self.keys[at]);
                self.values[at] = value;
                self.transaction.read(cas);
            }
            Step::Decide => {
                self.charged = self.values.iter().all(|value| *value < LIMIT);
                if self.charged {
                    self.values.iter_mut().for_each(|value| *value += 1);
                    self.transaction.decided(0..self.keys.len());
                } else {
                    self.transaction.decided([]);
                }
            }
            Step::Write { key, cas } => {
                let won = store.write(self.keys[key], self.values[key], cas);
                self.transaction.wrote(won);
            }
            Step::TakeBack(at) => {
                self.values[at] -= 1;
                self.transaction.took_back();
            }
            Step::Commit if self.charged => return Some(End::Charged),
            Step::Commit => return Some(End::Refused),
            Step::GiveUp { left } => {
                assert_eq!(left, 0, "64 tries are enough for a few workers");
                return Some(End::GaveUp);
            }
        }
        None
    }
}

fn run(jobs: Vec<Vec<usize>>, tries: u32, schedule: &[usize]) -> (Store, Vec<(Vec<usize>, End)>) {
    let mut store = Store::default();
    let mut workers: Vec<_> = jobs
        .into_iter()
        .map(|keys| Worker::new(keys, tries))
        .collect();
    let mut ends = Vec::new();
    let mut turns = schedule.iter().cycle();
    let mut round_robin = 0;
    while !workers.is_empty() {
        // The schedule and then one in turn, so that everybody comes to an end.
        let turn = turns.next().copied().unwrap_or(0);
        for index in [turn, round_robin] {
            if workers.is_empty() {
                break;
            }
            let index = index % workers.len();
            if let Some(end) = workers[index].step(&mut store) {
                ends.push((workers.swap_remove(index).keys, end));
            }
        }
        round_robin += 1;
    }
    (store, ends)
}

#[test]
fn a_lone_worker_charges_up_to_the_limit() {
    let (store, ends) = run(vec![vec![0, 1]], 1, &[0]);
    assert_eq!(ends, [(vec![0, 1], End::Charged)]);
    assert_eq!(store.read(0).0, 1);
    assert_eq!(store.read(1).0, 1);
}

#[test]
fn no_values_are_decided_at_once() {
    let (_, ends) = run(vec![vec![]], 1, &[0]);
    assert_eq!(ends, [(vec![], End::Charged)]);
}

#[test]
fn a_lost_second_write_takes_the_first_one_back() {
    let mut store = Store::default();
    let mut worker = Worker::new(vec![0, 1], 1);
    while !matches!(worker.transaction.step(), Step::Write { key: 1, .. }) {
        assert_eq!(worker.step(&mut store), None);
    }
    assert_eq!(store.read(0).0, 1);
    store.write(1, 3, Cas::Absent);
    let end = loop {
        if let Some(end) = worker.step(&mut store) {
            break end;
        }
    };
    assert_eq!(end, End::GaveUp);
    assert_eq!((store.read(0).0, store.read(1).0), (0, 3));
}

#[test]
fn a_lost_race_starts_over_as_often_as_allowed() {
    for tries in 1..4 {
        let mut store = Store::default();
        let mut worker = Worker::new(vec![0], tries);
        let mut lost = 0;
        let end = loop {
            if let Step::Write { .. } = worker.transaction.step() {
                let (value, cas) = store.read(0);
                store.write(0, value, cas);
                lost += 1;
            }
            if let Some(end) = worker.step(&mut store) {
                break end;
            }
        };
        assert_eq!((end, lost), (End::GaveUp, tries));
    }
}

proptest! {
    #[test]
    fn charges_are_exact_and_all_or_none(
        jobs in prop::collection::vec(
            prop::sample::subsequence(vec![0_usize, 1, 2], 1..=3), 1..16),
        schedule in prop::collection::vec(0_usize..16, 1..200),
    ) {
        let (store, ends) = run(jobs.clone(), 100, &schedule);
        prop_assert_eq!(ends.len(), jobs.len());
        for key in 0..3 {
            let charged = ends
                .iter()
                .filter(|(keys, end)| *end == End::Charged && keys.contains(&key))
                .count();
            // What was taken back left no trace, what was charged did.
            prop_assert_eq!(store.read(key).0 as usize, charged);
            prop_assert!(charged <= LIMIT as usize);
        }
        prop_assert!(ends.iter().all(|(_, end)| *end != End::GaveUp));
    }

    #[test]
    fn on_one_value_nobody_is_refused_who_could_be_served(
        workers in 1_usize..16,
        schedule in prop::collection::vec(0_usize..16, 1..200),
    ) {
        let (_, ends) = run(vec![vec![0]; workers], 100, &schedule);
        let charged = ends.iter().filter(|(_, end)| *end == End::Charged).count();
        prop_assert_eq!(charged, workers.min(LIMIT as usize));
    }

    #[test]
    fn giving_up_leaves_nothing_behind(
        jobs in prop::collection::vec(
            prop::sample::subsequence(vec![0_usize, 1, 2], 2..=3), 2..16),
        schedule in prop::collection::vec(0_usize..16, 1..200),
    ) {
        let (store, ends) = run(jobs, 1, &schedule);
        for key in 0..3 {
            let charged = ends
                .iter()
                .filter(|(keys, end)| *end == End::Charged && keys.contains(&key))
                .count();
            prop_assert_eq!(store.read(key).0 as usize, charged);
        }
    }
}
