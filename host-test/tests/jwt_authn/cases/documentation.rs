//! The examples of Envoy's documentation of jwt_authn, word for word, with the rules they are shown
//! with or, where they have none, one that uses the provider.

use serde_json::json;

use super::{case, differs, get};
use crate::Group;
use crate::requests::Request;
use crate::token::{FUTURE, Key, PAST, rs256, sign};

pub(super) fn groups() -> Vec<Group> {
    vec![
        remote_keys(),
        inline_keys(),
        custom_header(),
        single_requirement(),
        group_requirement(),
        claims_in_headers(),
        extract_only(),
        no_rules(),
    ]
}

const ANDROID: &str = "bookstore_android.apps.googleusercontent.com";

/// "Remote JWKS config example".
fn remote_keys() -> Group {
    let config = json!({
        "providers": {"provider_name1": {
            "issuer": "https://example.com",
            "audiences": [ANDROID, "bookstore_web.apps.googleusercontent.com"],
            "remote_jwks": {
                "http_uri": {"uri": "https://example.com/jwks.json", "cluster": "example_jwks_cluster", "timeout": "1s"},
                "cache_duration": {"seconds": 300},
            },
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "provider_name1"}}],
    });
    let token = |aud: serde_json::Value| {
        rs256(&json!({"iss": "https://example.com", "aud": aud, "exp": FUTURE}))
    };
    let with = |more: serde_json::Value| {
        let mut claims = json!({"iss": "https://example.com", "aud": ANDROID, "exp": FUTURE});
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims
    };
    let good = token(json!(ANDROID));
    let header = json!({"alg": "RS256", "kid": "2011-04-29"});
    Group {
        name: "documentation: remote keys",
        config,
        cases: vec![
            case("a good token", get().bearer(&good), 200),
            case(
                "a good token in the query",
                Request::get(format!("/?a=1&access_token={good}&b=2")),
                200,
            ),
            case(
                "one of several audiences",
                get().bearer(&token(json!(["other", ANDROID]))),
                200,
            ),
            case(
                "another audience",
                get().bearer(&token(json!("other"))),
                403,
            ),
            case(
                "no audience",
                get().bearer(&rs256(
                    &json!({"iss": "https://example.com", "exp": FUTURE}),
                )),
                403,
            ),
            case("no token", get(), 401),
            case(
                "expired",
                get().bearer(&rs256(&with(json!({"exp": PAST})))),
                401,
            ),
            case(
                "not yet valid",
                get().bearer(&rs256(&with(json!({"nbf": FUTURE})))),
                401,
            ),
            case(
                "valid for long",
                get().bearer(&rs256(&with(json!({"nbf": PAST})))),
                200,
            ),
            case(
                "another issuer",
                get().bearer(&rs256(&with(json!({"iss": "https://example.org"})))),
                401,
            ),
            case(
                "an issuer with a slash more",
                get().bearer(&rs256(&with(json!({"iss": "https://example.com/"})))),
                401,
            ),
            case(
                "a stranger's signature",
                get().bearer(&sign(Key::Stranger, &header, &with(json!({})))),
                401,
            ),
            case(
                "an unknown key",
                get().bearer(&sign(
                    Key::Rsa,
                    &json!({"alg": "RS256", "kid": "b"}),
                    &with(json!({})),
                )),
                401,
            ),
            case(
                "no kid",
                get().bearer(&sign(Key::Rsa, &json!({"alg": "RS256"}), &with(json!({})))),
                200,
            ),
            case(
                "alg none",
                get().bearer(&sign(Key::Rsa, &json!({"alg": "none"}), &with(json!({})))),
                401,
            ),
            case(
                "no alg",
                get().bearer(&sign(
                    Key::Rsa,
                    &json!({"kid": "2011-04-29"}),
                    &with(json!({})),
                )),
                401,
            ),
            case("garbage", get().bearer("garbage"), 401),
            case(
                "two parts",
                get().bearer(good.rsplit_once('.').map_or("", |it| it.0)),
                401,
            ),
            case("four parts", get().bearer(&format!("{good}.e30")), 401),
            case(
                "Bearer and nothing",
                get().header("authorization", "Bearer "),
                401,
            ),
            case(
                "another scheme",
                get().header("authorization", format!("Basic {good}")),
                401,
            ),
            case(
                "no scheme",
                get().header("authorization", good.as_str()),
                401,
            ),
            case(
                "two good tokens in two places",
                Request::get(format!("/?access_token={good}")).bearer(&good),
                200,
            ),
            case(
                "a bad token in the query beside a good one",
                Request::get("/?access_token=a.b.c").bearer(&good),
                401,
            ),
        ],
    }
}

/// "Inline JWKS config example".
fn inline_keys() -> Group {
    let config = json!({
        "providers": {"provider_name2": {
            "issuer": "https://example2.com",
            "local_jwks": {"inline_string": DOCUMENTED_KEYS},
            "from_headers": [{"name": "jwt-assertion"}],
            "forward": true,
            "forward_payload_header": "x-jwt-payload",
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "provider_name2"}}],
    });
    let claims = json!({"iss": "https://example2.com", "sub": "ana", "exp": FUTURE});
    let good = rs256(&claims);
    Group {
        name: "documentation: inline keys",
        config,
        cases: vec![
            case(
                "a good token",
                get().header("jwt-assertion", good.as_str()),
                200,
            ),
            case(
                "a forged payload header",
                get()
                    .header("jwt-assertion", good.as_str())
                    .header("x-jwt-payload", "forged"),
                200,
            ),
            case("no token", get(), 401),
            case("in another header", get().bearer(&good), 401),
            case(
                "in the query",
                Request::get(format!("/?access_token={good}")),
                401,
            ),
        ],
    }
}

/// "Token Extraction from Custom HTTP Headers".
fn custom_header() -> Group {
    let config = json!({
        "providers": {"provider_name1": {
            "issuer": "https://example.com",
            "from_headers": [{"name": "x-jwt-header", "value_prefix": "jwt_value"}],
            "audiences": [ANDROID, "bookstore_web.apps.googleusercontent.com"],
            "remote_jwks": {
                "http_uri": {"uri": "https://example.com/jwks.json", "cluster": "example_jwks_cluster", "timeout": "1s"},
                "cache_duration": {"seconds": 300},
            },
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "provider_name1"}}],
    });
    let good = rs256(&json!({"iss": "https://example.com", "aud": ANDROID, "exp": FUTURE}));
    let named = |value: String| get().header("x-jwt-header", value);
    let promised =
        "the documentation promises it; Envoy 1.40 takes what follows the token for a part of it";
    Group {
        name: "documentation: a custom header",
        config,
        cases: vec![
            case(
                "after an equals sign",
                named(format!("jwt_value={good}")),
                200,
            ),
            differs(
                "in JSON",
                named(format!("{{\"jwt_value\": \"{good}\"}}")),
                401,
                200,
                promised,
            ),
            differs(
                "among other values",
                named(format!("beta:true,jwt_value:\"{good}\",trace=1234")),
                401,
                200,
                promised,
            ),
            case("without the prefix", named(good.clone()), 401),
            case(
                "the prefix in capitals",
                named(format!("JWT_VALUE={good}")),
                401,
            ),
            case("the prefix and nothing", named("jwt_value".to_owned()), 401),
            case(
                "the prefix and no character of a token",
                named("jwt_value=\"\"".to_owned()),
                401,
            ),
        ],
    }
}

/// "Single requirement config example"; the lists are single values there.
fn single_requirement() -> Group {
    let config = json!({
        "providers": {"jwt_provider1": {
            "issuer": "https://example.com",
            "audiences": "audience1",
            "local_jwks": {"inline_string": DOCUMENTED_KEYS},
        }},
        "rules": [
            {"match": {"prefix": "/health"}},
            {"match": {"prefix": "/api"}, "requires": {"provider_and_audiences": {
                "provider_name": "jwt_provider1", "audiences": "api_audience",
            }}},
            {"match": {"prefix": "/"}, "requires": {"provider_name": "jwt_provider1"}},
        ],
    });
    let token =
        |aud: &str| rs256(&json!({"iss": "https://example.com", "aud": aud, "exp": FUTURE}));
    let to = |path: &str, aud: &str| Request::get(path).bearer(&token(aud));
    Group {
        name: "documentation: a single requirement",
        config,
        cases: vec![
            case("nothing is required", Request::get("/health"), 200),
            case(
                "nothing is required below it either",
                Request::get("/healthy/x?y"),
                200,
            ),
            case(
                "nothing is required of a bad token",
                Request::get("/health").bearer("a.b.c"),
                200,
            ),
            case("the provider's audience", to("/", "audience1"), 200),
            case(
                "the rule's audience elsewhere",
                to("/", "api_audience"),
                403,
            ),
            case("the rule's audience", to("/api", "api_audience"), 200),
            case(
                "the provider's audience where the rule has its own",
                to("/api/x", "audience1"),
                403,
            ),
            case("no token", Request::get("/api"), 401),
        ],
    }
}

/// "Group requirement config example".
fn group_requirement() -> Group {
    let provider =
        |issuer: &str| json!({"issuer": issuer, "local_jwks": {"inline_string": DOCUMENTED_KEYS}});
    let both =
        json!({"requirements": [{"provider_name": "provider1"}, {"provider_name": "provider2"}]});
    let config = json!({
        "providers": {"provider1": provider("https://provider1.com"), "provider2": provider("https://provider2.com")},
        "rules": [
            {"match": {"prefix": "/any"}, "requires": {"requires_any": both}},
            {"match": {"prefix": "/all"}, "requires": {"requires_all": both}},
        ],
    });
    let token = |issuer: &str| rs256(&json!({"iss": issuer, "exp": FUTURE}));
    let (first, second) = (
        token("https://provider1.com"),
        token("https://provider2.com"),
    );
    let other = token("https://provider3.com");
    Group {
        name: "documentation: a group requirement",
        config,
        cases: vec![
            case("any: the first", Request::get("/any").bearer(&first), 200),
            case("any: the second", Request::get("/any").bearer(&second), 200),
            case("any: another", Request::get("/any").bearer(&other), 401),
            case("any: none", Request::get("/any"), 401),
            case(
                "any: both",
                Request::get(format!("/any?access_token={second}")).bearer(&first),
                401,
            ),
            case("all: the first", Request::get("/all").bearer(&first), 401),
            case(
                "all: both",
                Request::get(format!("/all?access_token={second}")).bearer(&first),
                401,
            ),
            case(
                "all: both, the other way round",
                Request::get(format!("/all?access_token={first}")).bearer(&second),
                401,
            ),
            case("all: none", Request::get("/all"), 401),
            case("no rule", Request::get("/"), 200),
        ],
    }
}

/// `jwt-authn-claim-filter.yaml`, with a rule.
fn claims_in_headers() -> Group {
    let config = json!({
        "providers": {"provider_name2": {
            "issuer": "https://example2.com",
            "claim_to_headers": [
                {"header_name": "x-jwt-claim-sub", "claim_name": "sub"},
                {"header_name": "x-jwt-claim-nested-key", "claim_name": "nested.claim.key"},
                {"header_name": "x-jwt-tenants", "claim_name": "tenants"},
            ],
            "local_jwks": {"inline_string": DOCUMENTED_KEYS},
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "provider_name2"}}],
    });
    let token = |more: serde_json::Value| {
        let mut claims = json!({"iss": "https://example2.com", "exp": FUTURE});
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        rs256(&claims)
    };
    let with = |more| get().bearer(&token(more));
    let exact = "a number goes upstream as it was signed; Envoy rounds it to 53 bits";
    let forged = with(json!({}))
        .header("x-jwt-claim-sub", "root")
        .header("x-jwt-tenants", "all");
    Group {
        name: "documentation: claims in headers",
        config,
        cases: vec![
            case("a text", with(json!({"sub": "ana"})), 200),
            case(
                "a nested text",
                with(json!({"nested": {"claim": {"key": "value"}}})),
                200,
            ),
            case("a number", with(json!({"tenants": 17})), 200),
            differs(
                "a large number",
                with(json!({"tenants": 9_007_199_254_740_993_u64})),
                200,
                200,
                exact,
            ),
            case("a fraction", with(json!({"tenants": 1.5})), 200),
            case("a boolean", with(json!({"tenants": true})), 200),
            case("null", with(json!({"tenants": null})), 200),
            case("a list", with(json!({"tenants": ["a", "b"]})), 200),
            case(
                "a list of mixed values",
                with(json!({"tenants": ["a", 1, true, 1.5, null]})),
                200,
            ),
            case(
                "an object",
                with(json!({"tenants": {"a": ["x", {"y": null}]}})),
                200,
            ),
            case(
                "a list with odd characters",
                with(json!({"tenants": ["~~~???"]})),
                200,
            ),
            case("an empty text", with(json!({"sub": ""})), 200),
            case("a text beyond ASCII", with(json!({"sub": "añá"})), 200),
            case("forged headers of claims that aren't there", forged, 200),
            case(
                "a forged header of a claim that is there",
                with(json!({"sub": "ana"})).header("x-jwt-claim-sub", "root"),
                200,
            ),
        ],
    }
}

/// `jwt-authn-extract-only-rbac.yaml`, the filter's part.
fn extract_only() -> Group {
    let config = json!({
        "providers": {"example_provider": {
            "issuer": "https://example.com",
            "claim_to_headers": [{"header_name": "x-jwt-claim-role", "claim_name": "role"}],
            // The file has `{}`, which Envoy 1.40 itself refuses: no [keys] field.
            "local_jwks": {"inline_string": DOCUMENTED_KEYS},
        }},
        "rules": [{"match": {"prefix": "/admin"}, "requires": {"extract_only_without_validation": {}}}],
    });
    let claims = json!({"iss": "https://example.com", "role": "admin", "exp": FUTURE});
    let good = rs256(&claims);
    let admin = || Request::get("/admin");
    let stripped = "a client can't say that its token was verified, also if it sends none";
    Group {
        name: "documentation: extract only",
        config,
        cases: vec![
            case("a token that can't be verified", admin().bearer(&good), 200),
            case(
                "an expired one",
                admin().bearer(&rs256(
                    &json!({"iss": "https://example.com", "role": "admin", "exp": PAST}),
                )),
                200,
            ),
            case(
                "of another issuer",
                admin().bearer(&rs256(
                    &json!({"iss": "https://example.org", "role": "admin"}),
                )),
                200,
            ),
            case(
                "a stranger's signature",
                admin().bearer(&sign(
                    Key::Stranger,
                    &json!({"alg": "RS256", "kid": "2011-04-29"}),
                    &claims,
                )),
                200,
            ),
            case("none", admin(), 200),
            case("garbage", admin().bearer("garbage"), 200),
            differs(
                "forged headers",
                admin()
                    .header("x-jwt-claim-role", "admin")
                    .header("x-jwt-signature-verified", "true"),
                200,
                200,
                stripped,
            ),
        ],
    }
}

/// A provider without any rule, as several examples have it.
fn no_rules() -> Group {
    let config = json!({"providers": {"provider_name2": {
        "issuer": "https://example2.com",
        "local_jwks": {"inline_string": DOCUMENTED_KEYS},
    }}});
    Group {
        name: "documentation: no rules",
        config,
        cases: vec![
            case("no token", get(), 200),
            case("a bad token", get().bearer("a.b.c"), 200),
        ],
    }
}

/// As it stands in the documentation's files, with the line breaks and spaces within `n` that YAML
/// makes of them.
const DOCUMENTED_KEYS: &str = "{\"keys\": [\n  {\"kty\":\"RSA\",\n   \"n\": \"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86z\n        wu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc\n        5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8K\n        JZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh\n        6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKn\n        qDKgw\",\n   \"e\":\"AQAB\",\n   \"alg\":\"RS256\",\n   \"kid\":\"2011-04-29\"}]}";
