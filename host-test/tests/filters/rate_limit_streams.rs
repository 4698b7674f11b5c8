//! rate-limit over streams that overlap: windows and places that workers race for, held requests,
//! and bodies that come in pieces.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use host_test::clock::Clock;
use host_test::headers::Headers;
use host_test::plugin::Plugin;
use host_test::shared::Shared;

use host_test::worker::{Action, Environment, StreamId, StreamInfo, Worker};

use crate::module::plugin;

/// A gateway of several workers, each to be started where it is needed.
struct Gateway {
    plugin: Arc<Plugin>,
    shared: Arc<Shared>,
    clock: Clock,
}

impl Gateway {
    /// One rule named `a`, made of these fields.
    fn new(rule: &str) -> Self {
        let config = format!(r#"{{"rules":[{{"name":"a",{rule}}}]}}"#);
        Self {
            plugin: Arc::new(plugin("rate_limit").config_json(&config)),
            shared: Arc::new(Shared::default()),
            clock: Clock::virtual_clock(),
        }
    }

    fn worker(&self, index: u64) -> Worker {
        let environment = Environment {
            shared: self.shared.clone(),
            clock: self.clock.clone(),
            log: Arc::new(|line| panic!("logged: {}", line.message)),
            log_level: log::LevelFilter::Warn,
            seed: 1,
            observe: Default::default(),
        };
        let plugins = [self.plugin.clone()];
        Worker::start(environment, &plugins, index).expect("starts")
    }

    /// Runs the same on four threads, each with a worker of its own, and sums up what they return.
    fn race(&self, run: impl Fn(&mut Worker) -> usize + Sync) -> usize {
        let run = &run;
        thread::scope(|scope| {
            let threads: Vec<_> = (1..=4)
                .map(|index| scope.spawn(move || run(&mut self.worker(index))))
                .collect();
            let counts = threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            counts.sum()
        })
    }
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().copied().collect()
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Passed,
    Answered,
    Held,
}

fn request(worker: &mut Worker) -> (StreamId, Fate) {
    let stream = worker.open(&[0], StreamInfo::default());
    let request = headers(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
    worker.request_headers(stream, request, true);
    (stream, fate(worker))
}

fn fate(worker: &mut Worker) -> Fate {
    let actions = worker.take_actions();
    let any = |is: fn(&Action) -> bool| actions.iter().any(is);
    if any(|action| matches!(action, Action::LocalReply { .. })) {
        Fate::Answered
    } else if any(|action| matches!(action, Action::RequestHeaders { .. })) {
        Fate::Passed
    } else {
        Fate::Held
    }
}

/// Sends a request, answers it if it passes, and ends it; returns whether it passed.
fn serve(worker: &mut Worker) -> bool {
    let (stream, fate) = request(worker);
    if fate == Fate::Passed {
        worker.response_headers(stream, headers(&[(":status", "200")]), true);
    }
    worker.close(stream);
    worker.take_actions();
    fate == Fate::Passed
}

#[test]
fn four_workers_that_race_for_a_window_admit_exactly_what_it_holds() {
    for algorithm in ["fixed_window", "sliding_window"] {
        let gateway = Gateway::new(&format!(
            r#""limits":[{{"requests":1000,"per":"1h","algorithm":"{algorithm}"}}]"#
        ));
        let admitted = gateway.race(|worker| (0..2_000).filter(|_| serve(worker)).count());
        assert_eq!(admitted, 1_000, "{algorithm}");
    }
}

#[test]
fn four_workers_never_have_more_in_flight_than_there_are_places_and_lose_none() {
    const PLACES: usize = 3;
    let gateway = Gateway::new(r#""concurrent":{"requests":3}"#);
    let running = AtomicUsize::new(0);
    let admitted = gateway.race(|worker| {
        let mut admitted = 0;
        for _ in 0..3_000 {
            let (stream, fate) = request(worker);
            if fate == Fate::Passed {
                admitted += 1;
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                assert!(now <= PLACES, "{now} at the same time");
                thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
            }
            worker.close(stream);
        }
        admitted
    });
    assert!(admitted > PLACES);
    // All places are free again: so many pass, and no more.
    let mut worker = gateway.worker(9);
    let fates: Vec<_> = (0..=PLACES).map(|_| request(&mut worker).1).collect();
    let passed = fates.iter().filter(|fate| **fate == Fate::Passed).count();
    assert_eq!(passed, PLACES, "{fates:?}");
}

#[test]
fn workers_that_take_units_ahead_admit_no_more_and_little_less() {
    const LEASE: usize = 16;
    let gateway = Gateway::new(r#""lease":16,"limits":[{"requests":1000,"per":"1h"}]"#);
    let admitted = gateway.race(|worker| (0..2_000).filter(|_| serve(worker)).count());
    assert!(admitted <= 1_000, "{admitted}");
    assert!(admitted >= 1_000 - 1_000 / 8 - 3 * LEASE, "{admitted}");
}

#[test]
fn a_held_request_goes_on_when_its_units_have_come_back() {
    let gateway =
        Gateway::new(r#""delay_up_to":"1s","limits":[{"requests":10,"per":"1s","burst":1}]"#);
    let mut worker = gateway.worker(1);
    assert!(serve(&mut worker));
    let (first, fate_of_first) = request(&mut worker);
    let (gone, fate_of_gone) = request(&mut worker);
    let (last, fate_of_last) = request(&mut worker);
    assert_eq!(
        [fate_of_first, fate_of_gone, fate_of_last],
        [Fate::Held, Fate::Held, Fate::Held]
    );
    // The client of the second one goes away while it is held.
    worker.close(gone);
    worker.take_actions();
    let mut passed = Vec::new();
    for tenth in 1..=3 {
        for _ in 0..10 {
            gateway.clock.advance(Duration::from_millis(10));
            worker.run_timers();
        }
        let resumed = worker
            .take_actions()
            .into_iter()
            .filter_map(|action| match action {
                Action::RequestHeaders { stream, .. } => Some(stream),
                _ => None,
            });
        passed.extend(resumed.map(|stream| (tenth, stream)));
    }
    assert_eq!(passed, [(1, first), (3, last)]);
    for stream in [first, last] {
        worker.response_headers(stream, headers(&[(":status", "200")]), true);
        worker.close(stream);
    }
    assert_eq!(worker.take_violations(), [""; 0]);
}

#[test]
fn a_worker_holds_no_more_requests_than_it_may() {
    let mut gateway = Gateway::new(r#""limits":[{"requests":1,"per":"1s"}]"#);
    let config = r#"{"max_delayed":2,"rules":[{"name":"a","delay_up_to":"1m",
        "limits":[{"requests":1,"per":"1s"}]}]}"#;
    gateway.plugin = Arc::new(plugin("rate_limit").config_json(config));
    let mut worker = gateway.worker(1);
    let fates: Vec<_> = (0..5).map(|_| request(&mut worker).1).collect();
    let expected = [
        Fate::Passed,
        Fate::Held,
        Fate::Held,
        Fate::Answered,
        Fate::Answered,
    ];
    assert_eq!(fates, expected);
}

#[test]
fn tokens_are_found_wherever_the_body_is_cut() {
    let events =
        b"data: {\"a\": 1}\r\n\r\ndata: {\"usage\": {\"total_tokens\": 90}}\n\ndata: [DONE]\n\n";
    for cut in 0..=events.len() {
        let gateway = Gateway::new(
            r#""limits":[{"requests":100,"per":"1h"}],"charge":{"response":{"usage":["usage.total_tokens"]}}"#,
        );
        let mut worker = gateway.worker(1);
        let (stream, _) = request(&mut worker);
        worker.response_headers(stream, headers(&[(":status", "200")]), false);
        let (head, tail) = events.split_at(cut);
        worker.response_body(stream, head.to_vec().into(), false);
        worker.response_body(stream, tail.to_vec().into(), true);
        worker.close(stream);
        worker.take_actions();
        // Ten are left: each of these costs one.
        let left = (0..20).filter(|_| serve(&mut worker)).count();
        assert_eq!(left, 10, "cut after {cut}");
    }
}
