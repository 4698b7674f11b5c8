//! jwt-auth as a module: no line of its log has a token or a secret in it, at whatever level.

use std::time::Duration;

use host_test::abi::Status;
use host_test::fault::Fault;
use host_test::host::{Answer, Host, HostBuilder};
use serde_json::{Value, json};

use crate::module::plugin;
use crate::token::{FUTURE, Key, encode, jwks, sign};

const CLIENT_SECRET: &str = "hush-hush-hush";

/// A secret that somebody wrote without quotes.
const SECRET_NUMBER: u64 = 1_928_374_650;

/// What must not be logged: the set's secret, the client's, and its credentials.
fn secrets() -> Vec<String> {
    let set = jwks();
    let secret = set["keys"][2]["k"].as_str().expect("a secret").to_owned();
    let credentials = encode(format!("gateway:{CLIENT_SECRET}").as_bytes());
    let number = SECRET_NUMBER.to_string();
    vec![secret, CLIENT_SECRET.to_owned(), credentials, number]
}

fn introspection() -> Value {
    json!({
        "http_uri": {"uri": "https://idp.example.com/introspect", "cluster": "idp", "timeout": "2s"},
        "client_id": "gateway",
        "client_secret": CLIENT_SECRET,
    })
}

fn config() -> Value {
    json!({
        "providers": {
            "own": {
                "issuer": "i",
                "local_jwks": {"inline_string": jwks().to_string()},
                "introspection": introspection(),
                "claim_to_headers": [{"header_name": "x-user", "claim_name": "sub"}],
            },
            "fetched": {"remote_jwks": {"http_uri": {
                "uri": "https://idp.example.com/keys", "cluster": "idp", "timeout": "2s",
            }}},
        },
        "rules": [
            {"match": {"prefix": "/fetched"}, "requires": {"provider_name": "fetched"}},
            {"match": {"prefix": "/"}, "requires": {"provider_name": "own"}},
        ],
    })
}

fn tokens() -> Vec<String> {
    let header = json!({"alg": "HS256", "kid": "secret"});
    let right = sign(Key::Secret, &header, &json!({"iss": "i", "exp": FUTURE}));
    let late = sign(Key::Secret, &header, &json!({"iss": "i", "exp": 1}));
    let other = sign(
        Key::Stranger,
        &json!({"alg": "RS256", "kid": "2011-04-29"}),
        &json!({"iss": "i", "exp": FUTURE}),
    );
    let odd = format!("{right}=");
    let opaque = "an-opaque-token-of-somebody".to_owned();
    vec![right, late, other, odd, opaque]
}

fn builder(config: &Value) -> HostBuilder {
    Host::builder()
        .plugin(plugin("jwt_auth").config_json(config.to_string()))
        .log_level(log::LevelFilter::Trace)
}

/// Sends all tokens everywhere and returns the log.
fn log_of(host: &Host) -> Vec<String> {
    host.advance(Duration::from_secs(5));
    for token in tokens() {
        for path in ["/", "/fetched"] {
            let bearer = format!("Bearer {token}");
            host.get(path).header("authorization", &bearer).send();
            let twice = host.get(path).header("authorization", &bearer);
            twice.header("authorization", bearer).send();
            host.get(&format!("{path}?access_token={token}")).send();
        }
    }
    let lines = host.take_logs().into_iter();
    lines.map(|line| line.message).collect()
}

#[track_caller]
fn has_no_secret(line: &str) {
    for token in tokens() {
        let parts: Vec<_> = token.split('.').collect();
        assert!(!line.contains(&token), "{line}");
        if let [_, payload, signature, ..] = parts[..] {
            assert!(
                !line.contains(payload) && !line.contains(signature),
                "{line}"
            );
        }
    }
    for secret in secrets() {
        assert!(!line.contains(&secret), "{line}");
    }
}

#[test]
fn no_line_of_the_log_has_a_token_or_a_secret() {
    let mut lines = Vec::new();
    // Services that answer something else, fail, and aren't there.
    for answer in [
        Some(Answer::status(200, "{\"active\": false}")),
        Some(Answer::status(200, tokens().concat())),
        Some(Answer::status(503, "no")),
        None,
    ] {
        let mut builder = builder(&config());
        if let Some(answer) = answer {
            builder = builder.cluster("idp").callouts(move |_| answer.clone());
        }
        let host = builder.build().expect("starts");
        lines.extend(log_of(&host));
    }
    // Everything that the host can refuse.
    for call in [
        "get_header_map_pairs",
        "get_current_time_nanoseconds",
        "add_header_map_value",
        "remove_header_map_value",
        "set_property",
        "send_local_response",
        "call_foreign_function",
        "http_call",
    ] {
        let builder = builder(&config()).cluster("idp");
        let host = builder.callouts(|_| Answer::status(503, "no"));
        let host = host.build().expect("starts");
        let fault = Fault::answer(call, Status::InternalFailure);
        host.fault(fault.expect("a hostcall"));
        lines.extend(log_of(&host));
    }
    for line in &lines {
        has_no_secret(line);
    }
    for event in [
        "configured",
        "introspection_failed",
        "fetch_failed",
        "host_refused",
    ] {
        let is_there = lines.iter().any(|line| line.contains(event));
        assert!(is_there, "{event} was never logged: {lines:#?}");
    }
}

#[test]
fn no_complaint_about_a_configuration_repeats_a_secret() {
    let with = |place: &str, value: Value| {
        let mut config = config();
        *config.pointer_mut(place).expect("it is there") = value;
        config
    };
    let own = "/providers/own";
    let set = format!("{own}/local_jwks/inline_string");
    let asked = format!("{own}/introspection");
    let text = jwks().to_string();
    let mut renamed = introspection();
    renamed["client_secrets"] = json!(CLIENT_SECRET);
    let broken = [
        with(&set, json!(format!("{text},"))),
        with(&set, json!(text.replace("\"keys\"", "\"kyes\""))),
        with(&set, json!(text.replace("\"kty\"", "\"tky\""))),
        with(&set, json!([text])),
        with(&set, jwks()),
        with(&asked, renamed),
        with(&format!("{asked}/client_id"), json!("")),
        with(&format!("{asked}/client_secret"), json!([CLIENT_SECRET])),
        with(
            &format!("{asked}/client_secret"),
            json!({"value": CLIENT_SECRET}),
        ),
        with(&format!("{asked}/client_secret"), json!(SECRET_NUMBER)),
    ];
    for config in broken {
        let host = builder(&config).cluster("idp");
        let error = host.build().expect_err("refused").to_string();
        assert!(error.contains("providers.own"), "{error}");
        has_no_secret(&error);
    }
    // What isn't even JSON.
    let cut = config().to_string();
    let cut = &cut[..cut.len() - 1];
    let host = Host::builder().plugin(plugin("jwt_auth").config_json(cut));
    let error = host.build().expect_err("refused").to_string();
    has_no_secret(&error);
}

/// Counts what the module itself does: a comparison that stops at the first difference would take
/// longer the later that is.
#[test]
fn a_wrong_code_costs_the_same_wherever_it_differs() {
    let header = json!({"alg": "HS256", "kid": "secret"});
    let right = sign(Key::Secret, &header, &json!({"iss": "i", "exp": FUTURE}));
    let start = right.rfind('.').expect("three parts") + 1;
    let cost = |token: &str, status| {
        let host = builder(&config()).count_instructions(true).cluster("idp");
        let host = host.build().expect("starts");
        let request = host
            .get("/")
            .header("authorization", format!("Bearer {token}"));
        let reply = request.send();
        assert_eq!(reply.status(), Some(status));
        reply.instructions().expect("they are counted")
    };
    assert!(cost(&right, 200) > 10_000);
    // 43 characters, of which the last has bits over.
    let costs = (0..42).map(|at| {
        let mut token = right.clone().into_bytes();
        let letter = &mut token[start + at];
        // A neighbour, so that decoding costs the same too.
        *letter = match *letter {
            b'A'..=b'Y' | b'a'..=b'y' | b'0'..=b'8' => *letter + 1,
            b'Z' | b'z' | b'9' => *letter - 1,
            b'-' => b'_',
            _ => b'-',
        };
        cost(&String::from_utf8(token).expect("text"), 401)
    });
    let costs: Vec<_> = costs.collect();
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
}
