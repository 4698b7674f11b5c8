//! Scenarios from end to end, on our host and on the real Envoy.
//!
//! The guests are written by hand, so that these tests need no module to be built first.

#[path = "common/fixture.rs"]
mod fixture;
#[path = "common/real_envoy.rs"]
mod real_envoy;

use std::path::Path;

use host_test::scenario::report::Summary;
use host_test::scenario::{FileRun, HostKind, Hosts, ScenarioFile, Verdict};

use fixture::{Fixture, hosts};

const CLOCK: &str = include_str!("guests/clock.wat");
const LATE: &str = include_str!("guests/late.wat");
const PASSIVE: &str = include_str!("guests/passive.wat");
const PAUSE: &str = include_str!("guests/pause.wat");
const RANDOM: &str = include_str!("guests/random.wat");
const REFUSE: &str = include_str!("guests/refuse.wat");
const TRAP: &str = include_str!("guests/trap.wat");

#[track_caller]
fn assert_passes(guest: &str, rest: &str) {
    fixture::assert_passes(&Fixture::new(guest), rest);
}

/// What the case of that title failed with.
#[track_caller]
fn causes(run: &FileRun, title: &str) -> Vec<String> {
    let case = run.cases.iter().find(|case| case.title == title).unwrap();
    match &case.verdict {
        Verdict::Ran(failures, _) => failures
            .iter()
            .flat_map(|failure| failure.causes.clone())
            .collect(),
        Verdict::Skipped(because) => panic!("skipped: {because}"),
    }
}

#[test]
fn every_example_is_a_scenario() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/scenarios");
    let files = host_test::scenario::scenario_files(&[folder]).unwrap();
    for file in &files {
        if let Err(error) = ScenarioFile::load(file) {
            panic!("{error}");
        }
    }
    assert!(files.len() > 20, "{} examples", files.len());
}

#[test]
fn a_request_goes_through_with_all_its_parts() {
    assert_passes(
        PASSIVE,
        r#"
upstreams:
  - match: {method: POST}
    reply: {status: 201, headers: {a: [1, 2], location: /x, server: mine}, body: made}
  - match: {path: ~^/(204|304)$}
    replies: [{status: 204}, {status: 304, headers: {etag: "\"x\""}}]
steps:
  - request: {method: POST, path: "/p?q=1", headers: {b: [3, 4], X-Upper: Y, cookie: k=v}, body: hello}
    expect:
      status: 201
      headers: {a: [1, 2], location: /x, server: envoy}
      body: made
      details: via_upstream
      upstream: {method: POST, path: "/p?q=1", headers: {b: [3, 4], x-upper: Y}, body: hello}
  - request: GET /204
    expect: {status: 204, body: absent}
  - request: GET /304
    expect: {status: 304, body: absent}
  - request: HEAD /
    expect: {status: 200, body: absent, upstream: {method: HEAD}}
  - request: DELETE /
    expect: {status: 200, upstream: {headers: {content-length: absent}}}
  - request: OPTIONS /
    expect: {status: 200, upstream: {headers: {content-length: 0}}}
  - request: PUT /
  - request: PATCH /
  - request: {path: /, headers: {host: other.example, x-request-id: mine}}
    expect: {status: 200, upstream: {headers: {":authority": other.example, x-request-id: mine}}}
"#,
    );
}

#[test]
fn an_upstream_that_breaks_off_is_a_503() {
    assert_passes(
        PASSIVE,
        "upstreams: [{replies: [reset, 200]}]\nsteps:\n\
         - request: GET /\n  expect: {status: 503, body: ~^upstream connect error, details: ~^upstream_reset}\n\
         - request: GET /\n  expect: 200\n",
    );
}

#[test]
fn clocks_stand_still_and_move_by_what_the_scenario_says() {
    assert_passes(
        CLOCK,
        r#"
steps:
  - request: GET /
  - request: GET /
  - expect_logs:
      - request wall=01767225600000000000 mono=00000003600000000000
      - request wall=01767225600000000000 mono=00000003600000000000
  - advance: 1h
  - request: GET /
  - expect_logs:
      - request wall=01767229200000000000 mono=00000007200000000000
"#,
    );
}

#[test]
fn ticks_run_when_time_passes() {
    // Once on the worker and once on the main thread, in both hosts.
    assert_passes(
        CLOCK,
        r#"
  config: ticking
steps:
  - expect_logs: none
  - advance: 6s
  - expect_logs: none
  - advance: 1s
  - expect_logs: [~^tick .*mono=00000003607000000000$, ~^tick .*mono=00000003607000000000$]
  - advance: {by: 14s, step: 7s}
  - expect_logs:
      - ~^tick .*mono=00000003614000000000$
      - ~^tick .*mono=00000003614000000000$
      - ~^tick .*mono=00000003621000000000$
      - ~^tick .*mono=00000003621000000000$
"#,
    );
}

#[test]
fn a_trap_fails_this_request_and_by_policy_the_later_ones() {
    assert_passes(
        TRAP,
        "steps:\n\
         - request: GET /\n  expect: {status: 503, body: absent, upstream: none}\n\
         - request: GET /\n  expect: {status: 503, details: wasm_fail_stream}\n",
    );
}

#[test]
fn a_request_that_is_never_answered_ends_without_a_status() {
    assert_passes(
        PAUSE,
        "strict: false\nsteps:\n- request: GET /\n  expect: {status: absent, upstream: none}\n",
    );
}

#[test]
fn an_envoy_that_crashes_is_told_as_such_and_fails_the_scenario() {
    if hosts() != Hosts::Both {
        return;
    }
    // Envoy loads a module without exported memory and crashes when it first reads from it: the
    // one guest logs when it is configured, the other with each request.
    for guest in [REFUSE, RANDOM] {
        let guest = guest.replace("(export \"memory\")", "");
        let run = Fixture::new(&guest).run(Hosts::Both, "steps: [{request: GET /}]\n");
        let ours = causes(&run, "wasmtime");
        assert!(ours[0].contains("exports no memory"), "{ours:?}");
        let theirs = causes(&run, "envoy");
        assert!(
            theirs[0].starts_with("Envoy ended (signal: 11"),
            "{theirs:?}"
        );
    }
}

#[test]
fn a_refused_configuration_is_expected_by_its_words() {
    let fixture = Fixture::new(REFUSE);
    let run = fixture.run(hosts(), "expect_config_error: [field a, ~b$]\n");
    assert_eq!(Summary::of(std::slice::from_ref(&run)).failed, 0, "{run:?}");

    let run = fixture.run(hosts(), "expect_config_error: [field c]\n");
    for case in run.cases.iter().filter(|case| case.title != "parity") {
        assert_eq!(
            causes(&run, case.title),
            ["error log: expected \"field c\", got \n        wrong: field a, field b"]
        );
    }

    let run = fixture.run(hosts(), "steps: [{request: GET /}]\n");
    for case in &run.cases {
        let causes = causes(&run, case.title);
        assert!(
            causes[0].starts_with("the configuration was refused: "),
            "{causes:?}"
        );
        assert_eq!(causes[1], "error guest: wrong: field a, field b");
    }
}

#[test]
fn a_configuration_that_should_be_refused_must_not_be_accepted() {
    let run = Fixture::new(PASSIVE).run(hosts(), "expect_config_error: [a]\n");
    for case in &run.cases {
        let expected = "the configuration was accepted, but it must be refused";
        assert_eq!(causes(&run, case.title), [expected]);
    }
}

#[test]
fn what_differs_between_the_hosts_fails_though_nothing_expects_it() {
    if hosts() != Hosts::Both {
        return;
    }
    let run = Fixture::new(RANDOM).run(Hosts::Both, "steps: [{request: GET /}]\n");
    assert_eq!(causes(&run, "wasmtime"), Vec::<String>::new());
    assert_eq!(causes(&run, "envoy"), Vec::<String>::new());
    let differences = causes(&run, "parity");
    assert!(
        differences[0].starts_with("log lines: wasmtime has"),
        "{differences:?}"
    );
}

#[test]
fn what_only_hurts_in_production_fails_though_every_expectation_holds() {
    let run = Fixture::new(LATE).run(
        Hosts::One(HostKind::Wasmtime),
        "steps: [{request: GET /, expect: 200}]\n",
    );
    let causes = causes(&run, "wasmtime");
    assert!(
        causes[0].starts_with("strict mode: expected no violation, got "),
        "{causes:?}"
    );
}

#[test]
fn a_failure_names_step_line_and_round_and_shows_the_request() {
    let run = Fixture::new(PASSIVE).run(
        Hosts::One(HostKind::Wasmtime),
        "steps:\n- request: GET /\n- repeat:\n    times: 2\n    steps:\n    \
         - request: {path: '/{n}', headers: {k: 'v{n}'}}\n      \
           expect: {status: 404, upstream: {path: '/{n}', headers: {k: 'v{n}'}}}\n",
    );
    let Verdict::Ran(failures, 2) = &run.cases[0].verdict else {
        panic!("{run:?}")
    };
    assert_eq!(failures[1].step, "step 2, round 2, step 1: GET /2");
    assert_eq!(failures[1].place, Some((9, 7)));
    assert_eq!(failures[1].causes, ["status: expected 404, got 200"]);
    assert!(
        failures[1].trace.contains("> GET /2\n> k: v2\n  upstream"),
        "{failures:?}"
    );
}

#[test]
fn a_host_that_a_scenario_leaves_out_is_skipped_with_the_reason() {
    let run = Fixture::new(PASSIVE).run(
        Hosts::One(HostKind::Envoy),
        "hosts: [wasmtime]\nbecause: it chooses its worker\nsteps: [{request: {path: /, worker: 0}}]\n",
    );
    let [case] = run.cases.as_slice() else {
        panic!("{run:?}")
    };
    assert!(
        matches!(&case.verdict, Verdict::Skipped(because) if because == "it chooses its worker")
    );
}
