//! A Redis that is dead, slow, or full of garbage.

use std::time::Instant;

use serde_json::json;

use crate::fleet::{config, fill, until_both_use, until_remote_is_asked};
use crate::gateway::{Envoy, until};
use crate::origin::{Origin, body};
use crate::redis::Redis;
use crate::upstream::Upstream;

#[test]
fn with_redis_killed_all_is_as_if_there_were_none() {
    let mut redis = Redis::start();
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let Some(envoy) = Envoy::start(&config(), origin.address, Some(redis.address)) else {
        return;
    };
    until_remote_is_asked(&envoy, "a");
    redis.kill();
    for number in 0..40 {
        let path = format!("/1000/k{number}");
        for _ in 0..2 {
            let answer = envoy.connect().get(&path, "");
            assert_eq!((answer.status, &*answer.body), (200, &*body(&path, 0)));
        }
    }
    drop(redis);
    for number in 0..40 {
        let path = format!("/1000/l{number}");
        let answer = envoy.connect().get(&path, "");
        assert_eq!((answer.status, &*answer.body), (200, &*body(&path, 0)));
    }
}

#[test]
fn a_redis_that_never_answers_is_soon_left_alone() {
    let silent = Upstream::new(|mut connection| {
        connection.drain();
    });
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let config = json!({"remote": {"cluster": "cache", "timeout": "20ms"}});
    let Some(envoy) = Envoy::start(&config, origin.address, Some(silent.address)) else {
        return;
    };
    for number in 0..100 {
        let path = format!("/1000/k{number}");
        for _ in 0..2 {
            let answer = envoy.connect().get(&path, "");
            assert_eq!((answer.status, &*answer.body), (200, &*body(&path, 0)));
        }
    }
    assert_eq!(origin.requests(), 100);
}

/// Requests wait for Redis a short while; it may take a minute.
fn hedged() -> serde_json::Value {
    json!({"remote": {"cluster": "cache", "timeout": "1m", "hedge_after": "10ms"}})
}

#[test]
fn a_request_goes_to_the_origin_while_redis_takes_its_time() {
    let redis = Redis::start();
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let Some(envoy) = Envoy::start(&hedged(), origin.address, Some(redis.address)) else {
        return;
    };
    until_remote_is_asked(&envoy, "a");
    let hedged_before = envoy.counter("cache_lookup_remote_hedged_total");
    redis.stop();
    let before = origin.requests();
    // Each worker gives Redis up after five.
    let mut took = Vec::new();
    for number in 0..30 {
        let path = format!("/1000/k{number}");
        let begun = Instant::now();
        for _ in 0..2 {
            let answer = envoy.connect().get(&path, "");
            assert_eq!((answer.status, &*answer.body), (200, &*body(&path, 0)));
        }
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    eprintln!("two requests each took, the fastest first: {took:?}");
    assert_eq!(origin.requests(), before + 30);
    let hedged = envoy.counter("cache_lookup_remote_hedged_total") - hedged_before;
    assert!((5..30).contains(&hedged), "{hedged}");
    redis.go_on();
    assert_eq!(
        envoy.connect().get("/1000/k0", "").body,
        body("/1000/k0", 0)
    );
}

#[test]
fn redis_still_wins_if_it_answers_before_the_origin() {
    let redis = Redis::start();
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let start = |config| Envoy::start(config, origin.address, Some(redis.address));
    let (Some(first), Some(second)) = (start(&config()), start(&hedged())) else {
        return;
    };
    until_remote_is_asked(&first, "a");
    until_remote_is_asked(&second, "b");
    let before = redis.keys().len();
    let path = "/50000/both";
    assert_eq!(first.connect().get(path, "").body, body(path, 0));
    until("it is in Redis", || redis.keys().len() == before + 1);
    redis.stop();
    origin.close();
    let requests = origin.requests();
    let hedged_before = second.counter("cache_lookup_remote_hedged_total");
    let mut clients: Vec<_> = (0..20).map(|_| second.connect()).collect();
    for client in &clients {
        client.send(&format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n"));
    }
    until("one of them is at the origin", || {
        second.counter("cache_lookup_remote_hedged_total") == hedged_before + 1
            && origin.requests() == requests + 1
    });
    redis.go_on();
    for client in &mut clients {
        let answer = client.response();
        assert_eq!((answer.status, &*answer.body), (200, &*body(path, 0)));
        assert!(answer.header("age").is_some());
    }
    origin.open();
    // The connections are as good as before.
    for client in &mut clients {
        assert_eq!(client.get(path, "").body, body(path, 0));
    }
    assert_eq!(origin.requests(), requests + 1);
}

#[test]
fn garbage_in_redis_is_never_served() {
    let redis = Redis::start();
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let start = || Envoy::start(&config(), origin.address, Some(redis.address));
    let (Some(first), Some(second)) = (start(), start()) else {
        return;
    };
    until_both_use(&redis, [&first, &second]);
    let paths: Vec<_> = (0..20).map(|number| format!("/1000/g{number}")).collect();
    fill(&redis, &first, &paths);
    for (number, key) in redis.keys().iter().enumerate() {
        match number % 4 {
            0 => redis.command(&["SET", key, "garbage"]),
            1 => redis.command(&["SETRANGE", key, "700", "garbage"]),
            // Another object's bytes, whole.
            2 => redis.command(&["COPY", &redis.keys()[0], key, "REPLACE"]),
            _ => {
                redis.command(&["LPUSH", "penstock:keys", "garbage"]);
                redis.command(&["LPUSH", "penstock:purges", "garbage"])
            }
        };
    }
    for path in &paths {
        let answer = second.connect().get(path, "");
        assert_eq!(
            (answer.status, &*answer.body),
            (200, &*body(path, 0)),
            "{path}"
        );
    }
}
