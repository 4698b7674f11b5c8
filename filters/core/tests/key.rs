//! What tells one client from another.

use std::collections::BTreeSet;

use filter_core::config;
use filter_core::headers::Headers;
use filter_core::key::{self, Key, Missing, RawKeyPart};
use filter_core::request::{Inputs, Request};
use proptest::prelude::*;

fn key(json: &str) -> Key {
    config::read(
        format!(r#"{{"key": {json}}}"#).as_bytes(),
        |raw: Raw, place| key::check(raw.key, &place.field("key")),
    )
    .unwrap_or_else(|errors| panic!("{errors}"))
}

#[derive(serde::Deserialize)]
struct Raw {
    key: Vec<RawKeyPart>,
}

/// A header's name and value.
type Pair = (&'static str, &'static str);

/// The key of a request from `address` with these headers.
fn write(key: &Key, address: &str, pairs: &[(&str, &str)]) -> (Vec<u8>, Result<(), Missing>) {
    let block = Headers::encode(pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())));
    let mut out = Vec::new();
    let result = key.write(
        &Request {
            headers: Headers::decode(&block),
            source_address: address.as_bytes(),
            route_name: b"shop",
            ..Request::default()
        },
        &mut out,
    );
    (out, result)
}

const CLIENT: &str = "192.0.2.7:5000";

#[test]
fn every_part_tells_requests_apart_and_recognises_them() {
    #[rustfmt::skip]
    let rows: &[(&str, Pair, Pair, Pair)] = &[
        // Key, one client, the same again in another guise, another client.
        (r#"[{"header": "X-User"}]"#, ("x-user", "a"), ("X-USER", "a"), ("x-user", "b")),
        (r#"[{"cookie": "sid"}]"#, ("cookie", "sid=a; x=1"), ("cookie", "x=2; sid=\"a\""), ("cookie", "sid=b")),
        (r#"[{"query": "token"}]"#, (":path", "/?token=a"), (":path", "/x?b=1&tok%65n=%61"), (":path", "/?token=b")),
        (r#"["path"]"#, (":path", "/a?x"), (":path", "/a?y"), (":path", "/b")),
        (r#"[{"path_segment": 2}]"#, (":path", "/t/a/x"), (":path", "/u/a"), (":path", "/t/b/x")),
        (r#"["method"]"#, (":method", "GET"), (":method", "GET"), (":method", "PUT")),
        (r#"["host"]"#, (":authority", "a.com"), (":authority", "A.com:80"), (":authority", "b.com")),
        (r#"[{"client_address": {"trusted_hops": 2}}]"#,
            ("x-forwarded-for", "1.1.1.1, 10.0.0.1"),
            ("x-forwarded-for", "6.6.6.6, 1.1.1.1:99, 10.0.0.9"),
            ("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.0.0.1")),
        (r#"[{"client_address": {"trusted_hops": 1}}]"#,
            ("x-forwarded-for", "2001:db8:0:1::1"),
            ("x-forwarded-for", "[2001:db8:0:1:ffff::2%en0]:1"),
            ("x-forwarded-for", "2001:db8:0:2::1")),
    ];
    for (json, one, again, other) in rows {
        let key = key(json);
        let one = write(&key, CLIENT, &[*one]);
        assert_eq!(one.1, Ok(()), "{json}");
        assert_eq!(one, write(&key, CLIENT, &[*again]), "{json}");
        assert_ne!(one, write(&key, CLIENT, &[*other]), "{json}");
    }
}

#[test]
fn the_connection_counts_without_trusted_hops_and_when_the_list_is_short_or_garbage() {
    let direct = key(r#"[{"client_address": {}}]"#);
    let own = write(&direct, CLIENT, &[]);
    let forged = write(&direct, CLIENT, &[("x-forwarded-for", "6.6.6.6")]);
    assert_eq!(own, forged);
    let behind = key(r#"[{"client_address": {"trusted_hops": 2}}]"#);
    for list in ["", "6.6.6.6", "unknown, 10.0.0.1", ",", "6.6.6.6,,10.0.0.1"] {
        let written = write(&behind, CLIENT, &[("x-forwarded-for", list)]);
        assert_eq!(written, own, "{list:?}");
    }
}

#[test]
fn with_trusted_networks_the_client_is_the_first_address_beyond_them() {
    let key = key(r#"[{"client_address": {"trusted_cidrs": ["192.0.2.0/24", "10.0.0.0/8"]}}]"#);
    let of = |line| write(&key, CLIENT, &[("x-forwarded-for", line)]);
    assert_eq!(of("203.0.113.9"), of("6.6.6.6, 203.0.113.9, 10.0.0.1"));
    assert_ne!(of("203.0.113.9"), of("203.0.113.9, 6.6.6.6"));
    let direct = write(&key, "203.0.113.9:1", &[("x-forwarded-for", "6.6.6.6")]);
    assert_eq!(
        direct,
        of("203.0.113.9"),
        "who isn't trusted isn't believed"
    );
    assert_eq!(
        key.to_string(),
        "client_address:0/32/64/192.0.2.0/24/10.0.0.0/8"
    );
}

#[test]
fn prefixes_join_addresses() {
    let key = key(r#"[{"client_address": {"v4_prefix": 24, "v6_prefix": 48}}]"#);
    let of = |address| write(&key, address, &[]);
    assert_eq!(of("192.0.2.7:1"), of("192.0.2.200:2"));
    assert_ne!(of("192.0.2.7:1"), of("192.0.3.7:1"));
    assert_eq!(of("[2001:db8:1:2::3]:1"), of("[2001:db8:1:ff::]:1"));
    assert_ne!(of("[2001:db8:1::]:1"), of("[2001:db8:2::]:1"));
}

#[test]
fn a_part_that_is_not_there_or_empty_is_missing() {
    #[rustfmt::skip]
    let rows: &[(&str, &[(&str, &str)])] = &[
        (r#"[{"header": "x-user"}]"#, &[]),
        (r#"[{"header": "x-user"}]"#, &[("x-user", "")]),
        (r#"[{"cookie": "sid"}]"#, &[("cookie", "sid=")]),
        (r#"[{"query": "token"}]"#, &[(":path", "/?token")]),
        (r#"[{"path_segment": 3}]"#, &[(":path", "/a/b")]),
        (r#"[{"path_segment": 2}]"#, &[(":path", "/a//b")]),
        (r#"["host"]"#, &[]),
        (r#"[{"constant": "a"}, {"header": "x-user"}]"#, &[]),
    ];
    for (json, pairs) in rows {
        let key = key(json);
        assert_eq!(
            write(&key, CLIENT, pairs).1,
            Err(Missing),
            "{json} {pairs:?}"
        );
        assert!(key.can_miss(), "{json}");
    }
    let address = key(r#"[{"client_address": {}}]"#);
    assert_eq!(write(&address, "/run/x.sock", &[]).1, Err(Missing));
    assert!(!key(r#"[{"constant": "a"}]"#).can_miss());
}

#[test]
fn only_what_the_parts_look_at_is_asked_for() {
    assert_eq!(key("[]").inputs(), Inputs::NONE);
    assert_eq!(key(r#"[{"header": "a"}]"#).inputs(), Inputs::HEADERS);
    assert_eq!(
        key(r#"[{"client_address": {}}]"#).inputs(),
        Inputs::SOURCE_ADDRESS
    );
    assert_eq!(
        key(r#"[{"client_address": {"trusted_hops": 1}}]"#).inputs(),
        Inputs::HEADERS.and(Inputs::SOURCE_ADDRESS)
    );
}

#[test]
fn a_key_describes_itself_the_same_in_every_version() {
    // State is kept under this text: a change here forgets every bucket on upgrade.
    let key = key(
        r#"[{"client_address": {"trusted_hops": 1}}, {"constant": "a,b"},
        {"cookie": "c"}, {"header": "X-D"}, "host", "method", "path", {"path_segment": 2},
        {"query": "q"}, "route_name"]"#,
    );
    assert_eq!(
        key.to_string(),
        r#"client_address:1/32/64,constant:"a,b",cookie:"c",header:x-d,host,method,path,path_segment:2,query:"q",route_name"#
    );
}

#[test]
fn mistakes_are_told_with_their_place() {
    let read = |json: &str| {
        config::read(json.as_bytes(), |raw: Raw, place| {
            key::check(raw.key, &place.field("key"))
        })
    };
    let errors = read(
        r#"{"key": [{"header": "a b"}, {"client_address": {"v4_prefix": 33}}, {"cookie": ""},
            {"path_segment": 0}, "address"]}"#,
    )
    .unwrap_err();
    let paths: Vec<_> = errors.iter().map(config::ConfigError::path).collect();
    assert_eq!(
        paths,
        [
            "key[0].header",
            "key[1].client_address.v4_prefix",
            "key[2].cookie",
            "key[3].path_segment",
            "key[4]",
        ]
    );
}

proptest! {
    /// Whatever clients send, two requests have one key only if all its parts are equal.
    #[test]
    fn different_parts_never_make_the_same_key(
        requests in prop::collection::vec(
            prop::collection::vec(prop::option::of("[a\\x00\\x01]{0,3}"), 3), 2..40),
    ) {
        let key = key(r#"[{"header": "a"}, {"header": "b"}, {"header": "c"}]"#);
        let mut parts = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for values in &requests {
            let pairs: Vec<_> = ["a", "b", "c"]
                .into_iter()
                .zip(values)
                .filter_map(|(name, value)| Some((name, value.as_deref()?)))
                .collect();
            // An empty value is a missing one.
            parts.insert(values.iter().map(|v| v.clone().unwrap_or_default()).collect::<Vec<_>>());
            keys.insert(write(&key, CLIENT, &pairs).0);
        }
        prop_assert_eq!(parts.len(), keys.len());
    }

    #[test]
    fn no_input_is_a_trap(
        block in prop::collection::vec(any::<u8>(), 0..200),
        address in prop::collection::vec(any::<u8>(), 0..50),
        lists in prop::collection::vec("[0-9a-f:.,\\[\\]% ]{0,40}", 0..3),
    ) {
        let key = key(r#"[{"client_address": {"trusted_hops": 2}}, {"cookie": "a"}, {"query": "q"},
            "host", {"path_segment": 1}]"#);
        let headers = Headers::decode(&block);
        let request = Request { headers, source_address: &address, ..Request::default() };
        let _ = key.write(&request, &mut Vec::new());
        let lines: Vec<_> = lists.iter().map(|list| ("x-forwarded-for", &**list)).collect();
        let _ = write(&key, CLIENT, &lines);
    }
}
