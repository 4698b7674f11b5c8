//! Envoys that share one server of the Rate Limit Service protocol, and one that does it wrong.

use serde_json::{Value, json};

use crate::client::Client;
use crate::engines::RlsServer;
use crate::stub::{Deed, Stub};
use crate::{Tally, count, envoys, flood, gateway, send};

fn config(rule: Value, backend: Value) -> Value {
    let mut one = json!({"name": "all", "scope": "global", "key": [{"header": "x-user"}]});
    let mut rls = json!({"cluster": "limits", "domain": "edge", "timeout": "10s"});
    for (into, from) in [(&mut one, rule), (&mut rls, backend)] {
        for (name, value) in from.as_object().expect("fields") {
            into[name] = value.clone();
        }
    }
    json!({"rules": [one], "backend": {"rls": rls}})
}

#[test]
fn two_envoys_and_one_server_admit_a_thousand_and_not_one_more() {
    for kind in envoys() {
        let server = RlsServer::start(1000, 3600);
        let config = config(json!({}), json!({}));
        let [one, two] = [(); 2].map(|()| gateway(&kind, server.address, true, &config));
        let tally = flood(&[&one, &two], 800, "x-user: alice\r\n");
        let expected = Tally {
            served: 1000,
            denied: 600,
            other: vec![],
        };
        assert_eq!(tally, expected);
        let response = Client::connect(one.address("main")).get("/", "x-user: bob\r\n");
        assert_eq!(response.status, 200);
        assert_eq!(response.header("ratelimit-policy"), Some("\"all\";q=1000"));
        let left = response.header("ratelimit").expect("it is told");
        assert!(left.starts_with("\"all\";r=999;t=3"), "{left}");
    }
}

#[test]
fn requests_charged_for_ahead_save_most_calls_and_cost_a_few_requests_at_most() {
    for kind in envoys() {
        let server = RlsServer::start(1000, 3600);
        let lease = 32;
        let config = config(json!({"lease": lease}), json!({"sync_every": "1h"}));
        let [one, two] = [(); 2].map(|()| gateway(&kind, server.address, true, &config));
        let tally = flood(&[&one, &two], 1200, "x-user: alice\r\n");
        let unused = (lease - 1) * 2 * 2;
        assert!(tally.served <= 1000, "{tally:?}");
        assert!(tally.served >= 1000 - unused, "{tally:?}");
        assert!(tally.other.is_empty(), "{tally:?}");
        let calls = count(&one, "rate_limit_calls_total") + count(&two, "rate_limit_calls_total");
        assert!(calls < 700, "{calls} calls for {tally:?}");
    }
}

/// Everything that a server can do wrong.
fn misdeeds() -> Vec<Deed> {
    vec![
        Deed::Message(vec![]),
        // The code UNKNOWN, and one that there isn't.
        Deed::Message(vec![8, 0]),
        Deed::Message(vec![8, 77]),
        Deed::Message(vec![0xff; 100]),
        Deed::Message(vec![b'x'; 1_000_000]),
        Deed::Status(13),
        Deed::Status(99),
        Deed::Page(500),
        Deed::Page(200),
        Deed::HangUp,
        Deed::Truncated,
    ]
}

#[test]
fn whatever_a_server_does_wrong_requests_are_served_or_refused_as_configured() {
    for kind in envoys() {
        for deed in misdeeds() {
            let stub = Stub::start(deed.clone());
            let allow = config(json!({}), json!({"on_error": "allow"}));
            let allow = gateway(&kind, stub.address, true, &allow);
            let tally = flood(&[&allow], 40, "x-user: alice\r\n");
            assert_eq!((tally.served, tally.denied), (40, 0), "{deed:?}: {tally:?}");
            let failures = count(&allow, "rate_limit_errors_total_cause=service");
            assert!(failures >= 5, "{deed:?}: {failures} failures");
            assert!(stub.calls() > 0, "{deed:?}");
            let deny = config(json!({}), json!({"on_error": "deny"}));
            let deny = gateway(&kind, stub.address, true, &deny);
            let tally = send(deny.address("main"), 10, "x-user: alice\r\n");
            assert_eq!(tally.other, [503; 10], "{deed:?}");
        }
    }
}

#[test]
fn a_server_that_never_answers_is_asked_a_few_times_and_then_left_alone() {
    for kind in envoys() {
        let stub = Stub::start(Deed::Silence);
        let config = config(
            json!({"limits": [{"requests": 30, "per": "1d"}]}),
            json!({"timeout": "20ms", "on_error": "local"}),
        );
        let gateway = gateway(&kind, stub.address, true, &config);
        let tally = flood(&[&gateway], 2000, "x-user: alice\r\n");
        let expected = Tally {
            served: 30,
            denied: 1970,
            other: vec![],
        };
        assert_eq!(tally, expected);
        let paused = count(&gateway, "rate_limit_errors_total_cause=service_paused");
        assert!(paused > 1500, "{paused} of 2000 asked nobody");
    }
}

#[test]
fn headers_and_body_of_the_servers_answer_reach_the_client() {
    for kind in envoys() {
        // OVER_LIMIT; response header x-plan: free; body "slow".
        let over = b"\x08\x02\x1a\x0e\x0a\x06x-plan\x12\x04free\x2a\x04slow";
        let stub = Stub::start(Deed::Message(over.to_vec()));
        let gateway = gateway(&kind, stub.address, true, &config(json!({}), json!({})));
        let response = Client::connect(gateway.address("main")).get("/", "x-user: alice\r\n");
        assert_eq!(response.status, 429);
        assert_eq!(response.header("x-plan"), Some("free"));
        assert_eq!(response.header("retry-after"), Some("1"));
        assert_eq!(response.body, "slow");
        // OK; response header x-plan: gold.
        let stub = Stub::start(Deed::Message(
            b"\x08\x01\x1a\x0e\x0a\x06x-plan\x12\x04gold".to_vec(),
        ));
        let gateway = crate::gateway(&kind, stub.address, true, &config(json!({}), json!({})));
        let response = Client::connect(gateway.address("main")).get("/", "x-user: alice\r\n");
        assert_eq!(
            (response.status, response.header("x-plan")),
            (200, Some("gold"))
        );
    }
}
