//! Purges on every worker, and memory that stays bounded.

use serde_json::json;

use crate::client::Client;
use crate::gateway::Envoy;
use crate::origin::{Origin, body};

/// So many connections that both workers have some.
const CONNECTIONS: usize = 16;

#[test]
fn after_a_purge_by_key_prefix_tag_or_all_every_worker_has_the_new_version() {
    let origin = Origin::start("cache-control: max-age=600\r\nsurrogate-key: news sport\r\n");
    let config = json!({"purge": {"secret": "a-secret-of-the-tests"}});
    let Some(envoy) = Envoy::start(&config, origin.address, None) else {
        return;
    };
    let path = "/2000/purged/page";
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| envoy.connect()).collect();
    let hows = [
        "",
        "x-purge-scope: prefix\r\n",
        "x-purge-tag: sport\r\n",
        "x-purge-scope: all\r\n",
    ];
    for (how, version) in hows.iter().zip(0..) {
        // Asked for so often that the workers remember it themselves.
        for number in 0..3 * CONNECTIONS {
            let client = &mut clients[number % CONNECTIONS];
            assert_eq!(client.get(path, "").body, body(path, version), "{how}");
        }
        let requests = origin.requests();
        assert_eq!(requests, version + 1, "{how}: all others were hits");
        origin.change(path);
        assert_eq!(clients[1].get(path, "").body, body(path, version));
        let refused = format!("PURGE {path} HTTP/1.1\r\nhost: a.example\r\n{how}\r\n");
        clients[0].send(&refused);
        assert_eq!(clients[0].response().status, 403);
        clients[0].send(&refused.replacen(
            "\r\n",
            "\r\nx-purge-secret: a-secret-of-the-tests\r\n",
            1,
        ));
        assert_eq!(clients[0].response().status, 200);
        for client in &mut clients {
            assert_eq!(client.get(path, "").body, body(path, version + 1), "{how}");
        }
    }
}

#[test]
fn a_post_makes_every_worker_forget_what_is_stored_for_its_target() {
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let Some(envoy) = Envoy::start(&json!({}), origin.address, None) else {
        return;
    };
    let path = "/2000/posted";
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| envoy.connect()).collect();
    for version in 0..5 {
        for number in 0..2 * CONNECTIONS {
            let client = &mut clients[number % CONNECTIONS];
            assert_eq!(client.get(path, "").body, body(path, version));
        }
        let post = format!("POST {path} HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n");
        clients[0].send(&post);
        assert_eq!(clients[0].response().status, 204);
    }
    assert_eq!(origin.requests(), 10);
}

#[test]
fn ten_times_max_bytes_leave_the_process_within_it_and_the_hot_set_in_the_store() {
    const MIB: u64 = 1024 * 1024;
    let max_bytes = 16 * MIB;
    let config = json!({"store": {
        "max_bytes": max_bytes, "max_object_bytes": 6 * MIB, "worker_bytes": 2 * MIB,
    }});
    let origin = Origin::start("cache-control: max-age=600\r\n");
    let Some(envoy) = Envoy::start(&config, origin.address, None) else {
        return;
    };
    let mut client = envoy.connect();
    let mut get = |path: &str| {
        let answer = client.get(path, "");
        assert_eq!(answer.body, body(path, 0));
        answer.header("age").is_some()
    };
    let lengths = [100, 1000, 10_000, 100_000, 700_000, 5_000_000];
    // What the process needs besides: buffers for such bodies, the workers' own memory.
    for warm in 0..6 {
        get(&format!("/5000000/warm{warm}"));
    }
    let before = envoy.resident();
    let hot: Vec<_> = (0..40)
        .map(|number| format!("/{}/hot{number}", [300, 3000, 50_000, 200_000][number % 4]))
        .collect();
    for _ in 0..4 {
        for path in &hot {
            get(path);
        }
    }
    let (mut sent, mut hits, mut asked) = (0, 0, 0);
    for number in 0.. {
        let length = lengths[number % lengths.len()];
        get(&format!("/{length}/scan{number}"));
        sent += length as u64;
        let path = &hot[number % hot.len()];
        asked += 1;
        hits += u32::from(get(path));
        if sent > 10 * max_bytes {
            break;
        }
    }
    let rate = f64::from(hits) / f64::from(asked);
    assert!(rate > 0.95, "{rate} of {asked}");
    let grown = envoy.resident().saturating_sub(before);
    eprintln!(
        "grown by {} KiB while {} MiB passed, hot set's hits {rate}",
        grown / 1024,
        sent / MIB
    );
    // The store, what the workers remember, and what the allocator and the VMs keep in reserve.
    let most = max_bytes + 2 * 2 * MIB + 32 * MIB;
    assert!(grown < most, "{grown} bytes, more than {most}");
}
