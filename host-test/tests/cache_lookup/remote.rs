//! Two Envoys that share a cache in Redis; and a Redis that is dead, slow, or full of garbage.

use serde_json::{Value, json};

use crate::gateway::{Envoy, until};
use crate::origin::{Origin, body};
use crate::redis::Redis;
use crate::upstream::Upstream;

fn config() -> Value {
    json!({
        "remote": {"cluster": "cache", "timeout": "5s"},
        "purge": {"secret": "a-secret-of-the-tests"},
    })
}

/// Asks for what nobody has until both workers ask the remote tier.
fn until_remote_is_asked(envoy: &Envoy, name: &str) {
    let mut clients: Vec<_> = (0..16).map(|_| envoy.connect()).collect();
    let mut number = 0;
    until("the remote tier is asked", || {
        let before = envoy.counter("cache_lookup_remote_requests_total");
        for client in &mut clients {
            number += 1;
            client.get(&format!("/10/{name}{number}"), "");
        }
        envoy.counter("cache_lookup_remote_requests_total") == before + 16
    });
}

/// Waits until both Envoys ask the remote tier, and what they stored is there.
fn until_both_use(redis: &Redis, envoys: [&Envoy; 2]) {
    for (envoy, name) in envoys.into_iter().zip(["a", "b"]) {
        until_remote_is_asked(envoy, name);
    }
    let stored = || -> u64 {
        let stored = envoys.map(|envoy| envoy.counter("cache_lookup_stored_total"));
        stored.into_iter().sum()
    };
    until("all is in Redis", || redis.keys().len() as u64 == stored());
}

#[test]
fn the_second_envoy_hits_what_the_first_one_stored_and_a_purge_reaches_both() {
    let redis = Redis::start();
    let origin = Origin::start("cache-control: max-age=600\r\nsurrogate-key: news\r\n");
    let start = || Envoy::start(&config(), origin.address, Some(redis.address));
    let (Some(first), Some(second)) = (start(), start()) else {
        return;
    };
    until_both_use(&redis, [&first, &second]);
    let before = redis.keys().len();
    let paths = ["/1/x", "/1000/y", "/100000/z", "/1000000/large"];
    for path in paths {
        assert_eq!(first.connect().get(path, "").body, body(path, 0));
    }
    until("all are in Redis", || {
        redis.keys().len() == before + paths.len()
    });
    let requests = origin.requests();
    for path in paths {
        let answer = second.connect().get(path, "");
        assert_eq!(
            (answer.status, &*answer.body),
            (200, &*body(path, 0)),
            "{path}"
        );
        assert!(answer.header("age").is_some(), "{path}");
        assert_eq!(second.connect().get(path, "").body, body(path, 0));
    }
    assert_eq!(origin.requests(), requests);
    assert_eq!(second.counter("cache_lookup_remote_hits_total"), 4);
    for path in paths {
        origin.change(path);
    }
    let client = first.connect();
    client.send(
        "PURGE / HTTP/1.1\r\nhost: a.example\r\nx-purge-secret: a-secret-of-the-tests\r\n\
         x-purge-tag: news\r\n\r\n",
    );
    let mut client = client;
    assert_eq!(client.response().status, 200);
    for path in paths {
        assert_eq!(
            first.connect().get(path, "").body,
            body(path, 1),
            "at once where it was asked for"
        );
        until("the other one has read of it", || {
            second.connect().get(path, "").body == body(path, 1)
        });
    }
}

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

#[test]
fn garbage_in_redis_is_never_served() {
    let redis = Redis::start();
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let start = || Envoy::start(&config(), origin.address, Some(redis.address));
    let (Some(first), Some(second)) = (start(), start()) else {
        return;
    };
    until_both_use(&redis, [&first, &second]);
    let before = redis.keys().len();
    let paths: Vec<_> = (0..20).map(|number| format!("/1000/g{number}")).collect();
    for path in &paths {
        assert_eq!(first.connect().get(path, "").body, body(path, 0));
    }
    until("all are in Redis", || {
        redis.keys().len() == before + paths.len()
    });
    for (number, key) in redis.keys().iter().enumerate() {
        match number % 4 {
            0 => redis.command(&["SET", key, "garbage"]),
            1 => redis.command(&["SETRANGE", key, "700", "garbage"]),
            // Another object's bytes, whole.
            2 => redis.command(&["COPY", &redis.keys()[0], key, "REPLACE"]),
            _ => redis.command(&["LPUSH", "penstock:purges", "garbage"]),
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
