//! jwt-auth as a module: its shell, its hostcalls, its care for keys over several workers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use host_test::host::{Answer, Host, HostBuilder};
use host_test::reply::Reply;

use crate::module::plugin;
use crate::p256_key::{Key, base64url, jwks};

/// The wall clock of a fresh host.
pub(crate) const NOW: u64 = 1_767_225_600;

/// A token of issuer `i` for a user.
fn issue(key: &Key, user: &str) -> String {
    key.sign_claims(&format!(
        r#"{{"iss":"i","sub":"{user}","exp":{}}}"#,
        NOW + 1_000_000
    ))
}

fn with(provider: &str, more: &str) -> HostBuilder {
    let config = format!(
        r#"{{"providers": {{"p": {{"issuer": "i", "forward": true, {provider}}}}},
             "rules": [{{"match": {{"prefix": "/open"}}}},
                       {{"match": {{"prefix": "/"}}, "requires": {{"provider_name": "p"}}}}]{more}}}"#
    );
    Host::builder().plugin(plugin("jwt_auth").config_json(&config))
}

fn local(keys: &[&Key]) -> Host {
    let text = jwks(keys).replace('"', "\\\"");
    let provider = format!(r#""local_jwks": {{"inline_string": "{text}"}}"#);
    with(&provider, "").build().expect("starts")
}

fn remote(more: &str) -> HostBuilder {
    let provider = format!(
        r#""remote_jwks": {{"http_uri": {{"uri": "https://idp.example.com/keys", "cluster": "idp",
            "timeout": "2s"}} {more}}}"#
    );
    with(&provider, "").cluster("idp")
}

fn send(host: &Host, token: &str) -> Reply {
    let request = host
        .get("/")
        .header("authorization", format!("Bearer {token}"));
    request.send()
}

pub(crate) fn reason(reply: &Reply) -> String {
    let details = reply.details();
    let (_, rest) = details.split_once("reason=").unwrap_or_default();
    rest.trim_end_matches('}').to_owned()
}

/// What an issuer answers to fetches, changeable, and how often it was asked.
#[derive(Clone, Default)]
struct Issuer {
    /// None: 503.
    answer: Rc<RefCell<Option<String>>>,
    is_silent: Rc<Cell<bool>>,
    fetches: Rc<Cell<usize>>,
}

impl Issuer {
    fn new(keys: &[&Key]) -> Self {
        let issuer = Self::default();
        issuer.publish(keys);
        issuer
    }

    fn publish(&self, keys: &[&Key]) {
        *self.answer.borrow_mut() = Some(jwks(keys));
    }

    fn break_down(&self) {
        *self.answer.borrow_mut() = None;
    }

    fn fetches(&self) -> usize {
        self.fetches.get()
    }

    fn serve(&self, host: HostBuilder) -> HostBuilder {
        let issuer = self.clone();
        host.callouts(move |request| {
            assert_eq!(request.headers.text(":path").as_deref(), Some("/keys"));
            assert_eq!(
                request.headers.text(":authority").as_deref(),
                Some("idp.example.com")
            );
            issuer.fetches.set(issuer.fetches.get() + 1);
            match &*issuer.answer.borrow() {
                _ if issuer.is_silent.get() => Answer::Never,
                Some(keys) => Answer::status(200, keys.clone()),
                None => Answer::status(503, "no"),
            }
        })
    }
}

#[test]
fn tokens_stay_within_their_hostcall_budgets() {
    let key = Key::new("one");
    let host = local(&[&key]);
    let token = issue(&key, "ana");
    let remembered: BTreeMap<&str, u64> = [
        ("proxy_get_header_map_pairs", 1),
        ("proxy_get_current_time_nanoseconds", 1),
        ("proxy_increment_metric", 2),
    ]
    .into();
    let mut fresh = remembered.clone();
    fresh.insert("proxy_call_foreign_function", 1);
    assert_eq!(send(&host, &token).hostcalls(), fresh);
    assert_eq!(send(&host, &token).hostcalls(), remembered);
    let wrong = issue(&Key::new("two"), "eve").replace("two", "one");
    let refused = send(&host, &wrong);
    let calls: u64 = refused.hostcalls().values().sum();
    assert_eq!(calls, 4 + 3, "{:?}", refused.hostcalls());
    // The headers, the time, and the rule's counter.
    let open = host.get("/open").send();
    let calls: u64 = open.hostcalls().values().sum();
    assert_eq!(calls, 3, "{:?}", open.hostcalls());
}

#[test]
fn the_host_checks_signatures_and_decides_right() {
    let (key, other) = (Key::new("one"), Key::new("two"));
    let host = local(&[&key, &other]);
    assert_eq!(send(&host, &issue(&key, "ana")).status(), Some(200));
    assert_eq!(send(&host, &issue(&other, "ana")).status(), Some(200));
    // Another key's signature under this one's name.
    let good = issue(&key, "ana");
    let bad = issue(&other, "bo");
    let (input, _) = good.rsplit_once('.').expect("three parts");
    let (_, signature) = bad.rsplit_once('.').expect("three parts");
    let refused = send(&host, &format!("{input}.{signature}"));
    assert_eq!(
        (refused.status(), &*reason(&refused)),
        (Some(401), "bad_signature")
    );
    assert_eq!(
        refused.header("www-authenticate").as_deref(),
        Some(
            "Bearer realm=\"http://localhost/\", error=\"invalid_token\", \
             error_description=\"no key of the set made the token's signature\""
        )
    );
    assert!(refused.upstream_request().is_none());
    let state = refused.filter_state().get("wasm.jwt_auth_decision");
    assert_eq!(
        state.map(Vec::as_slice),
        Some(&b"deny=bad_signature rule=rule-1"[..])
    );
}

#[test]
fn keys_are_fetched_once_for_all_workers_before_anybody_asks() {
    let key = Key::new("one");
    let issuer = Issuer::new(&[&key]);
    let host = issuer.serve(remote("")).workers(4).build().expect("starts");
    host.advance(Duration::from_millis(200));
    assert_eq!(issuer.fetches(), 1);
    for worker in 1..=4 {
        let request = host
            .get("/")
            .worker(worker)
            .header("authorization", format!("Bearer {}", issue(&key, "ana")));
        assert_eq!(request.send().status(), Some(200), "worker {worker}");
    }
    assert_eq!(issuer.fetches(), 1);
    assert_eq!(
        host.metrics()["jwt_auth_jwks_fetches_total_provider=p_outcome=success"],
        1
    );
    assert_eq!(host.violations(), [""; 0]);
}

#[test]
fn fifty_cold_requests_wait_for_one_fetch() {
    let key = Key::new("one");
    let issuer = Issuer::new(&[&key]);
    issuer.is_silent.set(true);
    let host = issuer.serve(remote("")).workers(2).build().expect("starts");
    let flights: Vec<_> = (0..50)
        .map(|n| {
            let token = format!("Bearer {}", issue(&key, &format!("user-{n}")));
            host.get("/").header("authorization", token).start()
        })
        .collect();
    host.advance(Duration::from_millis(500));
    assert!(flights.iter().all(|flight| flight.is_paused()));
    assert_eq!(issuer.fetches(), 1);
    let waiting = host.waiting_callouts();
    host.answer(&waiting[0], Answer::status(200, jwks(&[&key])))
        .expect("waits");
    host.advance(Duration::from_millis(100));
    for flight in flights {
        assert_eq!(flight.finish().status(), Some(200));
    }
    assert_eq!(issuer.fetches(), 1);
    assert_eq!(host.violations(), [""; 0]);
}

#[test]
fn requests_do_not_wait_longer_than_told_nor_more_than_so_many() {
    let key = Key::new("one");
    let issuer = Issuer::default();
    issuer.is_silent.set(true);
    let more = r#", "max_held_requests": 3, "hold_timeout": "1s""#;
    let host = issuer.serve(remote(more)).build().expect("starts");
    let start = |n: usize| {
        let token = format!("Bearer {}", issue(&key, &format!("user-{n}")));
        host.get("/").header("authorization", token).start()
    };
    let flights: Vec<_> = (0..5).map(start).collect();
    let over: Vec<_> = flights.iter().map(|flight| flight.is_over()).collect();
    assert_eq!(over, [false, false, false, true, true]);
    host.advance(Duration::from_millis(1100));
    for flight in flights {
        let reply = flight.finish();
        assert_eq!(
            (reply.status(), &*reason(&reply)),
            (Some(503), "jwks_unavailable")
        );
    }
}

#[test]
fn a_client_that_goes_away_while_it_waits_is_forgotten() {
    let key = Key::new("one");
    let issuer = Issuer::new(&[&key]);
    issuer.is_silent.set(true);
    let host = issuer.serve(remote("")).build().expect("starts");
    let token = format!("Bearer {}", issue(&key, "ana"));
    let gone = host.get("/").header("authorization", &token).start();
    let stays = host.get("/").header("authorization", &token).start();
    host.advance(Duration::from_millis(100));
    drop(gone);
    let waiting = host.waiting_callouts();
    host.answer(&waiting[0], Answer::status(200, jwks(&[&key])))
        .expect("waits");
    assert_eq!(stays.finish().status(), Some(200));
    assert_eq!(host.violations(), [""; 0]);
}

#[test]
fn an_issuer_that_answers_503_is_asked_once_in_an_interval() {
    let key = Key::new("one");
    let issuer = Issuer::default();
    let host = issuer.serve(remote("")).workers(3).build().expect("starts");
    host.advance(Duration::from_millis(100));
    for n in 0..150 {
        let reply = send(&host, &issue(&key, &format!("user-{n}")));
        assert_eq!(reply.status(), Some(503));
        host.advance(Duration::from_millis(20));
    }
    // One a second, for three seconds.
    assert!(issuer.fetches() <= 4, "{}", issuer.fetches());
    issuer.publish(&[&key]);
    host.advance(Duration::from_millis(1200));
    assert_eq!(send(&host, &issue(&key, "ana")).status(), Some(200));
}

#[test]
fn a_flood_of_unknown_kids_makes_one_fetch_in_an_interval() {
    let key = Key::new("one");
    let issuer = Issuer::new(&[&key]);
    let more = r#", "unknown_kid_interval": "10s", "hold_timeout": "200ms""#;
    let host = issuer
        .serve(remote(more))
        .workers(3)
        .build()
        .expect("starts");
    host.advance(Duration::from_millis(200));
    let token = issue(&key, "eve");
    let (_, rest) = token.split_once('.').expect("parts");
    let before = issuer.fetches();
    for n in 0..3000 {
        let header = base64url(format!(r#"{{"alg":"ES256","kid":"k{n}"}}"#).as_bytes());
        let request = host
            .get("/")
            .header("authorization", format!("Bearer {header}.{rest}"))
            .start();
        host.advance(Duration::from_millis(10));
        drop(request);
    }
    let fetches = issuer.fetches() - before;
    assert!((2..=4).contains(&fetches), "{fetches} fetches in 30 s");
    assert_eq!(send(&host, &token).status(), Some(200));
}

#[test]
fn rotated_keys_refuse_no_token_and_removed_ones_refuse_remembered_tokens() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = Issuer::new(&[&old]);
    let more = r#", "unknown_kid_interval": "5s""#;
    let host = issuer
        .serve(remote(more))
        .workers(2)
        .build()
        .expect("starts");
    host.advance(Duration::from_secs(20));
    let mut flights = Vec::new();
    for n in 0..1000 {
        if n == 500 {
            issuer.publish(&[&old, &new]);
        }
        let key = if n < 500 { &old } else { &new };
        let token = format!("Bearer {}", issue(key, &format!("user-{}", n % 40)));
        flights.push(host.get("/").header("authorization", token).start());
        host.advance(Duration::from_millis(1));
    }
    host.advance(Duration::from_millis(200));
    for flight in flights {
        assert_eq!(flight.finish().status(), Some(200));
    }
    let remembered = issue(&old, "user-1");
    assert_eq!(send(&host, &remembered).status(), Some(200));
    issuer.publish(&[&new]);
    // The next fetch is one ahead of the end of what is fresh.
    host.advance(Duration::from_secs(600));
    let reply = host
        .get("/")
        .header("authorization", format!("Bearer {remembered}"))
        .start();
    host.advance(Duration::from_secs(3));
    let reply = reply.finish();
    assert_eq!(
        (reply.status(), &*reason(&reply)),
        (Some(401), "unknown_key")
    );
}

#[test]
fn while_the_issuer_is_down_old_keys_are_used_as_long_as_configured() {
    let key = Key::new("one");
    for (more, served) in [
        (r#", "max_stale": "7200s""#, true),
        (r#", "max_stale": "1800s""#, false),
        (r#", "on_jwks_unavailable": "deny""#, false),
    ] {
        let issuer = Issuer::new(&[&key]);
        let host = issuer.serve(remote(more)).build().expect("starts");
        host.advance(Duration::from_secs(1));
        issuer.break_down();
        let token = issue(&key, "ana");
        assert_eq!(send(&host, &token).status(), Some(200));
        let before = issuer.fetches();
        host.advance(Duration::from_secs(3600));
        let fetches = issuer.fetches() - before;
        assert!(fetches <= 3600, "{fetches} fetches in an hour");
        let expected = if served { 200 } else { 503 };
        assert_eq!(send(&host, &token).status(), Some(expected), "{more}");
        issuer.publish(&[&key]);
        host.advance(Duration::from_secs(2));
        assert_eq!(send(&host, &token).status(), Some(200), "{more}");
    }
}

#[test]
fn answers_that_are_no_key_sets_are_failures() {
    let key = Key::new("one");
    for answer in [
        "",
        "{}",
        "[]",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","k":"x"}]}"#,
        "\0",
    ] {
        let issuer = Issuer::default();
        *issuer.answer.borrow_mut() = Some(answer.to_owned());
        let host = issuer.serve(remote("")).build().expect("starts");
        host.advance(Duration::from_millis(200));
        assert_eq!(
            send(&host, &issue(&key, "ana")).status(),
            Some(503),
            "{answer}"
        );
        assert_eq!(
            host.metrics()["jwt_auth_jwks_fetches_total_provider=p_outcome=failure"],
            1
        );
        let logs = host.take_logs();
        assert!(
            logs.iter()
                .any(|line| line.message.contains("event=jwks_fetch_failed"))
        );
    }
}

#[test]
fn a_cluster_that_is_not_there_is_told_and_denies() {
    let key = Key::new("one");
    let provider = r#""remote_jwks": {"http_uri": {"uri": "https://i/keys", "cluster": "nowhere",
        "timeout": "2s"}}"#;
    let host = with(provider, "").cluster("idp").build().expect("starts");
    host.advance(Duration::from_millis(200));
    assert_eq!(send(&host, &issue(&key, "ana")).status(), Some(503));
    let logs = host.take_logs();
    assert!(
        logs.iter()
            .any(|line| line.message.contains("the cluster can't be called"))
    );
}

#[test]
fn foreign_bytes_in_shared_data_are_no_keys() {
    let key = Key::new("one");
    let issuer = Issuer::new(&[&key]);
    let host = issuer.serve(remote("")).build().expect("starts");
    host.advance(Duration::from_secs(1));
    assert_eq!(send(&host, &issue(&key, "ana")).status(), Some(200));
    let stored: BTreeMap<_, _> = host.shared_data("");
    assert_eq!(
        stored.len(),
        3,
        "a seed, a record and a set: {:?}",
        stored.keys()
    );
}

#[test]
fn no_header_that_a_client_can_send_traps_the_filter() {
    let host = local(&[&Key::new("one")]);
    let long = vec![b'x'; 64 * 1024];
    let odd: [&[u8]; 7] = [
        b"",
        b"\xff\xfe",
        b"Bearer \xff.\xff.\xff",
        b"Bearer ..",
        b"Bearer e30.e30.e30",
        b"Bearer \0",
        &long,
    ];
    for name in [
        "authorization",
        "cookie",
        ":path",
        ":authority",
        ":method",
        "x-forwarded-proto",
    ] {
        for value in odd {
            let reply = host.get("/p?q=1").header(name, value).send();
            assert!(
                reply.status().is_some_and(|status| status >= 400),
                "{name} {value:?}"
            );
            assert_ne!(reply.details(), "wasm_fail_stream");
            assert_eq!(reply.violations(), [""; 0], "{name} {value:?}");
        }
    }
}

#[test]
fn three_mistakes_in_a_configuration_are_all_named() {
    let provider = r#""issuers": "x", "local_jwks": {"filename": "/etc/jwks"}, "audiences": 7"#;
    let error = with(provider, "").build().expect_err("refused").to_string();
    for part in [
        "providers.p.issuers",
        "did you mean \"issuer\"",
        "providers.p.local_jwks.filename",
        "providers.p.audiences",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}
