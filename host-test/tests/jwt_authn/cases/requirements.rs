//! Requirements and how they combine: the examples of the comments in Envoy's `config.proto`.

use serde_json::{Value, json};

use super::{case, of, provider};
use crate::Group;
use crate::requests::Request;
use crate::token::{FUTURE, PAST, rs256};

pub(super) fn groups() -> Vec<Group> {
    vec![combined(), missing(), providers_without_issuer()]
}

fn a() -> Value {
    json!({"provider_name": "a"})
}

fn b() -> Value {
    json!({"provider_name": "b"})
}

fn c() -> Value {
    json!({"provider_name": "c"})
}

fn any(requirements: &[Value]) -> Value {
    json!({"requires_any": {"requirements": requirements}})
}

fn all(requirements: &[Value]) -> Value {
    json!({"requires_all": {"requirements": requirements}})
}

fn rule(prefix: &str, requires: &Value) -> Value {
    json!({"match": {"prefix": prefix}, "requires": requires})
}

/// Providers that look in headers of their own.
fn providers() -> Value {
    let named = |name: &str| {
        let mut provider = provider(name);
        provider["from_headers"] = json!([{"name": format!("x-{name}")}]);
        provider["forward_payload_header"] = json!(format!("x-{name}-payload"));
        provider
    };
    json!({"a": named("a"), "b": named("b"), "c": named("c")})
}

fn expired(issuer: &str) -> String {
    rs256(&json!({"iss": issuer, "exp": PAST}))
}

fn combined() -> Group {
    let config = json!({
        "providers": providers(),
        "rules": [
            {"match": {"prefix": "/named"}, "requirement_name": "a or b"},
            {"match": {"prefix": "/empty"}, "requires": {}},
            rule("/a-and-b-or-c", &all(&[a(), any(&[b(), c()])])),
            rule("/a-or-b-and-c", &any(&[a(), all(&[b(), c()])])),
        ],
        "requirement_map": {"a or b": any(&[a(), b()])},
    });
    let to = |path: &str, names: &[&'static str]| {
        let mut request = Request::get(path);
        for name in names {
            let header = match *name {
                "a" => "x-a",
                "b" => "x-b",
                _ => "x-c",
            };
            request = request.header(header, of(name));
        }
        request
    };
    Group {
        name: "requirements combined",
        config,
        cases: vec![
            case("an empty requirement", Request::get("/empty"), 200),
            case("by name: a", to("/named", &["a"]), 200),
            case("by name: b", to("/named", &["b"]), 200),
            case("by name: c", to("/named", &["c"]), 401),
            case("a and (b or c): a", to("/a-and-b-or-c", &["a"]), 401),
            case(
                "a and (b or c): b, c",
                to("/a-and-b-or-c", &["b", "c"]),
                401,
            ),
            case(
                "a and (b or c): a, c",
                to("/a-and-b-or-c", &["a", "c"]),
                200,
            ),
            case(
                "a and (b or c): a, b, c",
                to("/a-and-b-or-c", &["a", "b", "c"]),
                200,
            ),
            case("a or (b and c): a", to("/a-or-b-and-c", &["a"]), 200),
            case("a or (b and c): b", to("/a-or-b-and-c", &["b"]), 401),
            case(
                "a or (b and c): b, c",
                to("/a-or-b-and-c", &["b", "c"]),
                200,
            ),
            case(
                "a or (b and c): a bad, b, c",
                to("/a-or-b-and-c", &["b", "c"]).header("x-a", expired("a")),
                200,
            ),
            case(
                "a's token in b's header",
                Request::get("/named").header("x-b", of("a")),
                401,
            ),
        ],
    }
}

fn missing() -> Group {
    let allow_missing = json!({"allow_missing": {}});
    let config = json!({
        "providers": providers(),
        "rules": [
            rule("/a-optional-b", &all(&[any(&[a(), allow_missing.clone()]), b()])),
            rule("/a-optional", &any(&[a(), allow_missing.clone()])),
            rule("/a-even-failed", &any(&[a(), json!({"allow_missing_or_failed": {}})])),
            rule("/missing", &allow_missing),
            rule("/failed", &json!({"allow_missing_or_failed": {}})),
        ],
    });
    let forged = |path: &str| Request::get(path).header("x-a-payload", "forged");
    Group {
        name: "requirements that allow nothing",
        config,
        cases: vec![
            case("optional: none", Request::get("/a-optional"), 200),
            case(
                "optional: good",
                Request::get("/a-optional").header("x-a", of("a")),
                200,
            ),
            case(
                "optional: expired",
                Request::get("/a-optional").header("x-a", expired("a")),
                401,
            ),
            case(
                "optional: another's",
                Request::get("/a-optional").header("x-a", of("b")),
                401,
            ),
            case(
                "optional: in another's header",
                Request::get("/a-optional").header("x-b", of("b")),
                200,
            ),
            case("even failed: none", Request::get("/a-even-failed"), 200),
            case(
                "even failed: expired",
                Request::get("/a-even-failed").header("x-a", expired("a")),
                200,
            ),
            case(
                "optional and required: b",
                Request::get("/a-optional-b").header("x-b", of("b")),
                200,
            ),
            case(
                "optional and required: a",
                Request::get("/a-optional-b").header("x-a", of("a")),
                401,
            ),
            case(
                "optional and required: a bad, b",
                Request::get("/a-optional-b")
                    .header("x-a", expired("a"))
                    .header("x-b", of("b")),
                401,
            ),
            case(
                "optional and required: a, b",
                Request::get("/a-optional-b")
                    .header("x-a", of("a"))
                    .header("x-b", of("b")),
                200,
            ),
            case("missing: none", Request::get("/missing"), 200),
            case(
                "missing: good",
                Request::get("/missing").header("x-c", of("c")),
                200,
            ),
            case(
                "missing: expired",
                Request::get("/missing").header("x-c", expired("c")),
                401,
            ),
            case(
                "missing: unknown issuer",
                Request::get("/missing").header("x-c", of("z")),
                401,
            ),
            case(
                "missing: in no provider's place",
                Request::get("/missing").bearer("a.b.c"),
                200,
            ),
            case("failed: none", Request::get("/failed"), 200),
            case(
                "failed: good",
                Request::get("/failed").header("x-c", of("c")),
                200,
            ),
            case(
                "failed: expired",
                Request::get("/failed").header("x-c", expired("c")),
                200,
            ),
            case(
                "failed: garbage",
                Request::get("/failed").header("x-c", "garbage"),
                200,
            ),
            case("missing: forged payload", forged("/missing"), 200),
            case("failed: forged payload", forged("/failed"), 200),
            case("optional: forged payload", forged("/a-optional"), 200),
        ],
    }
}

fn providers_without_issuer() -> Group {
    let config = json!({
        "providers": {"p": {"local_jwks": provider("p")["local_jwks"]}},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}],
    });
    let token = |claims: Value| Request::get("/").bearer(&rs256(&claims));
    Group {
        name: "a provider without issuer",
        config,
        cases: vec![
            case(
                "any issuer",
                token(json!({"iss": "anyone", "exp": FUTURE})),
                200,
            ),
            case("no issuer", token(json!({"exp": FUTURE})), 200),
            case("expired", token(json!({"exp": PAST})), 401),
        ],
    }
}
