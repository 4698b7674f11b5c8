//! Several workers on one table, their steps interleaved in every way that proptest comes up with.
//!
//! Each worker runs the transaction of `filter-core` over the real claims, as the shell does. Time
//! goes on between the steps.

mod common;

use std::collections::BTreeMap;

use common::{is_allowed, policy};
use filter_core::headers::Headers;
use filter_core::request::Request;
use filter_core::table::Set;
use filter_core::time::{Span, Timestamp};
use filter_core::transaction::{Cas, Step, Transaction};
use proptest::prelude::*;
use rate_limit::claim::Claim;
use rate_limit::decision::Decision;
use rate_limit::leases::Leases;
use rate_limit::policy::Policy;

const MILLIS: u64 = 1_000_000;

/// The gateway's shared data and its clock.
struct World {
    values: BTreeMap<u32, (Vec<u8>, u32)>,
    version: u32,
    now: Timestamp,
    /// What each worker has taken ahead.
    leases: Vec<Leases>,
    /// Requests served by that.
    ahead: usize,
}

impl World {
    fn new() -> Self {
        Self {
            values: BTreeMap::new(),
            version: 0,
            now: Timestamp::ZERO.after(Span::from_secs(1_000_000)),
            leases: (0..8).map(|_| Leases::default()).collect(),
            ahead: 0,
        }
    }

    fn write(&mut self, key: u32, value: Vec<u8>, cas: Cas) -> bool {
        let version = match self.values.get(&key) {
            Some((_, version)) => Cas::Version(*version),
            None => Cas::Absent,
        };
        if version != cas {
            return false;
        }
        self.version += 1;
        self.values.insert(key, (value, self.version));
        true
    }
}

/// A worker with a request under way.
struct Worker<'p> {
    /// Which of the workers it is.
    number: usize,
    user: u32,
    claim: Claim<'p>,
    transaction: Transaction,
    sets: Vec<Set>,
    decided: Option<(Decision, Timestamp)>,
}

/// How a request ended: served at that time, or not.
type End = (u32, Option<u64>);

impl<'p> Worker<'p> {
    fn new(policy: &'p Policy, user: u32, tries: u32, number: usize) -> Self {
        let name = user.to_string();
        let block = Headers::encode([(&b"x-user"[..], name.as_bytes())]);
        let claim = policy.claim(&Request {
            headers: Headers::decode(&block),
            ..Request::default()
        });
        let keys = claim.sets().len();
        Self {
            number,
            user,
            transaction: Transaction::new(keys, tries),
            sets: vec![Set::read(None, policy.geometry()); keys],
            claim,
            decided: None,
        }
    }

    fn step(&mut self, policy: &Policy, world: &mut World) -> Option<End> {
        match self.transaction.step() {
            Step::Read(at) => {
                let stored = world.values.get(&self.claim.sets()[at]).cloned();
                let (value, cas) = match stored {
                    Some((value, version)) => (Some(value), Cas::Version(version)),
                    None => (None, Cas::Absent),
                };
                self.sets[at] = Set::read(value, policy.geometry());
                self.transaction.read(cas);
            }
            Step::Decide => {
                let decision = *self.claim.decide(world.now, &mut self.sets);
                let changed = self.sets.iter().enumerate();
                let changed = changed.filter(|(_, set)| set.is_changed());
                self.transaction.decided(changed.map(|(at, _)| at));
                self.decided = Some((decision, world.now));
            }
            Step::Write { key: at, cas } => {
                let value = self.sets[at].bytes().to_vec();
                let won = world.write(self.claim.sets()[at], value, cas);
                self.transaction.wrote(won);
            }
            Step::TakeBack(at) => {
                let (decision, then) = self.decided.as_ref().unwrap();
                self.claim
                    .take_back(decision, at, &mut self.sets[at], *then, world.now);
                self.transaction.took_back();
            }
            Step::Commit => {
                let (decision, then) = self.decided.as_mut().unwrap();
                let served = is_allowed(decision).then_some(then.as_nanos());
                world.leases[self.number].keep(std::mem::take(&mut decision.leases));
                return Some((self.user, served));
            }
            Step::GiveUp { left } => {
                assert_eq!(left, 0);
                return Some((self.user, None));
            }
        }
        None
    }
}

/// Runs requests of users on `workers` workers; the schedule says who steps next and how much time
/// goes by.
fn run(
    policy: &Policy,
    users: &[u32],
    workers: usize,
    tries: u32,
    schedule: &[(usize, u64)],
) -> (World, Vec<End>) {
    let mut world = World::new();
    let mut waiting = users.iter();
    let mut running: Vec<Worker<'_>> = Vec::new();
    let mut ends = Vec::new();
    for (turn, gap) in schedule.iter().cycle() {
        while running.len() < workers {
            let Some(user) = waiting.next() else { break };
            let is_idle = |number: &usize| running.iter().all(|worker| worker.number != *number);
            let number = (0..workers).find(is_idle).unwrap();
            let mut worker = Worker::new(policy, *user, tries, number);
            if worker.claim.is_leased()
                && worker
                    .claim
                    .decide_leased(&world.leases[number], world.now)
                    .is_some()
            {
                ends.push((*user, Some(world.now.as_nanos())));
                world.ahead += 1;
                // The next one comes at another time.
                break;
            }
            running.push(worker);
        }
        world.now = world.now.after(Span::from_nanos(*gap));
        if running.is_empty() {
            if waiting.len() == 0 {
                break;
            }
            continue;
        }
        let at = turn % running.len();
        if let Some(end) = running[at].step(policy, &mut world) {
            ends.push(end);
            running.swap_remove(at);
        }
    }
    (world, ends)
}

fn served_by_user(ends: &[End]) -> BTreeMap<u32, Vec<u64>> {
    let mut served: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (user, at) in ends {
        served.entry(*user).or_default().extend(at);
    }
    served.values_mut().for_each(|times| times.sort_unstable());
    served
}

/// Whether in any stretch of time no more was served than burst + stretch / interval.
fn is_within(served: &[u64], burst: u64, interval: u64) -> bool {
    served.iter().enumerate().all(|(first, from)| {
        served[first..]
            .iter()
            .zip(1_u64..)
            .all(|(to, count)| count <= burst + (to - from) / interval)
    })
}

fn turns() -> impl Strategy<Value = Vec<(usize, u64)>> {
    let gap = prop_oneof![8 => Just(0), 1 => 0..MILLIS, 1 => 0..300 * MILLIS];
    // Every worker has its turn somewhere, so that all come to an end.
    prop::collection::vec((0_usize..8, gap), 20..200).prop_map(|mut turns| {
        turns.extend((0..8).map(|turn| (turn, 0)));
        turns
    })
}

const ONE_LIMIT: &str = r#"{"rules": [{"name": "user", "key": [{"header": "x-user"}],
    "limits": [{"requests": 5, "per": "2s"}]}]}"#;

/// Two rules in two sets, so that a second write can lose.
const TWO_RULES: &str = r#"{"rules": [
    {"name": "all", "limits": [{"requests": 12, "per": "2s"}]},
    {"name": "user", "key": [{"header": "x-user"}], "limits": [{"requests": 5, "per": "2s"}]}]}"#;

/// The same in a table that is too small for three users.
const CROWDED: &str = r#"{"table": {"sets": 2, "ways": 2}, "rules": [
    {"name": "all", "limits": [{"requests": 12, "per": "2s"}]},
    {"name": "user", "key": [{"header": "x-user"}], "limits": [{"requests": 5, "per": "2s"}]}]}"#;

/// The two rules by windows of two seconds, in a table of few or many ways.
fn windows(sliding: bool, ways: u32) -> String {
    let algorithm = if sliding {
        "sliding_window"
    } else {
        "fixed_window"
    };
    let limit = |requests| {
        format!(
            r#""limits": [{{"requests": {requests}, "per": "2s", "algorithm": "{algorithm}"}}]"#
        )
    };
    format!(
        r#"{{"table": {{"sets": 2, "ways": {ways}}}, "rules": [{{"name": "all", {}}},
            {{"name": "user", "key": [{{"header": "x-user"}}], {}}}]}}"#,
        limit(12),
        limit(5)
    )
}

/// Whether each was within the limit when it was served, by the plain definition of the windows.
fn fits_windows(served: &[u64], requests: u64, sliding: bool) -> bool {
    const LENGTH: u64 = 2_000 * MILLIS;
    served.iter().enumerate().all(|(count, at)| {
        let before = &served[..=count];
        let used_in =
            |number: u64| before.iter().filter(|at| *at / LENGTH == number).count() as u64;
        let number = at / LENGTH;
        let covered = LENGTH - at % LENGTH;
        let older = if sliding {
            used_in(number - 1) * covered
        } else {
            0
        };
        older + used_in(number) * LENGTH <= requests * LENGTH
    })
}

proptest! {
    #[test]
    fn one_bucket_is_exact(
        requests in 1_usize..40,
        workers in 1_usize..8,
        turns in prop::collection::vec(0_usize..8, 20..200),
    ) {
        let policy = policy(ONE_LIMIT);
        // Time stands still: exactly the burst is served, whatever the order of steps.
        let mut schedule: Vec<_> = turns.into_iter().map(|turn| (turn, 0)).collect();
        schedule.extend((0..8).map(|turn| (turn, 0)));
        let (_, ends) = run(&policy, &vec![7; requests], workers, 1000, &schedule);
        let served = ends.iter().filter(|(_, at)| at.is_some()).count();
        prop_assert_eq!(ends.len(), requests);
        prop_assert_eq!(served, requests.min(5));
    }

    #[test]
    fn no_interleaving_serves_more_than_burst_and_rate(
        users in prop::collection::vec(0_u32..3, 1..60),
        workers in 1_usize..8,
        schedule in turns(),
        tries in 1_u32..4,
    ) {
        for json in [ONE_LIMIT, TWO_RULES] {
            let policy = policy(json);
            let (_, ends) = run(&policy, &users, workers, tries, &schedule);
            let by_user = served_by_user(&ends);
            for served in by_user.values() {
                prop_assert!(is_within(served, 5, 400 * MILLIS), "{:?}", served);
            }
            if json == TWO_RULES {
                let mut all: Vec<_> = by_user.into_values().flatten().collect();
                all.sort_unstable();
                prop_assert!(is_within(&all, 12, 166_666_667), "{:?}", all);
            }
        }
    }

    #[test]
    fn not_even_in_a_crowded_table_whose_charges_are_taken_back(
        users in prop::collection::vec(0_u32..4, 1..60),
        workers in 2_usize..8,
        schedule in turns(),
        tries in 1_u32..4,
    ) {
        let policy = policy(CROWDED);
        let (_, ends) = run(&policy, &users, workers, tries, &schedule);
        let by_user = served_by_user(&ends);
        for served in by_user.values() {
            prop_assert!(is_within(served, 5, 400 * MILLIS), "{:?}", served);
        }
        let mut all: Vec<_> = by_user.into_values().flatten().collect();
        all.sort_unstable();
        prop_assert!(is_within(&all, 12, 166_666_667), "{:?}", all);
    }

    #[test]
    fn no_interleaving_serves_more_than_a_window_holds(
        users in prop::collection::vec(0_u32..3, 1..60),
        workers in 1_usize..8,
        schedule in turns(),
        tries in 1_u32..4,
        crowded in any::<bool>(),
    ) {
        for sliding in [false, true] {
            let policy = policy(&windows(sliding, if crowded { 2 } else { 16 }));
            let (_, ends) = run(&policy, &users, workers, tries, &schedule);
            let by_user = served_by_user(&ends);
            let mut all: Vec<_> = by_user.values().flatten().copied().collect();
            all.sort_unstable();
            for (served, requests) in by_user.values().map(|served| (served, 5)).chain([(&all, 12)]) {
                prop_assert!(fits_windows(served, requests, sliding), "{:?}", served);
            }
        }
    }

    #[test]
    fn what_is_taken_ahead_never_serves_more(
        users in prop::collection::vec(0_u32..3, 1..300),
        workers in 1_usize..8,
        schedule in turns(),
        tries in 1_u32..4,
        lease in 2_u32..20,
        ways in prop_oneof![Just(2_u32), Just(16)],
        burst in 2_u64..40,
    ) {
        let policy = policy(&format!(
            r#"{{"table": {{"sets": 2, "ways": {ways}}}, "rules": [
                {{"name": "all", "lease": {lease}, "limits": [
                    {{"requests": 60, "per": "6s", "burst": {burst}}}]}},
                {{"name": "user", "key": [{{"header": "x-user"}}], "lease": {lease}, "limits": [
                    {{"requests": 40, "per": "8s", "burst": 16}}, {{"requests": 50, "per": "20s"}}]}}]}}"#
        ));
        let (_, ends) = run(&policy, &users, workers, tries, &schedule);
        let by_user = served_by_user(&ends);
        for served in by_user.values() {
            prop_assert!(is_within(served, 16, 200 * MILLIS), "{:?}", served);
            prop_assert!(is_within(served, 50, 400 * MILLIS), "{:?}", served);
        }
        let mut all: Vec<_> = by_user.into_values().flatten().collect();
        all.sort_unstable();
        prop_assert!(is_within(&all, burst, 100 * MILLIS), "{:?}", all);
    }

    #[test]
    fn one_window_is_exact(
        requests in 1_usize..40,
        workers in 1_usize..8,
        turns in prop::collection::vec(0_usize..8, 20..200),
        sliding in any::<bool>(),
    ) {
        let policy = policy(&windows(sliding, 16));
        let mut schedule: Vec<_> = turns.into_iter().map(|turn| (turn, 0)).collect();
        schedule.extend((0..8).map(|turn| (turn, 0)));
        let (_, ends) = run(&policy, &vec![7; requests], workers, 1000, &schedule);
        let served = ends.iter().filter(|(_, at)| at.is_some()).count();
        prop_assert_eq!(served, requests.min(5));
    }

    #[test]
    fn what_is_taken_back_is_there_again(
        users in prop::collection::vec(0_u32..3, 1..30),
        workers in 2_usize..8,
        turns in prop::collection::vec(0_usize..8, 20..200),
    ) {
        let policy = policy(TWO_RULES);
        let mut schedule: Vec<_> = turns.into_iter().map(|turn| (turn, 0)).collect();
        schedule.extend((0..8).map(|turn| (turn, 0)));
        let (mut world, ends) = run(&policy, &users, workers, 2, &schedule);
        let served = ends.iter().filter(|(_, at)| at.is_some()).count();
        // Another twelve requests of twelve other users fill up what is left, no more and no less.
        let others: Vec<_> = (100..112).collect();
        let mut rest = 0;
        for user in others {
            let mut worker = Worker::new(&policy, user, 1, 0);
            let end = loop {
                if let Some(end) = worker.step(&policy, &mut world) {
                    break end;
                }
            };
            rest += usize::from(end.1.is_some());
        }
        prop_assert_eq!(served + rest, 12);
    }
}

/// A client that asks for a tenth of what it may: its bucket is full all the time, and yet what was
/// taken ahead can be used.
#[test]
fn a_steady_client_needs_the_table_seldom() {
    let policy = policy(
        r#"{"rules": [{"name": "a", "lease": 64, "limits": [{"requests": 1000, "per": "1s"}]}]}"#,
    );
    let schedule = [(0, 10 * MILLIS)];
    let (world, ends) = run(&policy, &vec![1; 3_000], 1, 1, &schedule);
    assert!(ends.iter().all(|(_, at)| at.is_some()));
    assert!(world.ahead >= 2_500, "{} without the table", world.ahead);
}

/// Many requests of one client on one worker, faster than they come back: the burst is served but for the
/// slack however it is taken, and half of it without a look at the table.
#[test]
fn a_hot_client_needs_the_table_less_often_and_gets_all_but_the_slack() {
    let policy = policy(
        r#"{"rules": [{"name": "a", "lease": 64, "limits": [{"requests": 1000, "per": "10s"}]}]}"#,
    );
    let schedule = [(0, 100_000)];
    let (world, ends) = run(&policy, &vec![1; 3_000], 1, 1, &schedule);
    let served: Vec<u64> = ends.iter().filter_map(|(_, at)| *at).collect();
    assert!(is_within(&served, 1000, 10 * MILLIS));
    let span = served.last().unwrap() - served.first().unwrap();
    let ideal = 1000 + span / (10 * MILLIS);
    // An eighth of the burst is kept back.
    assert!(
        served.len() as u64 >= ideal - 126,
        "{} of {ideal}",
        served.len()
    );
    assert!(world.ahead >= 350, "{} without the table", world.ahead);
}

/// Sends a request to one of the workers; returns whether it was served.
fn send(policy: &Policy, world: &mut World, number: usize) -> bool {
    let mut worker = Worker::new(policy, 1, 1, number);
    let leases = &world.leases[number];
    if worker.claim.is_leased() && worker.claim.decide_leased(leases, world.now).is_some() {
        return true;
    }
    loop {
        if let Some((_, served)) = worker.step(policy, world) {
            return served.is_some();
        }
    }
}

/// The worst that can be made of it: some take units ahead and wait, while the bucket fills again,
/// and then everything is asked for at once.
#[test]
fn units_taken_ahead_and_a_full_bucket_together_are_no_more_than_the_burst() {
    let policy = policy(
        r#"{"rules": [{"name": "a", "lease": 16, "limits": [{"requests": 10, "per": "1s", "burst": 24}]}]}"#,
    );
    for taken in [1, 2, 3, 5, 8, 13, 19] {
        for wait in 0..50 {
            let mut world = World::new();
            let mut served = Vec::new();
            for round in 0..3 {
                let workers = if round == 0 {
                    vec![0, 2]
                } else {
                    vec![1, 0, 2]
                };
                for number in workers {
                    let most = if round == 0 { taken } else { 100 };
                    for _ in 0..most {
                        if send(&policy, &mut world, number) {
                            served.push(world.now.as_nanos());
                        }
                    }
                }
                world.now = world.now.after(Span::from_nanos(wait * 50 * MILLIS));
            }
            assert!(
                is_within(&served, 24, 100 * MILLIS),
                "{taken} {wait} {served:?}"
            );
        }
    }
}
