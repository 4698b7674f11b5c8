//! Many clients on one key, and origins that are gone.

use serde_json::json;

use crate::gateway::{Envoy, until};
use crate::origin::{Origin, body};

#[test]
fn a_thousand_clients_on_a_cold_key_make_one_request_upstream() {
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let config = json!({"collapse": {"wait": "60s"}});
    let Some(envoy) = Envoy::start(&config, origin.address, None) else {
        return;
    };
    origin.close();
    let mut clients: Vec<_> = (0..1000).map(|_| envoy.connect()).collect();
    for client in &clients {
        client.send("GET /1000/cold HTTP/1.1\r\nhost: a.example\r\n\r\n");
    }
    until("999 wait", || {
        envoy.counter("cache_lookup_waited_total") == 999
    });
    origin.open();
    for client in &mut clients {
        let answer = client.response();
        assert_eq!(
            (answer.status, &*answer.body),
            (200, &*body("/1000/cold", 0))
        );
    }
    assert_eq!(origin.requests(), 1);
}

#[test]
fn those_who_wait_for_what_is_not_stored_all_go_upstream() {
    let origin = Origin::start("cache-control: no-store\r\n");
    let config = json!({"collapse": {"wait": "60s"}});
    let Some(envoy) = Envoy::start(&config, origin.address, None) else {
        return;
    };
    origin.close();
    let mut clients: Vec<_> = (0..50).map(|_| envoy.connect()).collect();
    for client in &clients {
        client.send("GET /1000/private HTTP/1.1\r\nhost: a.example\r\n\r\n");
    }
    until("49 wait", || {
        envoy.counter("cache_lookup_waited_total") == 49
    });
    origin.open();
    for client in &mut clients {
        assert_eq!(client.response().body, body("/1000/private", 0));
    }
    assert_eq!(origin.requests(), 50);
    // It is remembered: nobody waits any more.
    origin.close();
    for client in &clients {
        client.send("GET /1000/private HTTP/1.1\r\nhost: a.example\r\n\r\n");
    }
    until("all are upstream", || origin.requests() == 100);
    origin.open();
    assert_eq!(envoy.counter("cache_lookup_waited_total"), 49);
}

#[test]
fn when_the_leaders_client_goes_away_the_next_one_leads() {
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let config = json!({"collapse": {"wait": "60s"}});
    let Some(envoy) = Envoy::start(&config, origin.address, None) else {
        return;
    };
    origin.close();
    let leader = envoy.connect();
    leader.send("GET /1000/left HTTP/1.1\r\nhost: a.example\r\n\r\n");
    until("the leader is upstream", || origin.requests() == 1);
    let mut clients: Vec<_> = (0..30).map(|_| envoy.connect()).collect();
    for client in &clients {
        client.send("GET /1000/left HTTP/1.1\r\nhost: a.example\r\n\r\n");
    }
    until("30 wait", || {
        envoy.counter("cache_lookup_waited_total") == 30
    });
    drop(leader);
    until("another one leads", || origin.requests() == 2);
    origin.open();
    for client in &mut clients {
        assert_eq!(client.response().body, body("/1000/left", 0));
    }
    assert_eq!(origin.requests(), 2);
}

#[test]
fn when_the_origin_dies_stale_answers_are_served() {
    let origin = Origin::start("cache-control: max-age=0, stale-if-error=600\r\n");
    let Some(envoy) = Envoy::start(&json!({}), origin.address, None) else {
        return;
    };
    let mut client = envoy.connect();
    assert_eq!(client.get("/1000/kept", "").status, 200);
    origin.die(true);
    for _ in 0..20 {
        let answer = envoy.connect().get("/1000/kept", "");
        assert_eq!(
            (answer.status, &*answer.body),
            (200, &*body("/1000/kept", 0))
        );
        assert!(answer.header("age").is_some());
    }
    assert_eq!(envoy.connect().get("/1000/unknown", "").status, 503);
    origin.die(false);
    origin.change("/1000/kept");
    assert_eq!(
        envoy.connect().get("/1000/kept", "").body,
        body("/1000/kept", 1)
    );
}
