//! Explanations: all checks of a token, and the same outcome as in the filter.

mod common;

use common::{Bench, NOW, OTHER, SECRET, jwks, provider, sign, token};
use jwt_auth::config::Config;
use jwt_auth::explain::{
    Answer, Check, Explanation, Outcome, Request, Sets, Verdict, answer, explain,
};
use jwt_auth::jose::date::NumericDate;
use jwt_auth::jose::refusal::Reason;

const AT: NumericDate = NumericDate::from_unix_seconds(NOW);

const REMOTE: &str = r#"{"issuer": "i", "remote_jwks": {"http_uri": {
    "uri": "https://idp.example.com/keys", "cluster": "idp", "timeout": "1s"}}}"#;

fn text(provider: &str, rules: &str) -> String {
    format!(r#"{{"providers": {{"p": {provider}}}, "rules": [{rules}]}}"#)
}

fn config(provider: &str, rules: &str) -> Config {
    Config::read(text(provider, rules).as_bytes()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn one(config: &Config, token: &str) -> Explanation {
    let all = explain(config, token.as_bytes(), None, &Sets::default(), AT);
    all.unwrap().remove(0)
}

/// The outcome of a check.
#[track_caller]
fn of<'e>(explanation: &'e Explanation, name: &str) -> &'e Check {
    let checks = explanation.checks.iter();
    let mut named = checks.filter(|check| check.name == name);
    named.next().unwrap_or_else(|| panic!("{name}"))
}

fn claims(more: &str) -> String {
    format!(
        r#"{{"iss":"i","sub":"ana","aud":"shop","exp":{}{more}}}"#,
        NOW + 60
    )
}

fn get(path: &str, headers: &[(&str, &str)]) -> Request {
    let headers = headers.iter();
    Request {
        method: "GET".to_owned(),
        scheme: "https".to_owned(),
        authority: "api.example.com".to_owned(),
        path: path.to_owned(),
        headers: headers
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn answered(config: &Config, request: Request, token: &str) -> Answer {
    let sets = Sets::default();
    answer(config, request, token.as_bytes(), None, &sets, AT).unwrap()
}

/// Everything that a provider can ask for itself.
const STRICT: &str = r#", "audiences": ["shop"], "subjects": {"exact": "ana"},
    "max_lifetime": "300s", "token_types": ["at+jwt"], "algorithms": ["HS256"]"#;
const HEADER: &str = r#"{"alg":"HS256","kid":"one","typ":"at+jwt"}"#;

/// Tokens with something wrong each, and what.
fn wrong_tokens() -> Vec<(Reason, String)> {
    let good = claims("");
    let signed = |header: &str, claims: &str| sign(header, claims, SECRET);
    let exp = |seconds: u64| {
        let exp = format!(r#""exp":{seconds}"#);
        good.replace(&format!(r#""exp":{}"#, NOW + 60), &exp)
    };
    vec![
        (Reason::Malformed, "a.b.c".to_owned()),
        (Reason::Malformed, format!("{}=", signed(HEADER, &good))),
        (Reason::TooLarge, "a".repeat(9000)),
        (
            Reason::UnsupportedAlg,
            signed(r#"{"alg":"none","typ":"at+jwt"}"#, &good),
        ),
        (
            Reason::UnsupportedCrit,
            signed(r#"{"alg":"HS256","crit":["x"],"x":1}"#, &good),
        ),
        (Reason::Malformed, signed(HEADER, r#"{"a":1,"a":2}"#)),
        (
            Reason::WrongIssuer,
            signed(HEADER, &good.replace(r#""i""#, r#""j""#)),
        ),
        (
            Reason::AlgNotAllowed,
            signed(&HEADER.replace("HS256", "HS384"), &good),
        ),
        (
            Reason::WrongType,
            signed(&HEADER.replace("at+jwt", "jwt"), &good),
        ),
        (
            Reason::NotYetValid,
            signed(HEADER, &claims(&format!(r#","nbf":{}"#, NOW + 61))),
        ),
        (Reason::Expired, signed(HEADER, &exp(NOW - 61))),
        (Reason::LifetimeTooLong, signed(HEADER, &exp(NOW + 301))),
        (
            Reason::MissingExpiration,
            signed(HEADER, r#"{"iss":"i","sub":"ana","aud":"shop"}"#),
        ),
        (
            Reason::WrongAudience,
            signed(HEADER, &good.replace("shop", "bank")),
        ),
        (
            Reason::WrongSubject,
            signed(HEADER, &good.replace("ana", "bo")),
        ),
        (
            Reason::UnknownKey,
            signed(&HEADER.replace("one", "two"), &good),
        ),
        (Reason::BadSignature, sign(HEADER, &good, OTHER)),
    ]
}

#[test]
fn what_is_wrong_first_is_what_the_filter_refuses_for() {
    let rule = r#"{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}"#;
    let strict = provider("i", STRICT);
    let config = config(&strict, rule);
    let mut bench = Bench::new(&text(&strict, rule));
    for (reason, token) in wrong_tokens() {
        let verdict = one(&config, &token).verdict();
        assert_eq!(verdict, Verdict::Refused(reason.slug()), "{token}");
        assert_eq!(bench.bearer(&token).as_deref(), Some(reason.slug()));
        let answer = answered(&config, get("/", &[]), &token);
        assert_eq!(answer.verdict, verdict);
        let details = answer.refusal.unwrap().details;
        let expected = format!("jwt_auth_denied{{rule=rule-0,reason={}}}", reason.slug());
        assert_eq!(details, expected);
    }
    let good = sign(HEADER, &claims(""), SECRET);
    assert_eq!(one(&config, &good).verdict(), Verdict::Accepted);
    assert_eq!(bench.bearer(&good), None);
    assert_eq!(
        answered(&config, get("/", &[]), &good).verdict,
        Verdict::Accepted
    );
}

#[test]
fn a_check_that_fails_hides_none_of_the_others() {
    let config = config(&provider("i", STRICT), "");
    let claims = claims("")
        .replace("shop", "bank")
        .replace(r#""i""#, r#""j""#);
    let explanation = one(&config, &sign(HEADER, &claims, OTHER));
    let failed = explanation.checks.iter().filter_map(|c| match c.outcome {
        Outcome::Failed(reason) => Some((c.name, reason)),
        _ => None,
    });
    assert_eq!(
        failed.collect::<Vec<_>>(),
        [
            ("issuer", Reason::WrongIssuer),
            ("audience", Reason::WrongAudience),
            ("signature", Reason::BadSignature),
        ]
    );
    let audience = &of(&explanation, "audience").detail;
    assert!(
        audience.contains("bank") && audience.contains("shop"),
        "{audience}"
    );
    let names: Vec<_> = explanation.checks.iter().map(|check| check.name).collect();
    assert_eq!(
        names,
        [
            "form",
            "claims",
            "issuer",
            "algorithm",
            "type",
            "not before",
            "expiration",
            "lifetime",
            "issued at",
            "audience",
            "subject",
            "key",
            "signature",
        ]
    );
}

#[test]
fn neither_the_signature_nor_a_secret_is_told() {
    let rule = r#"{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}"#;
    let forward = r#", "forward": true, "forward_payload_header": "x-payload""#;
    let all = [
        config(&provider("i", STRICT), rule),
        config(&provider("i", forward), rule),
        config(&provider("i", r#", "from_params": ["t"]"#), rule),
        config(&provider("i", r#", "from_cookies": ["t"]"#), rule),
    ];
    let good = token(&claims(""));
    let tokens = wrong_tokens().into_iter().map(|(_, token)| token);
    for token in tokens.chain([good]).filter(|token| token.len() > 100) {
        let Some((_, signature)) = token.rsplit_once('.') else {
            continue;
        };
        for config in &all {
            let told = format!(
                "{:?} {:?}",
                one(config, &token),
                answered(config, get("/a?b=c", &[]), &token)
            );
            assert!(!told.contains(signature), "{told}");
            let set = jwks("one", SECRET);
            let (_, secret) = set.rsplit_once(r#"\"k\":\""#).unwrap();
            assert!(!told.contains(&secret[..40]), "{told}");
        }
    }
}

#[test]
fn keys_that_are_fetched_are_given_or_unknown() {
    let rule = r#"{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}"#;
    let config = config(REMOTE, rule);
    let es256 = include_str!("vectors/rfc.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(es256).unwrap();
    let header = r#"{"alg":"ES256","kid":"a"}"#;
    let token = sign(header, &claims(""), SECRET);
    let explanation = one(&config, &token);
    assert_eq!(of(&explanation, "key").outcome, Outcome::Unknown);
    let detail = &of(&explanation, "key").detail;
    assert!(detail.contains("idp.example.com"), "{detail}");
    assert_eq!(explanation.verdict(), Verdict::Unknown);
    let answer = answered(&config, get("/", &[]), &token);
    assert_eq!(answer.verdict, Verdict::Unknown);
    assert_eq!(
        answer.note.as_deref(),
        Some("depends on the keys of provider \"p\"")
    );

    let mut key = vectors[2]["key"].clone();
    assert_eq!(key["crv"], "P-256");
    key["kid"] = "a".into();
    let set = serde_json::json!({"keys": [key, {"kty": "oct", "k": "AQAB"}]}).to_string();
    for provider in [None, Some("p")] {
        let mut sets = Sets::default();
        sets.add(provider, set.clone().into_bytes());
        let explanation = explain(&config, token.as_bytes(), None, &sets, AT).unwrap();
        let explanation = &explanation[0];
        assert_eq!(explanation.verdict(), Verdict::Refused("bad_signature"));
        // Why keys are left out is told.
        let detail = &of(explanation, "key").detail;
        assert!(
            detail.contains("1 of 1 may be its own; key 2 of the set"),
            "{detail}"
        );
    }
}

#[test]
fn keys_nobody_asks_for_and_unknown_providers_are_complaints() {
    let config = config(&provider("i", ""), "");
    let token = token(&claims(""));
    let ask = |only, sets: &Sets| explain(&config, token.as_bytes(), only, sets, AT);
    assert_eq!(
        ask(Some("q"), &Sets::default()),
        Err("there is no provider \"q\"; there are: p".to_owned())
    );
    let mut sets = Sets::default();
    sets.add(None, b"{}".to_vec());
    assert_eq!(
        ask(None, &sets),
        Err("no provider fetches its keys".to_owned())
    );
    let mut sets = Sets::default();
    sets.add(Some("q"), b"{}".to_vec());
    assert!(ask(None, &sets).is_err());
    // Keys of its own are replaced by name: what would another set make of it?
    let mut sets = Sets::default();
    let other = jwks("one", OTHER).replace('\\', "");
    sets.add(Some("p"), other.into_bytes());
    let explanation = &ask(None, &sets).unwrap()[0];
    assert_eq!(explanation.verdict(), Verdict::Refused("bad_signature"));
    let mut sets = Sets::default();
    sets.add(Some("p"), b"{}".to_vec());
    let problem = ask(None, &sets).unwrap_err();
    assert!(problem.contains("list `keys`"), "{problem}");
}

#[test]
fn rules_say_whether_the_token_is_enough() {
    let rules = r#"
        {"name": "open", "match": {"path": "/health"}},
        {"name": "read", "match": {"prefix": "/r"}, "requires": {"provider_name": "p"},
         "scopes": ["read"]},
        {"name": "write", "match": {"prefix": "/w"}, "requires": {"provider_name": "p"},
         "scopes": ["write"]},
        {"name": "admin", "match": {"prefix": "/a"}, "requires": {"provider_name": "p"},
         "claims": {"claim": "role", "equals": "admin"}},
        {"name": "bank", "match": {"prefix": "/b"}, "requires": {"provider_and_audiences":
         {"provider_name": "p", "audiences": ["bank"]}}},
        {"name": "shadow", "mode": "shadow", "match": {"prefix": "/s"},
         "requires": {"provider_name": "p"}, "scopes": ["write"]}"#;
    let config = config(
        &provider(
            "i",
            r#", "audiences": ["shop"], "claim_to_headers":
            [{"header_name": "x-user", "claim_name": "sub"}]"#,
        ),
        rules,
    );
    let token = token(&claims(r#","scope":"read list""#));
    let explanation = one(&config, &token);
    let rules: Vec<_> = explanation.rules.iter().map(|rule| rule.outcome).collect();
    assert_eq!(
        rules,
        [
            Outcome::Passed,
            Outcome::Failed(Reason::InsufficientScope),
            Outcome::Failed(Reason::ClaimDenied),
            Outcome::Failed(Reason::WrongAudience),
            Outcome::Failed(Reason::InsufficientScope),
        ]
    );
    for (path, rule, verdict, status) in [
        ("/health", Some("open"), Verdict::Accepted, None),
        ("/none", None, Verdict::Accepted, None),
        ("/r", Some("read"), Verdict::Accepted, None),
        (
            "/w",
            Some("write"),
            Verdict::Refused("insufficient_scope"),
            Some(403),
        ),
        (
            "/a",
            Some("admin"),
            Verdict::Refused("claim_denied"),
            Some(403),
        ),
        (
            "/b",
            Some("bank"),
            Verdict::Refused("wrong_audience"),
            Some(403),
        ),
        ("/s", Some("shadow"), Verdict::Accepted, None),
        ("//w", None, Verdict::Refused("ambiguous_path"), Some(400)),
    ] {
        let answer = answered(&config, get(path, &[]), &token);
        assert_eq!(answer.rule.as_deref(), rule, "{path}");
        assert_eq!(answer.verdict, verdict, "{path}");
        let refusal = answer.refusal.as_ref();
        assert_eq!(refusal.map(|refusal| refusal.status), status, "{path}");
        let is_noted = matches!(path, "/health" | "/none" | "/s");
        assert_eq!(answer.note.is_some(), is_noted, "{path}");
        let expected = [("x-user".to_owned(), "ana".to_owned())];
        assert_eq!(answer.headers == expected, path == "/r", "{path}");
    }
}

#[test]
fn a_provider_whose_audiences_no_rule_asks_for_is_not_asked() {
    let rule = r#"{"match": {"prefix": "/"}, "requires": {"provider_and_audiences":
        {"provider_name": "p", "audiences": ["shop"]}}}"#;
    let config = config(&provider("i", r#", "audiences": ["bank"]"#), rule);
    let token = token(&claims(""));
    let explanation = one(&config, &token);
    assert_eq!(of(&explanation, "audience").outcome, Outcome::NotAsked);
    assert_eq!(explanation.verdict(), Verdict::Accepted);
    assert_eq!(
        answered(&config, get("/", &[]), &token).verdict,
        Verdict::Accepted
    );
}

#[test]
fn the_token_is_put_where_the_provider_looks_for_it() {
    let rule = r#"{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}"#;
    let token = token(&claims(""));
    for (places, place) in [
        ("", "header authorization"),
        (
            r#", "from_headers": [{"name": "x-t", "value_prefix": "jwt="}]"#,
            "header x-t",
        ),
        (r#", "from_headers": [{"name": "x-t"}]"#, "header x-t"),
        (r#", "from_params": ["t"]"#, "query parameter t"),
        (r#", "from_cookies": ["t"]"#, "cookie t"),
        (r#", "dpop": {}"#, "header authorization"),
    ] {
        let config = config(&provider("i", places), rule);
        for path in ["/", "/a?b=c", "/a#d", "/a?b=c#d"] {
            let answer = answered(&config, get(path, &[]), &token);
            assert_eq!(answer.place, place);
            let expected = match places.contains("dpop") {
                true => Verdict::Refused("proof_failed"),
                false => Verdict::Accepted,
            };
            assert_eq!(answer.verdict, expected, "{places} {path}");
        }
    }
    // One that the request has already is a second one.
    let config = config(&provider("i", ""), rule);
    let second = [("authorization", "Bearer other")];
    let answer = answered(&config, get("/", &second), &token);
    assert_eq!(answer.verdict, Verdict::Refused("duplicate_token"));
}

#[test]
fn the_provider_is_told_by_the_issuer() {
    let text = format!(
        r#"{{"providers": {{"a": {}, "b": {}}}, "rules": [
            {{"match": {{"prefix": "/"}}, "requires": {{"provider_name": "b"}}}}]}}"#,
        provider("j", r#", "from_headers": [{"name": "x-a"}]"#),
        provider("i", r#", "from_headers": [{"name": "x-b"}]"#),
    );
    let config = Config::read(text.as_bytes()).unwrap();
    let answer = answered(&config, get("/", &[]), &token(&claims("")));
    assert_eq!(
        (&*answer.place, answer.verdict),
        ("header x-b", Verdict::Accepted)
    );
}
