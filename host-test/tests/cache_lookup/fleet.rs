//! Two Envoys that share a cache in Redis.

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Envoy, until};
use crate::origin::{Origin, body};
use crate::redis::Redis;

/// A request waits for Redis as long as it takes.
pub(crate) fn config() -> Value {
    json!({
        "remote": {"cluster": "cache", "timeout": "5s", "hedge_after": "5s"},
        "purge": {"secret": "a-secret-of-the-tests"},
    })
}

/// Asks for what nobody has until both workers ask the remote tier.
pub(crate) fn until_remote_is_asked(envoy: &Envoy, name: &str) {
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
pub(crate) fn until_both_use(redis: &Redis, envoys: [&Envoy; 2]) {
    for (envoy, name) in envoys.into_iter().zip(["a", "b"]) {
        until_remote_is_asked(envoy, name);
    }
    let stored = || -> u64 {
        let stored = envoys.map(|envoy| envoy.counter("cache_lookup_stored_total"));
        stored.into_iter().sum()
    };
    until("all is in Redis", || redis.keys().len() as u64 == stored());
}

/// Has an Envoy store what the origin has under new paths, and waits until it is all in Redis.
#[track_caller]
pub(crate) fn fill(redis: &Redis, envoy: &Envoy, paths: &[impl AsRef<str>]) {
    let before = redis.keys().len();
    for path in paths.iter().map(AsRef::as_ref) {
        assert_eq!(envoy.connect().get(path, "").body, body(path, 0));
    }
    until("all are in Redis", || {
        redis.keys().len() == before + paths.len()
    });
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
    let paths = ["/1/x", "/1000/y", "/100000/z", "/1000000/large"];
    fill(&redis, &first, &paths);
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

/// A client's write.
fn write(client: &mut Client, method: &str, path: &str) {
    client.send(&format!(
        "{method} {path} HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n"
    ));
    assert_eq!(client.response().status, 204, "{method}");
}

#[test]
fn a_write_at_one_envoy_is_heard_of_at_the_other_one() {
    let redis = Redis::start();
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let start = || Envoy::start(&config(), origin.address, Some(redis.address));
    let (Some(first), Some(second)) = (start(), start()) else {
        return;
    };
    until_both_use(&redis, [&first, &second]);
    let (written, kept) = ("/1000/written", "/1000/kept");
    for path in [written, kept] {
        assert_eq!(first.connect().get(path, "").body, body(path, 0));
        assert_eq!(second.connect().get(path, "").body, body(path, 0));
    }
    for (method, version) in ["POST", "PUT", "DELETE"].into_iter().zip(1..) {
        let (writer, reader) = if version == 2 {
            (&second, &first)
        } else {
            (&first, &second)
        };
        write(&mut writer.connect(), method, written);
        assert_eq!(
            writer.connect().get(written, "").body,
            body(written, version),
            "at once where it passed"
        );
        until("the other one has heard of it", || {
            reader.connect().get(written, "").body == body(written, version)
        });
        // Nobody goes back to what Redis had.
        for envoy in [&first, &second] {
            for _ in 0..8 {
                assert_eq!(
                    envoy.connect().get(written, "").body,
                    body(written, version)
                );
            }
        }
    }
    let requests = origin.requests();
    for envoy in [&first, &second] {
        assert_eq!(envoy.connect().get(kept, "").body, body(kept, 0));
    }
    assert_eq!(origin.requests(), requests, "what wasn't written is kept");
}

#[test]
fn writes_do_not_keep_a_fleet_from_asking_redis() {
    let redis = Redis::start();
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let start = || Envoy::start(&config(), origin.address, Some(redis.address));
    let (Some(first), Some(second)) = (start(), start()) else {
        return;
    };
    until_both_use(&redis, [&first, &second]);
    let paths: Vec<_> = (0..10).map(|number| format!("/1000/p{number}")).collect();
    fill(&redis, &first, &paths);
    let (mut writer, hits) = (second.connect(), "cache_lookup_remote_hits_total");
    let hits_before = second.counter(hits);
    for (path, number) in paths.iter().zip(1..) {
        write(&mut writer, "POST", &format!("/10/w{number}"));
        assert_eq!(second.connect().get(path, "").body, body(path, 0));
        assert_eq!(second.counter(hits), hits_before + number, "{path}");
    }
}
