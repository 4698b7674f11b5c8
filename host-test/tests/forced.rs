//! What scenarios force and hold fast: faults, ticks, requests at the same time, budgets, snapshots,
//! bodies in other pieces.

#[path = "common/fixture.rs"]
mod fixture;
#[path = "common/frame.rs"]
mod frame;
#[path = "common/real_envoy.rs"]
mod real_envoy;

use std::path::PathBuf;

use host_test::scenario::report::{Format, Summary, render};
use host_test::scenario::{FileRun, HostKind, Hosts, Rechunk, RunOptions, Verdict};

use fixture::{Fixture, assert_passes, hosts};
use frame::wat;

const OURS: &str = "hosts: [wasmtime]\nbecause: it forces what no real host does\n";

/// Counts in shared data, once more for each race that was lost, and logs what it gets else; logs
/// its ticks; traps in `/trap`.
const COUNTS: &str = r#"
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (drop (call $tick_period (i32.const 60000))) (i32.const 1))
(func (export "proxy_on_tick") (param i32) say("tick"))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (local $status i32)
  (loop $again
    (i32.store8 (i32.const 48) (i32.const 48))
    (i32.store (i32.const 40) (i32.const -1))
    (if (i32.eqz (call $get_shared str("n") (i32.const 32) (i32.const 36) (i32.const 40)))
      (then (i32.store8 (i32.const 48) (i32.load8_u (i32.load (i32.const 32))))))
    (i32.store8 (i32.const 48) (i32.add (i32.load8_u (i32.const 48)) (i32.const 1)))
    (local.set $status
      (call $set_shared str("n") (i32.const 48) (i32.const 1) (i32.load (i32.const 40))))
    (br_if $again (i32.eq (local.get $status) (i32.const 8))))
  (if (local.get $status) (then (call $say_status (local.get $status))))
  (i32.const 0))
"#;

fn counts() -> Fixture {
    Fixture::new(&wat(COUNTS))
}

#[track_caller]
fn passes(run: &FileRun) {
    let runs = std::slice::from_ref(run);
    let summary = Summary::of(runs);
    assert_eq!(summary.failed, 0, "{}", render(Format::Pretty, runs));
}

/// What failed first: its causes, and what was shown.
#[track_caller]
fn failure(run: &FileRun, title: &str) -> (Vec<String>, String) {
    let case = run.cases.iter().find(|case| case.title == title);
    match &case.expect("the case is there").verdict {
        Verdict::Ran(failures, _) if !failures.is_empty() => {
            (failures[0].causes.clone(), failures[0].trace.clone())
        }
        other => panic!("{other:?}"),
    }
}

fn ours(fixture: &Fixture, rest: &str) -> FileRun {
    fixture.run(Hosts::One(HostKind::Wasmtime), &format!("{OURS}{rest}"))
}

#[test]
fn faults_happen_from_the_start_and_from_a_step_on() {
    let run = ours(
        &counts(),
        "faults: [{hostcall: set_shared_data, status: unimplemented, times: 1}]\n\
         steps:\n\
         - request: GET /\n\
         - expect_logs: [M]\n\
         - expect_shared_data: {count: 0}\n\
         - request: GET /\n\
         - expect_logs: none\n\
         - fault: {cas: lose, times: 3}\n\
         - request: GET /\n  expect: {status: 200, budget: {calls: {set_shared_data: 4}}}\n\
         - fault: [{hostcall: set_shared_data, status: internal_failure}, {trap: on_tick}]\n\
         - fault: none\n\
         - request: GET /\n  expect: {status: 200, budget: {calls: {proxy_set_shared_data: 1}}}\n\
         - expect_shared_data: {keys: {n: 3, other: absent}, count: 1, bytes: 2}\n\
         - fault: {trap: on_request_headers}\n\
         - request: GET /\n  expect: {status: 503, details: wasm_fail_stream}\n",
    );
    passes(&run);
}

#[test]
fn a_scenario_with_faults_is_skipped_on_envoy_with_its_reason() {
    let rest = format!("{OURS}faults: [{{cas: lose}}]\nsteps: [{{request: GET /}}]\n");
    let run = counts().run(Hosts::One(HostKind::Envoy), &rest);
    let verdict = &run.cases[0].verdict;
    assert!(
        matches!(verdict, Verdict::Skipped(because) if because == "it forces what no real host does"),
        "{verdict:?}"
    );
}

#[test]
fn ticks_run_on_the_thread_that_is_named_and_one_that_runs_nothing_fails() {
    let workers = "workers: 2\n";
    let steps = "steps:\n\
         - tick: 1\n\
         - expect_logs: [tick]\n\
         - tick: main\n\
         - tick: all\n\
         - expect_logs: [tick, tick, tick, tick]\n";
    passes(&ours(&counts(), &format!("{workers}{steps}")));
    let run = ours(
        &Fixture::new(include_str!("guests/passive.wat")),
        "steps: [{tick: all}]\n",
    );
    let (causes, _) = failure(&run, "wasmtime");
    assert_eq!(
        causes,
        ["no plugin has set a tick period there, so no tick ran"]
    );
}

#[test]
fn requests_at_the_same_time_race_and_none_is_lost() {
    for seed in 0..5 {
        let steps = format!(
            "workers: 3\nsteps:\n\
             - parallel:\n    seed: {seed}\n    times: 4\n    statuses: {{200: 8}}\n    requests:\n    \
             - request: {{path: '/{{n}}', headers: {{k: 'v{{n}}'}}}}\n      \
               expect: {{upstream: {{path: '/{{n}}', headers: {{k: 'v{{n}}'}}}}}}\n    \
             - request: GET /other\n\
             - expect_shared_data: {{keys: {{n: 8}}}}\n"
        );
        passes(&ours(&counts(), &steps));
    }
    let run = ours(
        &counts(),
        "steps:\n- parallel: {statuses: {429: 1}, requests: [{request: GET /, expect: 404}]}\n",
    );
    let (causes, _) = failure(&run, "wasmtime");
    assert_eq!(
        causes,
        [
            "answers with status 429: expected 1, got 0",
            "answers with status 200: expected 0, got 1"
        ]
    );
    let Verdict::Ran(failures, 2) = &run.cases[0].verdict else {
        panic!("{run:?}")
    };
    assert_eq!(failures[1].step, "step 1, request 1 of round 1: GET /");
}

#[test]
fn a_budget_that_is_exceeded_fails_and_envoy_does_not_look_at_it() {
    let run = ours(
        &counts(),
        "steps:\n- request: GET /\n  \
         expect: {budget: {hostcalls: {max: 1}, calls: {log: 0}, instructions: {max: 3}}}\n",
    );
    let (causes, _) = failure(&run, "wasmtime");
    assert_eq!(causes[0], "budget of hostcalls: expected 0 to 1, got 2");
    assert!(
        causes[1].starts_with("budget of instructions: expected 0 to 3, got "),
        "{causes:?}"
    );
    assert_eq!(causes.len(), 2);
    assert_passes(
        &counts(),
        "steps:\n- request: GET /\n  expect: {status: 200, budget: {hostcalls: 2, instructions: {min: 20, max: 60}}}\n",
    );
}

#[test]
fn a_failed_expectation_shows_the_hostcalls_up_to_the_difference() {
    let guest = format!(
        "{COUNTS}{}",
        r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
             (drop (call $add_header (i32.const 2) str("a") str("b"))) (i32.const 0))
           (func (export "proxy_on_log") (param i32) say("over"))"#
    );
    let fixture = Fixture::new(&wat(&guest));
    let shown = |expect: &str| {
        let steps = format!("steps:\n- request: GET /\n  expect: {expect}\n");
        failure(&ours(&fixture, &steps), "wasmtime").1
    };
    let of_upstream = shown("{upstream: {path: /other}}");
    assert!(
        of_upstream.contains("\nworker 0, guest, context 2: on_request_headers("),
        "{of_upstream}"
    );
    assert!(of_upstream.contains("  get_shared_data(key=\"n\") not_found\n"));
    assert!(
        !of_upstream.contains("on_response_headers"),
        "{of_upstream}"
    );
    let of_answer = shown("404");
    assert!(of_answer.contains("on_response_headers"), "{of_answer}");
    assert!(!of_answer.contains("on_log"), "{of_answer}");
    let of_the_end = shown("{filter_state: {a: b}}");
    assert!(of_the_end.contains("on_log"), "{of_the_end}");
}

fn snapshot(run: &FileRun, kind: &str) -> PathBuf {
    let folder = run.path.parent().expect("it lies in a folder");
    folder.join("snapshots/scenario").with_extension(kind)
}

#[test]
fn a_snapshot_is_written_when_asked_for_and_nothing_else_may_be_seen_then() {
    let fixture = counts();
    let held = "snapshot: true\ntrace: true\nsteps:\n- request: GET /\n- advance: 60s\n";
    let ours_alone = RunOptions::on(Hosts::One(HostKind::Wasmtime));
    let run = fixture.run_with(&ours_alone, held);
    let (causes, _) = failure(&run, "wasmtime");
    assert!(causes[0].starts_with("there is no "), "{causes:?}");
    assert!(
        causes[0].contains("; write it with `host-test run --update "),
        "{causes:?}"
    );
    assert!(!snapshot(&run, "snapshot").exists(), "never by itself");

    let update = RunOptions {
        update: true,
        ..ours_alone.clone()
    };
    let run = fixture.run_with(&update, held);
    passes(&run);
    assert_eq!(
        run.written,
        [snapshot(&run, "snapshot"), snapshot(&run, "trace")]
    );
    let text = std::fs::read_to_string(snapshot(&run, "snapshot")).unwrap();
    assert!(text.starts_with("step 1: a request\n  > GET /\n"), "{text}");
    let trace = std::fs::read_to_string(snapshot(&run, "trace")).unwrap();
    assert!(
        trace.starts_with("start\nmain, guest, context 1: on_configure(size=0)\n"),
        "{trace}"
    );
    assert!(trace.contains("step 2\nworker 0, guest, context 1: on_tick()\n"));
    assert!(fixture.run_with(&update, held).written.is_empty());
    // Envoy sees the same.
    passes(&fixture.run(hosts(), held));

    let other = held.replace("GET /", "GET /other");
    let run = fixture.run_with(&ours_alone, &other);
    let (causes, shown) = failure(&run, "wasmtime");
    assert!(
        causes[0].contains("accept it with `host-test run --update "),
        "{causes:?}"
    );
    assert!(shown.contains("-   > GET /\n+   > GET /other\n"), "{shown}");
}

/// Puts the size of the first piece that it sees into a header of the answer; knows the whole size
/// if it has waited for the end.
const FIRST_PIECE: &str = r#"
(global $first (mut i32) (i32.const 0))
(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
  (if (i32.eqz (global.get $first)) (then (global.set $first (local.get 1))))
  (i32.const 0))
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (i32.store8 (i32.const 48) (i32.add (global.get $first) (i32.const 48)))
  (drop (call $add_header (i32.const 2) str("first") (i32.const 48) (i32.const 1)))
  (global.set $first (i32.const 0))
  (i32.const 0))
"#;

const SENDS: &str = "upstreams: [{reply: {body: an answer}}]\n\
     steps:\n- request: {method: POST, path: /a, body: hello}\n  expect: 200\n";

fn rechunked(guest: &str, rest: &str, seed: u64) -> FileRun {
    let options = RunOptions {
        rechunk: Some(Rechunk { rounds: 20, seed }),
        ..RunOptions::on(Hosts::One(HostKind::Wasmtime))
    };
    Fixture::new(guest).run_with(&options, rest)
}

#[test]
fn what_depends_on_the_pieces_of_a_body_is_shown_with_the_simplest_pieces() {
    passes(&rechunked(include_str!("guests/passive.wat"), SENDS, 0));
    for seed in [0, 100] {
        let run = rechunked(&wat(FIRST_PIECE), SENDS, seed);
        let (causes, shown) = failure(&run, "rechunk");
        assert!(
            causes[0].starts_with("header first: \"5\" if bodies are whole, "),
            "{causes:?}"
        );
        assert!(causes[1].starts_with("found with --seed "), "{causes:?}");
        // Two pieces are enough, and the answer needn't be cut.
        let first = shown.lines().next().unwrap();
        assert!(first.starts_with("POST /a: pieces of "), "{shown}");
        assert_eq!(first.matches(" + ").count(), 1, "{shown}");
    }
    let run = rechunked(&wat(FIRST_PIECE), "steps: [{request: GET /}]\n", 0);
    let verdict = &run.cases[1].verdict;
    assert!(
        matches!(verdict, Verdict::Skipped(because) if because == "no body is sent in it"),
        "{verdict:?}"
    );
}

#[test]
fn limits_of_a_plugin_and_of_shared_data_hold() {
    let fixture = Fixture::new(&wat(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (call $say_status (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
             (drop (call $set_shared str("a") str("v") (i32.const 0)))
             (drop (call $set_shared str("b") str("v") (i32.const 0)))
             (i32.const 0))"#,
    ));
    // The guest has 4 pages.
    let limits = "  limits: {memory: 262144}\n";
    passes(&ours_of(
        &fixture,
        limits,
        "steps: [{request: GET /}, {expect_logs: [A]}]\n",
    ));
    let run = ours(
        &fixture,
        "shared_data_limit: {keys: 1}\nsteps: [{request: GET /}]\n",
    );
    let (causes, _) = failure(&run, "wasmtime");
    assert!(causes[0].contains("has grown to 2 keys"), "{causes:?}");
}

fn ours_of(fixture: &Fixture, plugin: &str, rest: &str) -> FileRun {
    let rest = format!("{plugin}{OURS}{rest}");
    fixture.run(Hosts::One(HostKind::Wasmtime), &rest)
}

#[test]
fn the_clock_jumps_in_a_step() {
    let fixture = Fixture::new(include_str!("guests/clock.wat"));
    passes(&ours(
        &fixture,
        "steps:\n\
         - request: GET /\n\
         - fault: {clock: -1h}\n\
         - request: GET /\n\
         - expect_logs:\n  \
           - request wall=01767225600000000000 mono=00000003600000000000\n  \
           - request wall=01767222000000000000 mono=00000003600000000000\n",
    ));
}
