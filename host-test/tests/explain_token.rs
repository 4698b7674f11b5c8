//! `host-test explain-token`: every check with its outcome, what a request's answer would be, and
//! never the signature.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

#[path = "common/files.rs"]
mod files;
#[path = "jwt_authn/token.rs"]
#[allow(dead_code, reason = "the parity tests use more of it")]
mod token;

use files::Folder;
use token::{Key, jwks, sign};

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;

impl Folder {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host-test"));
        command
            .arg("explain-token")
            .args(arguments)
            .current_dir(&self.path);
        command
    }

    /// Explains at [`NOW`]; returns the exit code and all that was said.
    fn explain(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let now = NOW.to_string();
        said(
            &self
                .command(&[&["--at", &now][..], arguments].concat())
                .output()
                .unwrap(),
        )
    }

    fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let (code, text) = self.explain(&[&["--json"][..], arguments].concat());
        (
            code,
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")),
        )
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = text(&output.stdout) + &text(&output.stderr);
    assert!(!all.contains("panicked"), "{all}");
    (output.status.code(), all)
}

/// A configuration whose provider `own` has its keys and whose provider `idp` fetches them.
fn config() -> Value {
    json!({
        "providers": {
            "own": {
                "issuer": "https://own.example",
                "audiences": ["shop"],
                "local_jwks": {"inline_string": jwks().to_string()},
                "claim_to_headers": [{"header_name": "x-user", "claim_name": "sub"}],
            },
            "idp": {
                "issuer": "https://idp.example",
                "remote_jwks": {"http_uri": {
                    "uri": "https://idp.example/keys", "cluster": "idp", "timeout": "1s",
                }},
            },
        },
        "rules": [
            {"name": "health", "match": {"path": "/health"}},
            {"name": "write", "match": {"prefix": "/", "headers": [
                {"name": ":method", "string_match": {"exact": "POST"}}]},
             "requires": {"provider_name": "own"}, "scopes": ["write"]},
            {"name": "tenant", "match": {"prefix": "/", "headers": [
                {"name": "x-tenant", "string_match": {"exact": "acme"}}]},
             "requires": {"provider_name": "idp"}},
            {"name": "read", "match": {"prefix": "/"}, "requires": {"provider_name": "own"}},
        ],
    })
}

fn claims() -> Value {
    json!({"iss": "https://own.example", "sub": "ana", "aud": "shop", "exp": NOW + 300})
}

fn es256(claims: &Value) -> String {
    sign(
        Key::P256,
        &json!({"alg": "ES256", "kid": "elliptic"}),
        claims,
    )
}

fn folder() -> Folder {
    Folder::new(&[
        ("jwt.json", &config().to_string()),
        ("keys.json", &jwks().to_string()),
    ])
}

#[track_caller]
fn has_line(text: &str, start: &str) {
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = text.lines().any(|line| squeezed(line).starts_with(start));
    assert!(found, "{start}: {text}");
}

#[test]
fn every_check_is_told_with_its_outcome() {
    let folder = folder();
    let (code, text) = folder.explain(&["--provider", "own", "jwt.json", &es256(&claims())]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with(&format!("checked at {NOW}\n\nprovider own: accepted\n")));
    for line in [
        "ok form",
        "ok issuer `iss` is \"https://own.example\"",
        "ok algorithm `alg` is ES256",
        "- type `typ` is not there",
        "ok expiration `exp` is 1767225900, 300 s from now",
        "ok audience `aud` is [\"shop\"]",
        "- subject `sub` is \"ana\"",
        "ok key `kid` is \"elliptic\"",
        "ok signature",
        "FAILED rule write, scopes [\"write\"]: the token lacks a scope (insufficient_scope)",
        "ok rule read",
    ] {
        has_line(&text, line);
    }

    let mut wrong = claims();
    wrong["exp"] = (NOW - 100).into();
    wrong["aud"] = json!(["bank"]);
    let (code, text) = folder.explain(&["--provider", "own", "jwt.json", &es256(&wrong)]);
    assert_eq!(code, Some(1), "{text}");
    has_line(&text, "provider own: refused (expired)");
    has_line(&text, "FAILED expiration `exp` is 1767225500, 100 s ago");
    has_line(&text, "FAILED audience `aud` is [\"bank\"]");
    has_line(&text, "ok signature");
}

#[test]
fn the_signature_is_never_printed() {
    let folder = folder();
    let good = es256(&claims());
    let other = sign(
        Key::Stranger,
        &json!({"alg": "RS256", "kid": "2011-04-29"}),
        &claims(),
    );
    let late = es256(&json!({"iss": "x", "exp": 1}));
    for token in [
        &good,
        &other,
        &late,
        &format!("{good}="),
        &format!("{good}.x"),
    ] {
        let token = token.as_str();
        let signature = token.split('.').nth(2).unwrap();
        for arguments in [
            &["jwt.json", token][..],
            &["--json", "jwt.json", token],
            &["--path", "/a", "jwt.json", token],
            &[
                "--json",
                "--path",
                "/a",
                "--jwks",
                "keys.json",
                "jwt.json",
                token,
            ],
            // What is no file isn't named either.
            &[token, "jwt.json"],
        ] {
            let (_, text) = folder.explain(arguments);
            assert!(!text.contains(signature), "{text}");
            assert!(!text.contains(token), "{text}");
        }
    }
    let (code, text) = folder.explain(&[&good, "jwt.json"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("the configuration comes first"), "{text}");
}

#[test]
fn a_token_from_standard_input_may_have_its_scheme_before_it() {
    let folder = folder();
    let now = NOW.to_string();
    for input in [
        es256(&claims()),
        format!("{}\n", es256(&claims())),
        format!("Bearer {}\r\n", es256(&claims())),
    ] {
        let mut command = folder.command(&["--at", &now, "jwt.json", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let (code, text) = said(&child.wait_with_output().unwrap());
        assert_eq!(code, Some(0), "{text}");
    }
    let mut command = folder.command(&["jwt.json", "-"]);
    let (code, text) = said(&command.stdin(Stdio::null()).output().unwrap());
    assert_eq!(code, Some(2));
    assert!(text.contains("there is no token"), "{text}");
}

#[test]
fn the_time_is_now_unless_it_is_given() {
    let folder = folder();
    let token = es256(&claims());
    for (at, code) in [
        ("2026-01-01T00:05:59Z", 0),
        ("2026-01-01T00:06:01Z", 1),
        ("1767225600", 0),
        ("4102444800", 1),
        ("soon", 2),
    ] {
        let mut command = folder.command(&["--at", at, "jwt.json", &token]);
        let (found, text) = said(&command.output().unwrap());
        assert_eq!(found, Some(code), "{at}: {text}");
    }
    let mut lasting = claims();
    lasting["exp"] = token::FUTURE.into();
    let (code, text) = said(
        &folder
            .command(&["jwt.json", &es256(&lasting)])
            .output()
            .unwrap(),
    );
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn fetched_keys_come_from_a_file_or_the_outcome_is_open() {
    let folder = folder();
    let mut claims = claims();
    claims["iss"] = "https://idp.example".into();
    let token = es256(&claims);
    let (code, text) = folder.explain(&["jwt.json", &token]);
    assert_eq!(code, Some(3), "{text}");
    has_line(&text, "provider idp: can't be told here");
    has_line(
        &text,
        "? key `kid` is \"elliptic\"; the keys are fetched from idp.example",
    );
    for jwks in ["keys.json", "idp=keys.json"] {
        let (code, text) = folder.explain(&["--jwks", jwks, "jwt.json", &token]);
        assert_eq!(code, Some(0), "{text}");
        has_line(&text, "provider idp: accepted");
        has_line(&text, "provider own: refused (wrong_issuer)");
    }
    // As in the filter, secrets of a fetched set aren't used.
    let secret = sign(
        Key::Secret,
        &json!({"alg": "HS256", "kid": "secret"}),
        &claims,
    );
    let (code, text) = folder.explain(&["--jwks", "keys.json", "jwt.json", &secret]);
    assert_eq!(code, Some(1), "{text}");
    has_line(&text, "provider idp: refused (alg_not_allowed)");
}

#[test]
fn a_request_is_decided_about_by_the_rules() {
    let folder = folder();
    let token = es256(&claims());
    let at = |arguments: &[&str]| folder.explain(&[arguments, &["jwt.json", &token]].concat());
    let (code, text) = at(&["--path", "/a?b=c"]);
    assert_eq!(code, Some(0), "{text}");
    has_line(
        &text,
        "GET /a?b=c, with the token in header authorization: accepted, by rule read",
    );
    has_line(&text, "x-user: ana");
    let (code, text) = at(&["-X", "POST", "--path", "/a"]);
    assert_eq!(code, Some(1), "{text}");
    has_line(
        &text,
        "403 jwt_auth_denied{rule=write,reason=insufficient_scope}",
    );
    has_line(&text, "www-authenticate: Bearer");
    let (code, text) = at(&[
        "-H",
        "X-Tenant: acme",
        "--path",
        "/a",
        "--jwks",
        "keys.json",
    ]);
    assert_eq!(code, Some(1), "{text}");
    has_line(
        &text,
        "401 jwt_auth_denied{rule=tenant,reason=wrong_issuer}",
    );
    let (code, text) = at(&["-H", "x-tenant: acme", "--path", "/a", "--provider", "idp"]);
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = at(&["--path", "/health"]);
    assert_eq!(code, Some(0), "{text}");
    has_line(&text, "no token is asked for here");
    let (code, text) = at(&["--path", "/x/..;/health", "-H", "host: a.example"]);
    assert_eq!(code, Some(1), "{text}");
    has_line(
        &text,
        "400 jwt_auth_denied{rule=read,reason=ambiguous_path}",
    );
}

#[test]
fn json_has_the_same_for_programs() {
    let folder = folder();
    let mut claims = claims();
    claims["aud"] = "bank".into();
    let token = es256(&claims);
    let (code, report) = folder.json(&["--path", "/a", "jwt.json", &token]);
    assert_eq!(code, Some(1));
    assert_eq!(report["at"], NOW);
    assert_eq!(report["verdict"], "refused");
    assert_eq!(report["reason"], "wrong_audience");
    // In the order of their names.
    assert_eq!(report["providers"][0]["provider"], "idp");
    let own = &report["providers"][1];
    assert_eq!(own["reason"], "wrong_audience");
    let checks = own["checks"].as_array().unwrap();
    let check = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
    assert_eq!(check("audience")["outcome"], "failed");
    assert_eq!(check("audience")["reason"], "wrong_audience");
    assert_eq!(check("signature")["outcome"], "passed");
    assert_eq!(check("type")["outcome"], "not_asked");
    assert_eq!(own["rules"].as_array().unwrap().len(), 2);
    let request = &report["request"];
    assert_eq!(request["status"], 403);
    assert_eq!(request["rule"], "read");
    assert_eq!(request["token_in"], "header authorization");

    let (_, report) = folder.json(&["jwt.json", &token]);
    assert_eq!(report.get("request"), None);
}

#[test]
fn a_bootstrap_is_searched_for_the_plugin() {
    let plugin = json!({
        "name": "edge",
        "vm_config": {"code": {"local": {"filename": "target/wasm/jwt_auth.wasm"}}},
        "configuration": {
            "@type": "type.googleapis.com/google.protobuf.Struct",
            "value": config(),
        },
    });
    let mut text = plugin.clone();
    text["name"] = "inner".into();
    text["configuration"] = json!({
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": json!({"providers": {}}).to_string(),
    });
    let bootstrap =
        |plugins: Value| json!({"static_resources": {"listeners": plugins}}).to_string();
    let folder = Folder::new(&[
        ("one.yaml", &bootstrap(json!([plugin]))),
        ("two.yaml", &bootstrap(json!([plugin, text]))),
        ("none.yaml", &bootstrap(json!([]))),
    ]);
    let token = es256(&claims());
    assert_eq!(folder.explain(&["one.yaml", &token]).0, Some(0));
    let chosen = ["--plugin", "edge", "two.yaml", &token];
    assert_eq!(folder.explain(&chosen).0, Some(0));
    for (file, sentence) in [
        ("two.yaml", "--plugin: \"edge\", \"inner\""),
        (
            "none.yaml",
            "no plugin of the bootstrap loads jwt_auth.wasm",
        ),
    ] {
        let (code, text) = folder.explain(&[file, &token]);
        assert_eq!(code, Some(2));
        assert!(text.contains(sentence), "{text}");
    }
}

#[test]
fn the_shipped_bootstraps_are_read() {
    let folder = Folder::new(&[]);
    let envoy = concat!(env!("CARGO_MANIFEST_DIR"), "/../envoy");
    for file in ["jwt-auth.yaml", "jwt-auth-string.yaml", "gateway.yaml"] {
        let (code, text) = folder.explain(&[&format!("{envoy}/{file}"), "a.b.c"]);
        assert_eq!(code, Some(1), "{file}: {text}");
        has_line(&text, "FAILED form");
    }
}

#[test]
fn what_can_not_be_read_is_said_in_a_sentence() {
    let folder = Folder::new(&[
        ("typo.yaml", "provider: {}\n"),
        ("jwt.json", &config().to_string()),
        ("broken.yaml", "a: [\n"),
        ("keys.json", "[]"),
    ]);
    let token = es256(&claims());
    let table: &[(&[&str], &str)] = &[
        (&["typo.yaml", &token], "typo.yaml: "),
        (&["typo.yaml", &token], "providers"),
        (&["broken.yaml", &token], "broken.yaml: "),
        (&["absent.yaml", &token], "absent.yaml can't be read"),
        (
            &["--jwks", "none.json", "jwt.json", &token],
            "none.json can't be read",
        ),
        (
            &["--jwks", "keys.json", "jwt.json", &token],
            "a list `keys`",
        ),
        (
            &["--provider", "x", "jwt.json", &token],
            "there are: idp, own",
        ),
        (
            &["--header", "x", "--path", "/", "jwt.json", &token],
            "NAME: VALUE",
        ),
        (&["--header", "x: y", "jwt.json", &token], "--path"),
        (&["--path", "a", "jwt.json", &token], "such as /orders"),
        (&["jwt.json"], "<TOKEN>"),
    ];
    for (arguments, sentence) in table {
        let (code, text) = folder.explain(arguments);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(sentence), "{sentence}: {text}");
    }
}
