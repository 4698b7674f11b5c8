//! Wasm instructions, counted.

use host_test::host::HostBuilder;

use crate::guest::host;

/// Adds in a loop as often as the request has headers, and once in each tick.
const COUNTS: &str = r#"
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (drop (call $tick_period (i32.const 1000))) (i32.const 1))
(func (export "proxy_on_tick") (param i32) (drop (i32.add (i32.const 1) (i32.const 2))))
(func (export "proxy_on_request_headers") (param $id i32) (param $left i32) (param i32) (result i32)
  (loop $again
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (br_if $again (local.get $left)))
  (i32.const 0))
"#;

fn counting() -> HostBuilder {
    host(COUNTS).count_instructions(true)
}

#[test]
fn instructions_are_counted_when_asked_for() {
    let plain = host(COUNTS).build().expect("the guest starts");
    assert_eq!(plain.get("/").send().instructions(), None);
    assert_eq!(plain.instructions(), None);

    let host = counting().build().expect("the guest starts");
    let four = host.get("/").send().instructions().expect("counted");
    let five = host.get("/").header("a", "b").send().instructions();
    // A round is get, const, sub, set, get, br_if.
    assert_eq!(five, Some(four + 6));
}

#[test]
fn the_count_is_the_same_in_every_run_and_on_every_worker() {
    let counts = || {
        let host = counting().workers(2).build().expect("the guest starts");
        let each: Vec<_> = (0..4)
            .map(|_| host.get("/").send().instructions())
            .collect();
        (each, host.instructions())
    };
    let first = counts();
    assert_eq!(first, counts());
    assert!(first.0.windows(2).all(|two| two[0] == two[1]), "{first:?}");
}

#[test]
fn what_runs_outside_requests_is_counted_for_the_host() {
    let host = counting().build().expect("the guest starts");
    let before = host.instructions().expect("counted");
    host.get("/").send();
    assert_eq!(host.instructions(), Some(before));
    host.advance(std::time::Duration::from_secs(1));
    // In the worker's VM and the main thread's: const, const, add, drop.
    let after = host.instructions().expect("counted");
    assert_eq!(after - before, 2 * 4);
}
