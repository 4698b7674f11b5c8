//! Gateways that share one Redis.

use serde_json::{Value, json};

use crate::client::Client;
use crate::engines::Redis;
use crate::process::Gateway;
use crate::{Tally, count, flood, gateway, kinds, send};

/// A limit of 1,000 for each client, of which next to nothing comes back in a test.
fn config(rule: Value, backend: Value) -> Value {
    let mut one = json!({
        "name": "all",
        "scope": "global",
        "key": [{"header": "x-user"}],
        "limits": [{"requests": 1000, "per": "366d"}],
    });
    let mut redis = json!({"cluster": "limits", "timeout": "10s"});
    for (into, from) in [(&mut one, rule), (&mut redis, backend)] {
        for (name, value) in from.as_object().expect("fields") {
            into[name] = value.clone();
        }
    }
    json!({"rules": [one], "backend": {"redis": redis}})
}

#[test]
fn two_gateways_and_one_redis_admit_a_thousand_and_not_one_more() {
    for kind in kinds() {
        let redis = Redis::start();
        let config = config(json!({}), json!({}));
        let [one, two] = [(); 2].map(|()| gateway(&kind, redis.address, false, &config));
        let tally = flood(&[&one, &two], 800, "x-user: alice\r\n");
        let expected = Tally {
            served: 1000,
            denied: 600,
            other: vec![],
        };
        assert_eq!(tally, expected, "{kind:?}");
        assert_eq!(
            send(one.address("main"), 1, "x-user: bob\r\n").served,
            1,
            "{kind:?}"
        );
    }
}

#[test]
fn requests_charged_for_ahead_save_most_calls_and_cost_a_few_requests_at_most() {
    for kind in kinds() {
        let redis = Redis::start();
        let lease = 32;
        let config = config(json!({"lease": lease}), json!({"sync_every": "1h"}));
        let [one, two] = [(); 2].map(|()| gateway(&kind, redis.address, false, &config));
        let tally = flood(&[&one, &two], 1200, "x-user: alice\r\n");
        // What is charged for ahead by a worker that no request comes to any more is not served.
        let unused = (lease - 1) * 2 * 2;
        assert!(tally.served <= 1000, "{kind:?}: {tally:?}");
        assert!(tally.served >= 1000 - unused, "{kind:?}: {tally:?}");
        assert!(tally.other.is_empty(), "{kind:?}: {tally:?}");
        let calls = count(&one, "rate_limit_calls_total") + count(&two, "rate_limit_calls_total");
        assert!(calls < 700, "{kind:?}: {calls} calls for {tally:?}");
    }
}

#[test]
fn a_client_over_its_limit_is_denied_without_a_call() {
    for kind in kinds() {
        let redis = Redis::start();
        let config = config(
            json!({"limits": [{"requests": 5, "per": "366d"}]}),
            json!({}),
        );
        let gateway = gateway(&kind, redis.address, false, &config);
        let tally = flood(&[&gateway], 1000, "x-user: alice\r\n");
        assert_eq!((tally.served, tally.denied), (5, 995), "{kind:?}");
        // Each worker learns it by itself, on each connection that asks at the same time.
        let calls = count(&gateway, "rate_limit_calls_total");
        assert!(
            (6..=5 + 2 * 4 + 1).contains(&calls),
            "{kind:?}: {calls} calls"
        );
        let denied = Client::connect(gateway.address("main")).get("/", "x-user: alice\r\n");
        let wait: u64 = denied
            .header("retry-after")
            .expect("it is")
            .parse()
            .expect("a number");
        assert!(
            wait > 6_000_000 && wait <= 366 * 86_400 / 5,
            "{kind:?}: {wait}"
        );
        assert_eq!(
            denied
                .header("ratelimit")
                .map(|value| value.starts_with("\"all\";r=0")),
            Some(true)
        );
    }
}

/// Sends requests until that many in a row were served and asked Redis for.
fn until_redis_is_asked(gateway: &Gateway, user: &str) -> usize {
    let mut client = Client::connect(gateway.address("main"));
    for sent in 1..100_000 {
        let response = client.get("/", &format!("x-user: {user}\r\n"));
        assert!(response.status < 500, "{response:?}");
        if response.header("ratelimit").is_some() {
            return sent;
        }
    }
    panic!("it is never asked again");
}

#[test]
fn redis_killed_and_restarted_is_no_trouble_to_clients_if_errors_allow() {
    for kind in kinds() {
        let mut redis = Redis::start();
        let config = config(json!({}), json!({"on_error": "allow"}));
        let gateway = gateway(&kind, redis.address, false, &config);
        assert_eq!(
            send(gateway.address("main"), 10, "x-user: alice\r\n").served,
            10
        );
        redis.kill_redis();
        let tally = flood(&[&gateway], 400, "x-user: alice\r\n");
        assert_eq!(
            (tally.served, tally.denied),
            (400, 0),
            "{kind:?}: {tally:?}"
        );
        assert!(
            count(&gateway, "rate_limit_errors_total_cause=service") >= 5,
            "{kind:?}"
        );
        assert!(
            count(&gateway, "rate_limit_errors_total_cause=service_paused") > 300,
            "{kind:?}"
        );
        redis.start_redis();
        // It knows neither the script nor the buckets.
        until_redis_is_asked(&gateway, "alice");
        let before = count(&gateway, "rate_limit_errors_total_cause=service");
        until_redis_is_asked(&gateway, "bob");
        let tally = flood(&[&gateway], 2000, "x-user: carol\r\n");
        assert!(tally.other.is_empty(), "{kind:?}: {tally:?}");
        // The other worker may find out only now that Redis is there again.
        let after = count(&gateway, "rate_limit_errors_total_cause=service");
        assert!(
            after <= before + 1,
            "{kind:?}: {before} and then {after} failures"
        );
        assert!(tally.denied > 0, "{kind:?}: {tally:?}");
    }
}

#[test]
fn redis_killed_refuses_or_leaves_it_to_the_gateway_if_asked_to() {
    for kind in kinds() {
        let mut redis = Redis::start();
        let deny = config(json!({}), json!({"on_error": "deny"}));
        let deny = gateway(&kind, redis.address, false, &deny);
        let local = config(json!({}), json!({"on_error": "local", "local_share": 5}));
        let local = gateway(&kind, redis.address, false, &local);
        for gateway in [&deny, &local] {
            assert_eq!(
                send(gateway.address("main"), 1, "x-user: alice\r\n").served,
                1
            );
        }
        redis.kill_redis();
        let tally = send(deny.address("main"), 20, "x-user: alice\r\n");
        assert_eq!(tally.other, [503; 20], "{kind:?}: {tally:?}");
        // 5 % of 1,000, over both workers.
        let tally = flood(&[&local], 200, "x-user: alice\r\n");
        let expected = Tally {
            served: 50,
            denied: 150,
            other: vec![],
        };
        assert_eq!(tally, expected, "{kind:?}");
    }
}

#[test]
fn a_request_that_the_service_denies_is_not_charged_to_the_gateways_own_rules() {
    for kind in kinds() {
        let redis = Redis::start();
        let mut config = config(
            json!({"limits": [{"requests": 2, "per": "366d"}], "match": {"paths": [{"prefix": "/g"}]}}),
            json!({}),
        );
        let own = json!({
            "name": "own", "key": [{"header": "x-user"}],
            "limits": [{"requests": 5, "per": "1d"}],
        });
        config["rules"]
            .as_array_mut()
            .expect("a list")
            .insert(0, own);
        let gateway = gateway(&kind, redis.address, false, &config);
        let mut client = Client::connect(gateway.address("main"));
        let mut get = |path: &str| client.get(path, "x-user: alice\r\n").status;
        let asked: Vec<_> = (0..20).map(|_| get("/g")).collect();
        assert_eq!(asked[..3], [200, 200, 429], "{kind:?}");
        let own: Vec<_> = (0..4).map(|_| get("/")).collect();
        assert_eq!(own, [200, 200, 200, 429], "{kind:?}");
    }
}

#[test]
fn a_rule_in_shadow_mode_asks_and_denies_nothing() {
    for kind in kinds() {
        let redis = Redis::start();
        let config = config(
            json!({"limits": [{"requests": 3, "per": "366d"}], "mode": "shadow"}),
            json!({}),
        );
        let gateway = gateway(&kind, redis.address, false, &config);
        let tally = send(gateway.address("main"), 10, "x-user: alice\r\n");
        assert_eq!(tally.served, 10, "{kind:?}");
        let name = "rate_limit_requests_total_rule=all_outcome=";
        assert_eq!(count(&gateway, &format!("{name}shadow")), 7, "{kind:?}");
        assert_eq!(count(&gateway, &format!("{name}allow")), 3, "{kind:?}");
    }
}
