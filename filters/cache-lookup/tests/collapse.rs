//! Who asks the origin, who waits, and who is told.

mod shared_data;

use std::collections::BTreeSet;

use cache_lookup::collapse::{
    Caller, Lease, Message, Outcome, Turn, Waiters, Wake, forget, join, settle,
};
use cache_lookup::store::op::{Answer, Op};
use cache_lookup::store::{Layout, Settings};
use filter_core::hash::{Hash, Seed};
use proptest::prelude::*;
use shared_data::SharedData;

const PATIENCE: u64 = 5000;

fn layout() -> Layout {
    Layout::new(&Settings {
        max_bytes: 1 << 26,
        max_object_bytes: 1 << 20,
        worker_bytes: 0,
    })
}

fn hash(key: &str) -> Hash {
    Seed::from_bytes([1; 16]).hash(key.as_bytes())
}

fn caller(queue: u32, token: u64, now: u64) -> Caller {
    Caller {
        queue,
        token,
        now,
        patience: PATIENCE,
    }
}

struct Workers {
    layout: Layout,
    shared: SharedData,
    token: u64,
}

impl Workers {
    fn new() -> Self {
        Self {
            layout: layout(),
            shared: SharedData::default(),
            token: 0,
        }
    }

    fn join(&mut self, key: &str, queue: u32, now: u64) -> Turn {
        self.token += 1;
        let op = join(&self.layout, hash(key), caller(queue, self.token, now));
        self.shared.run(op)
    }

    fn lead(&mut self, key: &str, now: u64) -> Lease {
        match self.join(key, 1, now) {
            Turn::Lead(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, lease: Lease, outcome: Outcome, now: u64) -> Vec<u32> {
        self.shared.run(settle(&self.layout, lease, outcome, now))
    }
}

#[test]
fn of_a_thousand_that_miss_at_once_one_asks_the_origin_and_all_workers_are_told() {
    let mut workers = Workers::new();
    let lease = workers.lead("k", 0);
    for number in 0..999 {
        assert_eq!(workers.join("k", number % 4, 10), Turn::Wait(PATIENCE));
    }
    let told: BTreeSet<_> = workers
        .settle(lease, Outcome::Stored, 20)
        .into_iter()
        .collect();
    assert_eq!(told, BTreeSet::from([0, 1, 2, 3]));
    assert!(matches!(workers.join("k", 0, 30), Turn::Lead(_)));
}

#[test]
fn another_key_has_a_leader_of_its_own() {
    let mut workers = Workers::new();
    workers.lead("k", 0);
    workers.lead("other", 0);
}

#[test]
fn after_a_leader_that_failed_the_next_one_leads() {
    let mut workers = Workers::new();
    let lease = workers.lead("k", 0);
    workers.join("k", 2, 1);
    assert_eq!(workers.settle(lease, Outcome::Failed, 2), [2]);
    assert_eq!(
        Message::of(hash("k"), Outcome::Failed).wake,
        Wake::LookAgain
    );
    let second = workers.lead("k", 3);
    assert_eq!(workers.join("k", 2, 3), Turn::Wait(3 + PATIENCE));
    // The first one's end, told late, is not the second one's.
    assert!(workers.settle(lease, Outcome::Failed, 4).is_empty());
    assert_eq!(workers.settle(second, Outcome::Stored, 5), [2]);
}

#[test]
fn a_lease_whose_worker_was_lost_ends_by_itself() {
    let mut workers = Workers::new();
    let lost = workers.lead("k", 0);
    assert_eq!(workers.join("k", 2, PATIENCE - 1), Turn::Wait(PATIENCE));
    let lease = workers.lead("k", PATIENCE);
    assert!(
        workers
            .settle(lost, Outcome::Stored, PATIENCE + 1)
            .is_empty()
    );
    assert_eq!(workers.join("k", 2, PATIENCE + 1), Turn::Wait(2 * PATIENCE));
    workers.settle(lease, Outcome::Stored, PATIENCE + 2);
}

#[test]
fn what_is_not_to_be_stored_is_remembered_for_a_while_and_nobody_waits() {
    let mut workers = Workers::new();
    let lease = workers.lead("k", 0);
    workers.join("k", 2, 1);
    let outcome = Outcome::Uncacheable(1000);
    assert_eq!(workers.settle(lease, outcome, 2), [2]);
    assert_eq!(Message::of(hash("k"), outcome).wake, Wake::Go);
    assert_eq!(workers.join("k", 1, 999), Turn::Go);
    workers.lead("k", 1000);
    let lease = workers.lead("other", 0);
    workers.settle(lease, Outcome::Uncacheable(2000), 3);
    workers.shared.run(forget(&layout(), hash("other"), 4));
    workers.lead("other", 5);
}

#[test]
fn leases_take_bounded_room_whatever_is_asked_for() {
    let mut workers = Workers::new();
    let mut alone = 0;
    for number in 0..40_000 {
        alone += u32::from(workers.join(&number.to_string(), 1, 0) == Turn::Go);
    }
    assert!(workers.shared.keys() <= 1024);
    assert!(workers.shared.bytes() < 1024 * 1024);
    assert!(alone > 20_000);
    for key in workers.shared.key_list() {
        workers.shared.put(&key, vec![0xff; 100]);
    }
    workers.lead("k", 0);
}

#[test]
fn a_message_reads_back_as_it_was_written() {
    for outcome in [Outcome::Stored, Outcome::Uncacheable(5), Outcome::Failed] {
        let message = Message::of(hash("k"), outcome);
        assert_eq!(Message::decode(&message.encode()), Some(message));
    }
    assert_eq!(Message::decode(b"garbage"), None);
    assert_eq!(Message::decode(&[0; 18]), None);
}

#[test]
fn waiting_requests_are_woken_by_key_in_order_and_each_once() {
    let mut waiters = Waiters::default();
    waiters.add(hash("k"), 5, 100);
    waiters.add(hash("k"), 3, 50);
    waiters.add(hash("k"), 4, 100);
    waiters.add(hash("other"), 6, 70);
    waiters.remove(4);
    waiters.remove(99);
    assert!(waiters.take_overdue(49).is_empty());
    assert_eq!(waiters.take_overdue(70), [3, 6]);
    waiters.add(hash("k"), 9, 100);
    assert_eq!(waiters.take(hash("k")), [5, 9]);
    assert!(waiters.take(hash("k")).is_empty());
    assert!(waiters.is_empty());
}

enum Work<'a> {
    Idle,
    Join(Op<'a, Turn>),
    Settle(Op<'a, Vec<u32>>),
}

proptest! {
    #[test]
    fn in_no_order_of_steps_do_two_lead_or_is_one_who_waits_forgotten(
        turns in proptest::collection::vec((0..4_usize, any::<bool>()), 1..200),
    ) {
        let layout = layout();
        let mut shared = SharedData::default();
        let mut works: Vec<_> = (0..4).map(|_| (Work::Idle, None::<Answer>, None::<Lease>)).collect();
        // Which workers wait, and which have a message: they read it once they have nothing else to do.
        let mut waits = [false; 4];
        let mut mail = [false; 4];
        let mut token = 0;
        for (at, failed) in turns {
            let (work, answer, lease) = &mut works[at];
            let queue = at as u32;
            match std::mem::replace(work, Work::Idle) {
                Work::Idle => {
                    waits[at] &= !std::mem::take(&mut mail[at]);
                    if let Some(lease) = lease.take() {
                        let outcome = if failed { Outcome::Failed } else { Outcome::Stored };
                        *work = Work::Settle(settle(&layout, lease, outcome, 1));
                    } else if !waits[at] {
                        token += 1;
                        *work = Work::Join(join(&layout, hash("k"), caller(queue, token, 1)));
                    }
                }
                Work::Join(mut op) => match shared.step(&mut op, answer) {
                    None => *work = Work::Join(op),
                    Some(Turn::Lead(led)) => *lease = Some(led),
                    Some(Turn::Wait(_)) => waits[at] = true,
                    Some(Turn::Go) => prop_assert!(false, "nobody said that it isn't stored"),
                },
                Work::Settle(mut op) => match shared.step(&mut op, answer) {
                    None => *work = Work::Settle(op),
                    Some(queues) => queues.iter().for_each(|queue| mail[*queue as usize] = true),
                },
            }
            let leading = works.iter().filter(|(_, _, lease)| lease.is_some()).count();
            prop_assert!(leading <= 1);
        }
        // Once all have done what they were at, one who waits has somebody to wait for.
        for at in 0..4 {
            loop {
                let (work, answer, lease) = &mut works[at];
                match std::mem::replace(work, Work::Idle) {
                    Work::Idle => break,
                    Work::Join(mut op) => match shared.step(&mut op, answer) {
                        None => *work = Work::Join(op),
                        Some(Turn::Lead(led)) => *lease = Some(led),
                        Some(_) => waits[at] = true,
                    },
                    Work::Settle(mut op) => match shared.step(&mut op, answer) {
                        None => *work = Work::Settle(op),
                        Some(queues) => queues.iter().for_each(|queue| mail[*queue as usize] = true),
                    },
                }
            }
        }
        for (waits, told) in waits.iter_mut().zip(mail) {
            *waits &= !told;
        }
        if waits.contains(&true) {
            let (_, _, lease) = works.iter_mut().find(|(_, _, lease)| lease.is_some()).unwrap();
            let told = shared.run(settle(&layout, lease.take().unwrap(), Outcome::Stored, 1));
            for (queue, waits) in (0..).zip(waits) {
                prop_assert!(!waits || told.contains(&queue));
            }
        }
    }
}
