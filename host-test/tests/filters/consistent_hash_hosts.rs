//! consistent-hash as a module: what becomes of its hosts over time, in every worker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use consistent_hash::placement::hosts::{Host as Candidate, HostSet};
use consistent_hash::placement::{Algorithm, Placement};
use consistent_hash::policy::Policy;
use host_test::host::{Answer, Host, HostBuilder};
use host_test::module::Module;
use host_test::plugin::Plugin;

use crate::module::plugin;

const WORKERS: usize = 2;
/// The address that this host gives its upstream.
const UPSTREAM: &str = "127.0.0.1:20000";

fn builder(config: &str) -> HostBuilder {
    Host::builder().plugin(plugin("consistent_hash").config_json(config))
}

/// Two workers with such hosts, keyed by `x-user`, and what else is said.
fn start(hosts: &[String], rest: &str) -> Host {
    builder(&config(hosts, rest))
        .workers(WORKERS)
        .build()
        .expect("the filter starts")
}

fn config(hosts: &[String], rest: &str) -> String {
    let hosts = hosts.join(",");
    format!(r#"{{"key":[{{"header":"x-user"}}],"hosts":[{hosts}]{rest}}}"#)
}

/// The hosts that a user's request is sent to by a worker, in order.
fn named(host: &Host, worker: usize, user: &str) -> Vec<String> {
    let request = host.get("/").header("x-user", user).worker(worker);
    let reply = request.send();
    let upstream = reply.upstream_request().expect("it goes on");
    let value = upstream.headers.text("x-upstream-candidates");
    let value = value.expect("the header is there").into_owned();
    value.split(',').map(str::to_owned).collect()
}

fn users(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("user {number}"))
}

/// The users whose first host that is, the same ones in every worker.
#[track_caller]
fn users_of(host: &Host, address: &str, count: usize) -> BTreeSet<String> {
    let of = |worker: usize| -> BTreeSet<String> {
        users(count)
            .filter(|user| named(host, worker, user)[0] == address)
            .collect()
    };
    let first = of(0);
    (1..WORKERS).for_each(|worker| assert_eq!(of(worker), first, "worker {worker}"));
    first
}

#[test]
fn a_draining_host_gives_up_its_keys_one_after_another_and_no_other_key_moves() {
    let hosts: Vec<String> = (1..=4)
        .map(|number| {
            format!(
                r#"{{"address":"10.0.0.{number}:80","draining":{}}}"#,
                number == 2
            )
        })
        .collect();
    let host = start(&hosts, r#","drain_time":"100s""#);
    let before: Vec<Vec<String>> = users(200).map(|user| named(&host, 0, &user)).collect();
    let mut left = users_of(&host, "10.0.0.2:80", 200);
    let mut sizes = vec![left.len()];
    for _ in 0..10 {
        host.advance(Duration::from_secs(10));
        let now = users_of(&host, "10.0.0.2:80", 200);
        assert!(now.is_subset(&left), "no key comes back");
        sizes.push(now.len());
        left = now;
    }
    let different: BTreeSet<_> = sizes.iter().collect();
    assert!(sizes[0] > 30 && different.len() >= 6, "{sizes:?}");
    assert_eq!(sizes.last(), Some(&0));
    for (user, before) in users(200).zip(before) {
        let now = named(&host, 1, &user);
        let expected = before.iter().find(|address| *address != "10.0.0.2:80");
        assert_eq!(now.first(), expected, "{user}");
    }
}

#[test]
fn the_own_zone_is_first_in_every_worker_and_others_are_there_for_retries() {
    let hosts: Vec<String> = (1..=8)
        .map(|number| {
            let zone = if number % 2 == 0 { "a" } else { "b" };
            format!(r#"{{"address":"10.0.0.{number}:80","zone":"{zone}"}}"#)
        })
        .collect();
    let is_own = |address: &String| {
        ["2:80", "4:80", "6:80", "8:80"]
            .iter()
            .any(|end| address.ends_with(end))
    };
    let rest = r#","zones":{"own":"a"},"steer":{"override_host":{"candidates":8}}"#;
    let host = start(&hosts, rest);
    let everywhere = start(&hosts, r#","steer":{"override_host":{"candidates":8}}"#);
    for user in users(50) {
        let order = named(&host, 0, &user);
        assert_eq!(named(&host, 1, &user), order);
        // Within a zone the key's own order.
        let (own, others): (Vec<String>, Vec<String>) =
            named(&everywhere, 0, &user).into_iter().partition(is_own);
        assert_eq!(order, [own, others].concat(), "{user}");
    }
    // Workers tell their counts on ticks.
    host.advance(Duration::from_millis(100));
    let zone = host.metrics()["consistent_hash_choices_total_reason=zone"];
    assert!(
        (20..80).contains(&zone),
        "half of 100 are drawn near: {zone}"
    );
}

#[test]
fn a_part_of_the_keys_leaves_a_zone_that_more_traffic_enters_than_it_can_carry() {
    let hosts: Vec<String> = (1..=4)
        .map(|number| {
            let zone = if number == 1 { "a" } else { "b" };
            format!(r#"{{"address":"10.0.0.{number}:80","zone":"{zone}"}}"#)
        })
        .collect();
    // Half of the traffic for a quarter of the hosts.
    let host = start(&hosts, r#","zones":{"own":"a","traffic":50}"#);
    let own = users_of(&host, "10.0.0.1:80", 400).len();
    assert!((170..=230).contains(&own), "{own} of 400 stay");
}

#[test]
fn slow_answers_in_a_row_put_a_host_out_for_all_workers_and_quick_ones_do_not() {
    // Behind the filter, so that an answer can be made to take time.
    let asks = wat::parse_str(include_str!("../guests/asks.wat")).expect("valid WAT");
    let asks = Module::from_bytes("asks.wasm".as_ref(), &asks).expect("it loads");
    let hosts = [UPSTREAM, "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"]
        .map(|address| format!(r#"{{"address":"{address}"}}"#));
    let rest =
        r#","health":{"passive":{"slow":"200ms","consecutive_slow":3,"ejection_time":"30s"}}"#;
    let host = builder(&config(&hosts, rest))
        .plugin(Plugin::new(asks.into()))
        .workers(WORKERS)
        .callouts(|_| Answer::Never)
        .build()
        .expect("starts");
    let serve = |user: &str, milliseconds: u64| {
        let flight = host.get("/").header("x-user", user).worker(0).start();
        let callout = host.waiting_callouts().remove(0);
        host.advance(Duration::from_millis(milliseconds));
        host.answer(&callout, Answer::status(200, ""))
            .expect("it waits");
        let reply = flight.finish();
        assert_eq!(reply.status(), Some(200));
        let upstream = reply.upstream_request().expect("it goes on");
        let value = upstream.headers.text("x-upstream-candidates");
        value.expect("there").into_owned()
    };
    let user = users(100).find(|user| serve(user, 0).starts_with(UPSTREAM));
    let user = user.expect("one of a hundred has the first host");
    for milliseconds in [250, 250, 150, 250, 250] {
        assert!(serve(&user, milliseconds).starts_with(UPSTREAM));
    }
    assert_eq!(host.metrics()["consistent_hash_hosts_available"], 4);
    assert!(
        serve(&user, 250).starts_with(UPSTREAM),
        "the third in a row"
    );
    assert_eq!(host.metrics()["consistent_hash_hosts_available"], 3);
    host.advance(Duration::from_millis(200));
    let next = host.get("/").header("x-user", &user).worker(1).start();
    host.answer(&host.waiting_callouts().remove(0), Answer::status(200, ""))
        .expect("it waits");
    let reply = next.finish();
    let upstream = reply.upstream_request().expect("it goes on");
    let value = upstream
        .headers
        .text("x-upstream-candidates")
        .expect("there")
        .into_owned();
    assert!(!value.contains(UPSTREAM), "{value}");
    let out = host.take_logs();
    assert!(
        out.iter()
            .any(|line| line.message.contains("event=host_out reason=slow")),
        "{out:?}"
    );
    host.advance(Duration::from_secs(31));
    assert!(serve(&user, 0).starts_with(UPSTREAM), "its time is over");
}

#[test]
fn a_host_that_returns_gets_its_keys_back_one_after_another_in_every_worker() {
    let hosts: Vec<String> = (1..=4)
        .map(|number| format!(r#"{{"address":"10.0.0.{number}:80"}}"#))
        .collect();
    let rest = r#","health":{"active":{"cluster":"health","path":"/","interval":"1s","jitter":0,"healthy_threshold":1},"slow_start":"60s"}"#;
    let mut checks = 0;
    let host = builder(&config(&hosts, rest))
        .workers(WORKERS)
        .cluster("health")
        .callouts(move |request| {
            let host = request.headers.text("x-upstream-candidates");
            if host.as_deref() != Some("10.0.0.3:80") {
                return Answer::status(200, "");
            }
            checks += 1;
            Answer::status(if checks <= 5 { 503 } else { 200 }, "")
        })
        .build()
        .expect("starts");
    let own = users_of(&host, "10.0.0.3:80", 200);
    let available = |host: &Host| host.metrics()["consistent_hash_hosts_available"];
    let until = |count: u64| {
        let reached = (0..200).any(|_| {
            host.advance(Duration::from_millis(100));
            available(&host) == count
        });
        assert!(reached, "{count} hosts are available");
        // The other worker's tick.
        host.advance(Duration::from_millis(200));
    };
    until(3);
    assert_eq!(users_of(&host, "10.0.0.3:80", 200), BTreeSet::new());
    until(4);
    let mut had = BTreeSet::new();
    let mut sizes = BTreeSet::new();
    for _ in 0..7 {
        let has = users_of(&host, "10.0.0.3:80", 200);
        assert!(had.is_subset(&has) && has.is_subset(&own));
        sizes.insert(has.len());
        had = has;
        host.advance(Duration::from_secs(10));
    }
    assert!(sizes.len() >= 4, "{sizes:?} of {}", own.len());
    assert_eq!(users_of(&host, "10.0.0.3:80", 200), own);
}

#[test]
fn each_of_two_workers_finds_a_hot_key_and_both_spread_it_evenly() {
    let hosts: Vec<String> = (1..=8)
        .map(|number| format!(r#"{{"address":"10.0.0.{number}:80"}}"#))
        .collect();
    let host = start(
        &hosts,
        r#","hot_keys":{"hot_share":0.2,"spread":3,"window":"1m"}"#,
    );
    let order = named(&host, 0, "hot");
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for worker in 0..WORKERS {
        (0..200).for_each(|_| drop(named(&host, worker, "hot")));
        let mut met: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..300 {
            let first = named(&host, worker, "hot").swap_remove(0);
            *met.entry(first).or_default() += 1;
        }
        let each: Vec<Option<usize>> = order.iter().map(|host| met.get(host).copied()).collect();
        assert_eq!(each, [Some(100); 3], "worker {worker}: {met:?}");
        for (host, count) in met {
            *all.entry(host).or_default() += count;
        }
    }
    assert_eq!(all.into_values().collect::<Vec<_>>(), [200; 3]);
}

#[test]
fn while_the_first_table_is_made_requests_are_served_and_once_it_is_ticks_end() {
    // More than the table that is made at once is for.
    let addresses: Vec<String> = (0..7_000)
        .map(|number| format!("10.0.{}.{}:80", number / 250, number % 250))
        .collect();
    let hosts: Vec<String> = addresses
        .iter()
        .map(|address| format!(r#"{{"address":"{address}"}}"#))
        .collect();
    let host = start(&hosts, "");
    let set = HostSet::new(addresses.into_iter().map(Candidate::new).collect()).expect("hosts");
    let placement = Placement::build(&set, Algorithm::Auto);
    let at_home = |host: &Host| {
        let own = users(400).filter(|user| {
            let own = placement.first(Policy::hash(user.as_bytes()));
            let own = own.and_then(|place| set.get(place)).expect("a host");
            let named = named(host, 0, user);
            assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), 3, "{named:?}");
            named[0] == own.address
        });
        own.count()
    };
    let first = at_home(&host);
    assert!(
        (100..400).contains(&first),
        "{first} of 400 have their own host at once"
    );
    let ticks = (0..1_000).take_while(|_| host.tick(None) > 0).count();
    assert!((2..1_000).contains(&ticks), "{ticks} ticks");
    assert_eq!(at_home(&host), 400);
}

#[test]
fn an_answer_of_a_discovery_endpoint_that_is_too_large_is_a_lie() {
    let large = format!(r#"["10.0.0.9:80"]{}"#, " ".repeat(4 << 20));
    let answers = [r#"["10.0.0.1:80","10.0.0.2:80"]"#.to_owned(), large];
    let mut answers = answers.into_iter();
    let config = r#"{"key":[{"header":"x-user"}],"no_host":"reject",
        "discovery":{"cluster":"registry","path":"/hosts","format":"list","interval":"1s"}}"#;
    let host = builder(config)
        .workers(WORKERS)
        .cluster("registry")
        .callouts(move |_| {
            answers
                .next()
                .map_or(Answer::Never, |text| Answer::status(200, text))
        })
        .build()
        .expect("starts");
    host.advance(Duration::from_secs(3));
    let metrics = host.metrics();
    let outcome = |what: &str| metrics[&format!("consistent_hash_discovery_total_outcome={what}")];
    assert_eq!((outcome("changed"), outcome("lied")), (1, 1));
    assert_eq!(metrics["consistent_hash_hosts"], 2);
    assert_eq!(named(&host, 1, "ana").len(), 2);
}
