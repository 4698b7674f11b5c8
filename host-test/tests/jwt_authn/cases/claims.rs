//! Checks of claims, and algorithms.

use serde_json::{Value, json};

use super::{case, differs, get, provider_with, requires_p};
use crate::Group;
use crate::requests::Request;
use crate::token::{FUTURE, Key, PAST, rs256, sign};

pub(super) fn groups() -> Vec<Group> {
    let mut groups = vec![expiration(), lifetime(), algorithms()];
    groups.extend(subjects());
    groups
}

fn token(claims: Value) -> Request {
    get().bearer(&rs256(&claims))
}

fn expiration() -> Group {
    Group {
        name: "expiration is required",
        config: requires_p(&provider_with("p", &json!({"require_expiration": true}))),
        cases: vec![
            case("there", token(json!({"iss": "p", "exp": FUTURE})), 200),
            case("not there", token(json!({"iss": "p"})), 401),
            case("past", token(json!({"iss": "p", "exp": PAST})), 401),
        ],
    }
}

fn lifetime() -> Group {
    Group {
        name: "the lifetime has a limit",
        config: requires_p(&provider_with(
            "p",
            &json!({"max_lifetime": {"seconds": 86400}, "clock_skew_seconds": 5}),
        )),
        cases: vec![
            case("too long", token(json!({"iss": "p", "exp": FUTURE})), 401),
            case("for ever", token(json!({"iss": "p"})), 401),
            case("past", token(json!({"iss": "p", "exp": PAST})), 401),
        ],
    }
}

fn subjects() -> Vec<Group> {
    let group = |name, matcher: Value, cases: &[(&'static str, &str, u16)]| Group {
        name,
        config: requires_p(&provider_with("p", &json!({"subjects": matcher}))),
        cases: cases
            .iter()
            .map(|(name, sub, status)| {
                case(
                    name,
                    token(json!({"iss": "p", "sub": sub, "exp": FUTURE})),
                    *status,
                )
            })
            .chain([case("none", token(json!({"iss": "p", "exp": FUTURE})), 401)])
            .collect(),
    };
    vec![
        group(
            "subjects by prefix",
            json!({"prefix": "spiffe://spiffe.example.com/"}),
            &[
                ("below it", "spiffe://spiffe.example.com/a", 200),
                ("another", "spiffe://spiffe.example.org/a", 401),
            ],
        ),
        group(
            "subjects by name",
            json!({"exact": "ana"}),
            &[("it", "ana", 200), ("in capitals", "ANA", 401)],
        ),
        group(
            "subjects by name of any case",
            json!({"exact": "ana", "ignore_case": true}),
            &[("in capitals", "ANA", 200), ("another", "bob", 401)],
        ),
        group(
            "subjects by suffix",
            json!({"suffix": "@a.org"}),
            &[("it", "ana@a.org", 200), ("another", "ana@a.com", 401)],
        ),
        group(
            "subjects by part",
            json!({"contains": "an"}),
            &[("it", "banana", 200), ("another", "bob", 401)],
        ),
        group(
            "subjects by expression",
            json!({"safe_regex": {"regex": "[a-c]+na"}}),
            &[
                ("it", "ana", 200),
                ("more than it", "xana", 401),
                ("longer than it", "anas", 401),
            ],
        ),
    ]
}

fn algorithms() -> Group {
    let claims = json!({"iss": "p", "exp": FUTURE});
    let with = |key, header: Value| get().bearer(&sign(key, &header, &claims));
    let alg = |key, alg: &str, kid: &str| with(key, json!({"alg": alg, "kid": kid}));
    let key_alg = "a key serves its own algorithm only (RFC 7517 section 4.4)";
    Group {
        name: "algorithms",
        config: requires_p(&provider_with("p", &json!({}))),
        cases: vec![
            case("RS256", alg(Key::Rsa, "RS256", "2011-04-29"), 200),
            case("ES256", alg(Key::P256, "ES256", "elliptic"), 200),
            case("HS256", alg(Key::Secret, "HS256", "secret"), 200),
            case("HS384", alg(Key::Secret, "HS384", "secret"), 200),
            case("HS512", alg(Key::Secret, "HS512", "secret"), 200),
            case(
                "RS512 with a key for RS256",
                alg(Key::Rsa, "RS512", "2011-04-29"),
                401,
            ),
            case("another's key", alg(Key::P256, "ES256", "2011-04-29"), 401),
            case(
                "in small letters",
                alg(Key::Rsa, "rs256", "2011-04-29"),
                401,
            ),
            case("unknown", alg(Key::Rsa, "RS257", "2011-04-29"), 401),
            case(
                "an elliptic key without kid",
                with(Key::P256, json!({"alg": "ES256"})),
                200,
            ),
            differs(
                "HS256 named RS256 on a symmetric key",
                alg(Key::Secret, "RS256", "secret"),
                200,
                401,
                key_alg,
            ),
        ],
    }
}
