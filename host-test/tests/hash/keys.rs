//! Hot keys, and keys in bodies.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::client::Client;
use crate::rig::{Rig, backends, hosts, port};

#[test]
fn a_key_with_half_of_the_traffic_is_spread_and_the_others_stay_put() {
    let backends = backends(8);
    let config = json!({
        "key": [{"header": "x-key"}],
        "hosts": hosts(&backends),
        "hot_keys": {"hot_share": 0.2, "spread": 3, "window": "1m"},
    });
    let Some(rig) = Rig::start(&config, &backends, None) else {
        return;
    };
    // One connection, so one worker: hot is what is hot in a worker.
    let mut client = rig.connect();
    let cold: Vec<_> = (0..200)
        .map(|key| rig.host_of(&mut client, &format!("k{key}")))
        .collect();
    let own = rig.host_of(&mut client, "hot");
    let mut hot: BTreeMap<u16, usize> = BTreeMap::new();
    for round in 0..1200 {
        let host = rig.host_of(&mut client, "hot");
        if round >= 600 {
            *hot.entry(host).or_default() += 1;
        }
        let key = round % 200;
        assert_eq!(
            rig.host_of(&mut client, &format!("k{key}")),
            cold[key],
            "k{key}"
        );
    }
    assert_eq!(
        hot.values().copied().collect::<Vec<_>>(),
        [200, 200, 200],
        "{hot:?}"
    );
    assert!(hot.contains_key(&own));
}

fn ask(client: &mut Client, pieces: &[&str]) -> u16 {
    let mut request =
        "POST /v1/chat HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    for piece in pieces {
        request.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    request.push_str("0\r\n\r\n");
    client.send(&request);
    port(&client.response())
}

#[test]
fn prompts_with_the_same_beginning_meet_the_same_host_however_they_are_cut() {
    let backends = backends(8);
    let config = json!({
        "key": [{"json_body": {"pointer": "/messages/0/content", "first_bytes": 60}}],
        "hosts": hosts(&backends),
    });
    let Some(rig) = Rig::start(&config, &backends, None) else {
        return;
    };
    let mut client = rig.connect();
    let body = |system: &str, rest: &str| {
        json!({"model": "m", "messages": [
            {"role": "system", "content": format!("{system}: you answer in \u{e9}l\u{e9}gant, short and friendly sentences. {rest}")},
            {"role": "user", "content": rest},
        ]})
        .to_string()
    };
    let mut met = BTreeSet::new();
    for number in 0..24 {
        let system = format!("Prompt {number}");
        let one = body(&system, "first");
        let host = ask(&mut client, &[&one]);
        met.insert(host);
        let other = body(&system, "another question");
        // Cut in the middle of names, of values and of characters.
        for cut in (1..90)
            .step_by(7)
            .filter(|cut| other.is_char_boundary(*cut))
        {
            let (start, end) = other.split_at(cut);
            assert_eq!(
                ask(&mut client, &[start, end]),
                host,
                "{number} cut at {cut}"
            );
        }
        let escaped = other.replace('\u{e9}', "\\u00e9");
        assert_eq!(ask(&mut client, &[&escaped]), host, "{number} escaped");
        let long = body(&system, &"x".repeat(100_000));
        assert_eq!(ask(&mut client, &[&long]), host, "{number} long");
    }
    assert!(
        met.len() >= 6,
        "different prompts meet different hosts: {met:?}"
    );
}

#[test]
fn a_body_without_the_value_is_served_all_the_same() {
    let backends = backends(4);
    let config = json!({
        "key": [{"json_body": {"pointer": "/user"}}, {"header": "x-key"}],
        "body_limit": 4096,
        "hosts": hosts(&backends),
    });
    let Some(rig) = Rig::start(&config, &backends, None) else {
        return;
    };
    let mut client = rig.connect();
    let own = rig.host_of(&mut client, "fallback");
    let too_long = format!("{{\"a\": \"{}\", \"user\": 1}}", "x".repeat(50_000));
    for body in [
        "",
        "{",
        "nonsense",
        "{\"user\": null}",
        "{\"us",
        "[1]",
        &*too_long,
    ] {
        client.send(&format!(
            "POST / HTTP/1.1\r\nhost: a\r\nx-key: fallback\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(port(&client.response()), own, "{:.40}", body);
    }
}

#[test]
fn a_client_is_given_a_session_that_all_workers_know() {
    let backends = backends(8);
    let config = json!({
        "key": ["session_cookie"],
        "session_cookie": {"secrets": ["0123456789abcdef"], "ttl": "1h"},
        "hosts": hosts(&backends),
    });
    let Some(rig) = Rig::start(&config, &backends, None) else {
        return;
    };
    let mut met = BTreeSet::new();
    for _ in 0..24 {
        let first = rig.connect().get("/", "");
        let host = port(&first);
        met.insert(host);
        let cookie = first.header("set-cookie").expect("a cookie is given");
        let value = cookie.split(';').next().expect("a value");
        for _ in 0..4 {
            let again = rig.connect().get("/", &format!("cookie: a=b; {value}\r\n"));
            assert_eq!(port(&again), host);
            assert_eq!(again.header("set-cookie"), None);
        }
        let forged = value.replace(|c: char| c.is_ascii_digit(), "0");
        let given = rig.connect().get("/", &format!("cookie: {forged}\r\n"));
        assert!(
            given.header("set-cookie").is_some(),
            "one that was made up is none"
        );
    }
    assert!(met.len() >= 6, "{met:?}");
}
