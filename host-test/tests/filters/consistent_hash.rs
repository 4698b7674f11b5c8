//! consistent-hash as a module: its shell, its hostcalls, what its workers tell each other.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use host_test::abi::Status;
use host_test::fault::Fault;
use host_test::host::{Answer, Host, HostBuilder, Received};
use host_test::plugin::Plugin;

use crate::module::plugin;

fn with(config: &str) -> Plugin {
    plugin("consistent_hash").config_json(config)
}

fn host(config: &str) -> HostBuilder {
    Host::builder().plugin(with(config))
}

/// Eight hosts, keyed by `x-user`, and what else is said.
fn eight(rest: &str) -> String {
    let hosts: Vec<_> = (1..=8)
        .map(|number| format!(r#"{{"address":"10.0.0.{number}:80"}}"#))
        .collect();
    format!(
        r#"{{"key":[{{"header":"x-user"}}],"hosts":[{}]{rest}}}"#,
        hosts.join(",")
    )
}

/// The hosts that a user's request is sent to, in order.
fn candidates(host: &Host, user: &str) -> Vec<String> {
    let reply = host.get("/").header("x-user", user).send();
    let upstream = reply.upstream_request().expect("it goes on");
    let value = upstream.headers.text("x-upstream-candidates");
    let value = value.expect("the header is there").into_owned();
    value.split(',').map(str::to_owned).collect()
}

#[test]
fn a_choice_by_key_stays_within_its_hostcall_budget() {
    let host = host(&eight("")).build().expect("the filter starts");
    host.get("/").header("x-user", "ana").send();
    let reply = host.get("/").header("x-user", "ana").send();
    let budget: BTreeMap<&str, u64> = [
        ("proxy_get_header_map_value", 1),
        ("proxy_replace_header_map_value", 1),
    ]
    .into();
    assert_eq!(reply.hostcalls(), budget);
    // Overwriting is removing: a forged copy costs nothing more.
    let forged = host
        .get("/")
        .header("x-user", "ana")
        .header("x-upstream-candidates", "10.9.9.9:80")
        .send();
    assert_eq!(forged.hostcalls(), budget);
}

#[test]
fn requests_are_counted_by_each_worker_and_told_with_its_next_tick() {
    let host = host(&eight("")).workers(2).build().expect("starts");
    for worker in [0, 0, 1] {
        let request = host.get("/").header("x-user", "ana").worker(worker);
        request.send();
    }
    let own = candidates(&host, "ana").swap_remove(0);
    let told = || {
        let metrics = host.metrics();
        let by_host = metrics.get(&format!("consistent_hash_requests_total_host={own}"));
        let by_reason = metrics.get("consistent_hash_choices_total_reason=key");
        (by_host.copied(), by_reason.copied())
    };
    host.advance(Duration::from_millis(100));
    assert_eq!(told(), (Some(4), Some(4)));
    // Without requests there is nothing to tell, and so no tick.
    host.advance(Duration::from_millis(100));
    assert_eq!(host.tick(None), 0);
    candidates(&host, "ana");
    host.advance(Duration::from_millis(100));
    assert_eq!(told(), (Some(5), Some(5)));
}

#[test]
fn watching_health_costs_a_well_request_three_properties() {
    let host = host(&eight(r#","health":{"passive":{}}"#))
        .build()
        .expect("starts");
    host.get("/").header("x-user", "ana").send();
    let calls = host.get("/").header("x-user", "ana").send().hostcalls();
    for call in ["proxy_get_shared_data", "clock_time_get"] {
        assert!(!calls.contains_key(call), "{calls:?}");
    }
    assert!(
        calls
            .get("proxy_get_property")
            .is_none_or(|count| *count <= 3),
        "{calls:?}"
    );
}

#[test]
fn counting_requests_costs_a_read_and_a_write_at_both_ends() {
    let host = host(&eight(r#","bounded_load":{}"#))
        .build()
        .expect("starts");
    host.get("/").header("x-user", "ana").send();
    let calls = host.get("/").header("x-user", "ana").send().hostcalls();
    let budget: BTreeMap<&str, u64> = [
        ("proxy_get_header_map_value", 1),
        ("proxy_get_shared_data", 2),
        ("proxy_replace_header_map_value", 1),
        ("proxy_set_shared_data", 2),
    ]
    .into();
    assert_eq!(calls, budget);
}

#[test]
fn equal_keys_meet_equal_hosts_in_every_worker_and_in_every_gateway() {
    let one = host(&eight("")).workers(3).seed(1).build().expect("starts");
    let other = host(&eight("")).seed(2).build().expect("starts");
    let mut first = BTreeSet::new();
    for user in 0..100 {
        let user = format!("user {user}");
        let expected = candidates(&other, &user);
        for worker in 0..3 {
            let reply = one.get("/").header("x-user", &user).worker(worker).send();
            let upstream = reply.upstream_request().expect("it goes on");
            let value = upstream
                .headers
                .text("x-upstream-candidates")
                .expect("there")
                .into_owned();
            assert_eq!(value, expected.join(","));
        }
        assert_eq!(
            expected.iter().collect::<BTreeSet<_>>().len(),
            3,
            "{expected:?}"
        );
        first.extend(expected.into_iter().take(1));
    }
    assert_eq!(first.len(), 8, "all hosts have keys");
}

#[test]
fn a_session_is_given_once_and_then_kept() {
    let config =
        eight(r#","session_cookie":{"name":"sid","secrets":["0123456789abcdef"],"ttl":"1h"}"#)
            .replace(r#"[{"header":"x-user"}]"#, r#"["session_cookie"]"#);
    let host = host(&config).workers(2).build().expect("starts");
    let first = host.get("/").send();
    let cookie = first.header("set-cookie").expect("a cookie is given");
    assert!(
        cookie.ends_with("; Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Lax"),
        "{cookie}"
    );
    let value = cookie.split(';').next().expect("a value").to_owned();
    let chosen = |cookie: &str, worker: usize| {
        let reply = host.get("/").header("cookie", cookie).worker(worker).send();
        let upstream = reply.upstream_request().expect("it goes on");
        let header = upstream
            .headers
            .text("x-upstream-candidates")
            .expect("there")
            .into_owned();
        (header, reply.header("set-cookie").is_some())
    };
    let given = first.upstream_request().expect("it goes on");
    let given = given
        .headers
        .text("x-upstream-candidates")
        .expect("there")
        .into_owned();
    for worker in 0..2 {
        assert_eq!(chosen(&value, worker), (given.clone(), false));
    }
    // One that a client made up is none.
    let forged = value.replace(|c: char| c.is_ascii_digit(), "7");
    assert!(chosen(&forged, 0).1);
    // Past half of its time it is given anew, for the same host.
    host.advance(Duration::from_secs(1801));
    assert_eq!(chosen(&value, 0), (given, true));
    host.advance(Duration::from_secs(1800));
    assert!(chosen(&value, 0).1);
}

/// What hosts answer to questions after their health, and who was asked.
#[derive(Clone, Default)]
struct Checks {
    sick: Rc<RefCell<BTreeSet<String>>>,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Checks {
    fn answer(&self) -> impl FnMut(&Received) -> Answer + 'static {
        let checks = self.clone();
        move |request: &Received| {
            let host = request.headers.text("x-upstream-candidates");
            let host = host.map(|host| host.into_owned()).unwrap_or_default();
            let is_sick = checks.sick.borrow().contains(&host);
            checks.asked.borrow_mut().push(host);
            Answer::status(if is_sick { 503 } else { 200 }, "")
        }
    }
}

#[test]
fn one_worker_asks_for_all_and_all_know_who_is_out() {
    let checks = Checks::default();
    let config = eight(
        r#","health":{"active":{"cluster":"health","path":"/ok","interval":"1s","jitter":0}}"#,
    );
    let host = host(&config)
        .workers(3)
        .cluster("health")
        .callouts(checks.answer())
        .build()
        .expect("starts");
    host.advance(Duration::from_secs(2));
    checks.asked.borrow_mut().clear();
    host.advance(Duration::from_secs(10));
    let asked = checks.asked.borrow().len();
    assert!(
        (76..=84).contains(&asked),
        "eight hosts once a second: {asked}"
    );

    let own = candidates(&host, "ana");
    checks.sick.borrow_mut().insert(own[0].clone());
    host.advance(Duration::from_secs(5));
    for worker in 0..3 {
        let reply = host.get("/").header("x-user", "ana").worker(worker).send();
        let upstream = reply.upstream_request().expect("it goes on");
        let value = upstream
            .headers
            .text("x-upstream-candidates")
            .expect("there")
            .into_owned();
        assert!(
            value.starts_with(&format!("{},{}", own[1], own[2])),
            "{value} after {own:?}"
        );
    }
    let metrics = host.metrics();
    assert_eq!(metrics.get("consistent_hash_hosts_available"), Some(&7));
    assert_eq!(
        metrics.get("consistent_hash_health_changes_total_to=out"),
        Some(&1)
    );
    checks.sick.borrow_mut().clear();
    host.advance(Duration::from_secs(5));
    assert_eq!(candidates(&host, "ana"), own);
    assert_eq!(
        host.metrics()
            .get("consistent_hash_health_changes_total_to=in"),
        Some(&1)
    );
}

#[test]
fn health_is_ignored_when_most_hosts_are_out() {
    let checks = Checks::default();
    let config = eight(r#","health":{"active":{"cluster":"health","path":"/ok","interval":"1s"}}"#);
    let host = host(&config)
        .cluster("health")
        .callouts(checks.answer())
        .build()
        .expect("starts");
    let own = candidates(&host, "ana");
    let all = (1..=8).map(|number| format!("10.0.0.{number}:80"));
    checks.sick.borrow_mut().extend(all);
    host.advance(Duration::from_secs(8));
    assert_eq!(candidates(&host, "ana"), own);
    assert_eq!(
        host.metrics()
            .get("consistent_hash_health_changes_total_to=out"),
        Some(&8)
    );
}

#[test]
fn another_worker_takes_the_work_over_when_one_is_gone() {
    let checks = Checks::default();
    let config = eight(r#","health":{"active":{"cluster":"health","path":"/ok","interval":"1s"}}"#);
    let host = host(&config)
        .workers(2)
        .cluster("health")
        .callouts(checks.answer())
        .build()
        .expect("starts");
    host.advance(Duration::from_secs(3));
    // Whoever ticks next traps, and a VM that has trapped ticks no more without requests.
    host.fault(
        Fault::trap_at("clock_time_get")
            .expect("a hostcall")
            .times(1),
    );
    host.advance(Duration::from_millis(100));
    host.clear_faults();
    host.advance(Duration::from_secs(6));
    checks.asked.borrow_mut().clear();
    host.advance(Duration::from_secs(5));
    assert!(
        checks.asked.borrow().len() >= 32,
        "{}",
        checks.asked.borrow().len()
    );
}

#[test]
fn requests_of_a_worker_that_trapped_are_counted_no_more_after_a_while() {
    let config = eight(r#","bounded_load":{}"#);
    let host = host(&config).workers(2).build().expect("starts");
    let key = "penstock.consistent_hash.default.in_flight";
    let size = || host.shared_data("").get(key).map_or(0, Vec::len);
    let flight = host
        .get("/")
        .header("x-user", "ana")
        .worker(0)
        .unfinished()
        .start();
    assert!(size() > 1, "it is counted");
    host.fault(
        Fault::trap_at("proxy_get_shared_data")
            .expect("a hostcall")
            .times(1),
    );
    let _ = host.get("/").header("x-user", "bo").worker(0).send();
    host.clear_faults();
    drop(flight);
    host.advance(Duration::from_secs(11));
    host.get("/").header("x-user", "bo").worker(1).send();
    assert_eq!(size(), 1, "nothing but the version is left");
}

#[test]
fn without_shared_data_requests_go_to_their_hosts_all_the_same() {
    let config = eight(r#","bounded_load":{}"#);
    let host = host(&config).build().expect("starts");
    let own = candidates(&host, "ana");
    host.fault(
        Fault::answer("proxy_get_shared_data", Status::InternalFailure).expect("a hostcall"),
    );
    assert_eq!(candidates(&host, "ana"), own);
    let errors = host
        .metrics()
        .get("consistent_hash_errors_total_cause=host")
        .copied();
    assert!(errors.is_some_and(|errors| errors >= 1), "{errors:?}");
}
