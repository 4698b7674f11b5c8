//! rate-limit as a module: its shell, its hostcalls, its state over workers that really race.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use host_test::clock::Clock;
use host_test::headers::Headers;
use host_test::host::{Host, HostBuilder};
use host_test::plugin::Plugin;
use host_test::shared::Shared;
use host_test::worker::{Action, Environment, StreamInfo, Worker};

use crate::module::plugin;

fn with(config: &str) -> Plugin {
    plugin("rate_limit").config_json(config)
}

fn host(config: &str) -> HostBuilder {
    Host::builder().plugin(with(config))
}

/// One rule named `user`, keyed by `x-user`.
fn by_user(limits: &str, rest: &str) -> String {
    format!(
        r#"{{"rules":[{{"name":"user","key":[{{"header":"x-user"}}],"limits":[{limits}]}}]{rest}}}"#
    )
}

#[test]
fn an_allowed_request_stays_within_its_hostcall_budget() {
    let config = by_user(r#"{"requests":5,"per":"1m"}"#, r#","headers":"none""#);
    let host = host(&config).build().expect("the filter starts");
    let first = host.get("/").header("x-user", "ana").send();
    let second = host.get("/").header("x-user", "ana").send();
    let budget: BTreeMap<&str, u64> = [
        ("proxy_get_header_map_value", 1),
        ("clock_time_get", 1),
        ("proxy_get_shared_data", 1),
        ("proxy_set_shared_data", 1),
        ("proxy_increment_metric", 1),
    ]
    .into();
    assert_eq!(first.hostcalls(), budget, "a new key");
    assert_eq!(second.hostcalls(), budget, "a known key");
}

#[test]
fn a_request_whose_units_were_taken_ahead_needs_no_shared_data() {
    let config = r#"{"headers":"none","rules":[{"name":"user","key":[{"header":"x-user"}],
        "lease":16,"limits":[{"requests":1000,"per":"1m"}]}]}"#;
    let host = host(config).build().expect("the filter starts");
    let send = || host.get("/").header("x-user", "ana").send();
    let budget: BTreeMap<&str, u64> = [
        ("proxy_get_header_map_value", 1),
        ("clock_time_get", 1),
        ("proxy_increment_metric", 1),
    ]
    .into();
    let ahead = (0..100).filter(|_| send().hostcalls() == budget).count();
    // 1, 2, 4, 8 and then 16 at a time.
    assert!(ahead >= 85, "{ahead} of 100");
}

#[test]
fn the_standard_headers_cost_two_plain_calls_more() {
    let host = host(&by_user(r#"{"requests":5,"per":"1m"}"#, ""))
        .build()
        .expect("starts");
    let reply = host.get("/").header("x-user", "ana").send();
    assert_eq!(
        reply.hostcalls().values().sum::<u64>(),
        7,
        "{:?}",
        reply.hostcalls()
    );
    assert_eq!(
        reply.header("ratelimit").as_deref(),
        Some(r#""user";r=4;t=12"#)
    );
    assert_eq!(
        reply.header("ratelimit-policy").as_deref(),
        Some(r#""user";q=5;w=60"#)
    );
}

#[test]
fn a_request_that_no_rule_is_about_touches_no_shared_data() {
    let host = host(&by_user(r#"{"requests":5,"per":"1m"}"#, ""))
        .build()
        .expect("starts");
    let reply = host.get("/").send();
    assert!(
        !reply.hostcalls().contains_key("proxy_get_shared_data"),
        "{:?}",
        reply.hostcalls()
    );
}

#[test]
fn a_client_is_served_then_limited_then_served_again() {
    let host = host(&by_user(r#"{"requests":2,"per":"10s"}"#, ""))
        .workers(2)
        .build()
        .expect("starts");
    let status = || host.get("/").header("x-user", "ana").send().status();
    assert_eq!(
        [status(), status(), status()],
        [Some(200), Some(200), Some(429)]
    );
    let denied = host.get("/").header("x-user", "ana").send();
    assert_eq!(denied.header("retry-after").as_deref(), Some("5"));
    assert_eq!(denied.details(), "rate_limited{rule=user}");
    assert!(denied.upstream_request().is_none());
    assert_eq!(
        host.get("/").header("x-user", "bo").send().status(),
        Some(200)
    );
    host.advance(Duration::from_secs(5));
    assert_eq!([status(), status()], [Some(200), Some(429)]);
}

/// What a scripted client of one worker saw.
fn serve(worker: &mut Worker, user: &str) -> u16 {
    let stream = worker.open(&[0], StreamInfo::default());
    let headers: Headers = [
        (":method", "GET"),
        (":path", "/"),
        (":authority", "a"),
        ("x-user", user),
    ]
    .into_iter()
    .collect();
    worker.request_headers(stream, headers, true);
    let mut status = 200;
    for action in worker.take_actions() {
        if let Action::ResponseHeaders { headers, .. } = action {
            let text = headers.text(":status").expect("a status").into_owned();
            status = text.parse().expect("a number");
        }
    }
    worker.close(stream);
    status
}

fn environment(shared: &Arc<Shared>, clock: &Clock) -> Environment {
    Environment {
        shared: shared.clone(),
        clock: clock.clone(),
        log: Arc::new(|line| panic!("logged: {}", line.message)),
        log_level: log::LevelFilter::Warn,
        seed: 1,
        observe: Default::default(),
    }
}

/// How many requests four workers on threads of their own admit, when each sends that many. A user is
/// named by the worker's number and the request's.
fn race(
    plugin: &Arc<Plugin>,
    shared: &Arc<Shared>,
    clock: &Clock,
    requests: usize,
    user: fn(u64, usize) -> String,
) -> usize {
    let workers: Vec<_> = (1..=4)
        .map(|index| {
            let environment = environment(shared, clock);
            let plugins = [plugin.clone()];
            thread::spawn(move || {
                let mut worker = Worker::start(environment, &plugins, index).expect("starts");
                (0..requests)
                    .filter(|n| serve(&mut worker, &user(index, *n)) == 200)
                    .count()
            })
        })
        .collect();
    workers
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .sum()
}

#[test]
fn four_workers_that_race_for_one_key_admit_exactly_the_burst() {
    let plugin = Arc::new(with(&by_user(
        r#"{"requests":1000,"per":"1m","burst":1000}"#,
        "",
    )));
    let shared = Arc::new(Shared::default());
    let clock = Clock::virtual_clock();
    let admitted = race(&plugin, &shared, &clock, 10_000, |_, _| "ana".to_owned());
    assert_eq!(admitted, 1_000);
}

#[test]
fn two_rules_over_racing_workers_charge_both_or_neither() {
    // Every user has 10, all together have 55: 55 pass, and no user's bucket is charged for a
    // request that the common rule refused.
    let config = r#"{"rules":[
        {"name":"user","key":[{"header":"x-user"}],"limits":[{"requests":10,"per":"1h"}]},
        {"name":"all","limits":[{"requests":55,"per":"1h"}]}]}"#;
    let plugin = Arc::new(with(config));
    let shared = Arc::new(Shared::default());
    let clock = Clock::virtual_clock();
    let admitted = race(&plugin, &shared, &clock, 2_000, |_, n| {
        format!("u{}", n % 10)
    });
    assert_eq!(admitted, 55);
    // Each user's bucket shows what it admitted: after an hour less than its refill of one, the
    // sum of what is left is 100 - 55.
    let plain = r#"{"rules":[{"name":"user","key":[{"header":"x-user"}],"limits":[{"requests":10,"per":"1h"}]}]}"#;
    let mut worker =
        Worker::start(environment(&shared, &clock), &[Arc::new(with(plain))], 9).expect("starts");
    let left: usize = (0..10)
        .map(|user| {
            (0..20)
                .filter(|_| serve(&mut worker, &format!("u{user}")) == 200)
                .count()
        })
        .sum();
    assert_eq!(left, 45);
}

#[test]
fn a_million_keys_of_four_workers_leave_no_more_in_shared_data_than_the_table() {
    let config = by_user(r#"{"requests":5,"per":"1d"}"#, r#","headers":"none""#);
    let plugin = Arc::new(with(&config));
    let shared = Arc::new(Shared::default());
    let clock = Clock::virtual_clock();
    let admitted = race(&plugin, &shared, &clock, 250_000, |worker, n| {
        format!("{worker}-{n}")
    });
    // Whoever finds no bucket free goes on from one that was used, and each holds five.
    let (sets, ways) = (4096, 16);
    assert!(admitted <= 5 * sets * ways, "{admitted}");
    let stored = shared.data().entries("");
    assert_eq!(stored.len(), sets + 1, "the sets and the seed");
    let bytes: usize = stored.values().map(Vec::len).sum();
    assert_eq!(bytes, sets * ways * 16 + 16);
    let pressure = shared.metrics().numbers()["rate_limit_table_pressure_total"];
    assert!(pressure > 500_000, "{pressure}");
}

#[test]
fn cycling_through_more_keys_than_fit_is_not_forgiven() {
    let config = by_user(
        r#"{"requests":5,"per":"1m"}"#,
        r#","table":{"sets":4,"ways":4}"#,
    );
    let host = host(&config).workers(2).build().expect("starts");
    let mut passed = 0;
    for _ in 0..40 {
        for key in 0..100 {
            let reply = host.get("/").header("x-user", format!("k{key}")).send();
            passed += usize::from(reply.status() == Some(200));
        }
    }
    assert!(passed <= 500, "{passed} of the ideal 500 passed");
}

#[test]
fn no_header_that_a_client_can_send_traps_the_filter() {
    let config = r#"{"rules":[{"name":"a","key":[{"header":"x-user"},{"client_address":{"trusted_hops":1}},{"cookie":"c"},{"query":"q"},"path"],"missing":"share","limits":[{"requests":100000,"per":"1s"}]}]}"#;
    let host = host(config).build().expect("starts");
    let long = vec![b'x'; 64 * 1024];
    let odd: [&[u8]; 8] = [
        b"",
        b"\xff\xfe",
        b"\0",
        b"a,b",
        b"[::1%eth0]:80",
        b"1.2.3.4.5",
        b"::ffff:1.2.3.4",
        &long,
    ];
    for name in [
        "x-user",
        "x-forwarded-for",
        "cookie",
        ":path",
        ":authority",
        ":method",
    ] {
        for value in odd {
            let reply = host
                .get("/p?q=1")
                .header(name, value)
                .header(name, value)
                .send();
            // What the filter lets pass may still be no header that can be sent upstream.
            let sent = !value.iter().any(u8::is_ascii_control);
            assert_eq!(
                reply.status(),
                Some(if sent { 200 } else { 503 }),
                "{name}: {value:?} {:?}",
                reply.logs()
            );
            assert_ne!(reply.details(), "wasm_fail_stream");
            assert_eq!(reply.violations(), [""; 0]);
        }
    }
}

#[test]
fn foreign_bytes_in_shared_data_are_an_empty_set_and_counted() {
    let shared = Arc::new(Shared::default());
    let clock = Clock::virtual_clock();
    let config = by_user(
        r#"{"requests":1,"per":"1m"}"#,
        r#","table":{"sets":1,"ways":4}"#,
    );
    let plugins = [Arc::new(with(&config))];
    let mut worker = Worker::start(environment(&shared, &clock), &plugins, 1).expect("starts");
    assert_eq!(serve(&mut worker, "ana"), 200);
    let key = shared
        .data()
        .scope("")
        .into_keys()
        .find(|key| key.ends_with(".0"));
    let key = key.expect("the set is stored");
    for junk in [&b""[..], b"x", &[0xff; 63], &[0xff; 65]] {
        shared.data().set("", key.as_bytes(), junk, 0);
        assert_eq!(serve(&mut worker, "ana"), 200, "{junk:?}");
        assert_eq!(serve(&mut worker, "ana"), 429, "{junk:?}");
    }
}

const THREE_MISTAKES: &str = r#"{"rules":[{"name":"a","limts":[{"requests":1,"per":"1s"}],"mode":"shadw"},{"name":"b","limits":[{"requests":0,"per":"1s"}]}]}"#;

#[test]
fn three_mistakes_in_a_configuration_are_all_named() {
    let error = host(THREE_MISTAKES)
        .build()
        .expect_err("refused")
        .to_string();
    for part in [
        "rules[0].limts",
        "did you mean \"limits\"",
        "rules[0].mode",
        "rules[1].limits[0].requests",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}
