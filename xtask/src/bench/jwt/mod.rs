//! The benchmark of jwt-auth, beside Envoy's jwt_authn: fresh tokens, repeated ones, and a flood of
//! bad ones, RS256 with 17 claims.

mod tokens;

use anyhow::Result;
use serde_json::{Value, json};

use crate::bench::bootstrap;
use crate::bench::speed::{self, Row};
use crate::bench::wrk::{self, Answers, Load};
use crate::cli::{BenchOptions, Host};
use crate::gateway::{self, Purpose};
use crate::workspace::Workspace;

use self::tokens::{Tokens, in_turn};

/// So many that the native filter's cache of 100 by default never holds the next one.
const DISTINCT: u32 = 2_000;

/// More than requests are sent in a measurement: each token is new to its gateway when it comes.
/// The filters' memories are smaller, so that a second round finds none of them.
const FRESH: u32 = 40_000;

/// Runs the measurements; they are about Envoy alone.
pub(crate) fn run(workspace: &Workspace, options: &BenchOptions) -> Result<Value> {
    if !options.host.include(Host::Envoy) {
        println!("jwt measures Envoy alone: nothing to do without it");
        return Ok(Value::Null);
    }
    wrk::expect_installed()?;
    gateway::prepare(workspace, Host::Envoy, Purpose::Speed)?;
    println!("making {FRESH} tokens");
    let tokens = Tokens::make(workspace, FRESH)?;
    let distinct = tokens.good.get(..DISTINCT as usize).unwrap_or_default();
    let bad = tokens.bad.get(..DISTINCT as usize).unwrap_or_default();
    let hot = tokens.good.first().map_or("", String::as_str);
    let measure = |name: &str, title: &str, load: Load, answers| {
        speed::measure(
            workspace,
            title,
            None,
            &rows(workspace, &tokens.keys, &load, answers),
        )
        .map(|rows| (name.to_owned(), rows))
    };
    let measured = [
        measure(
            "fresh",
            "A new token with each request",
            in_turn(workspace, "fresh", &tokens.good)?,
            Answers::Served,
        )?,
        measure(
            "distinct",
            "2,000 tokens in turn",
            in_turn(workspace, "distinct", distinct)?,
            Answers::Served,
        )?,
        measure(
            "hot",
            "One token",
            Load::Header("authorization", format!("Bearer {hot}")),
            Answers::Served,
        )?,
        measure(
            "flood",
            "2,000 bad signatures in turn",
            in_turn(workspace, "flood", bad)?,
            Answers::Refused,
        )?,
    ];
    Ok(Value::Object(measured.into_iter().collect()))
}

fn rows(workspace: &Workspace, keys: &Value, load: &Load, answers: Answers) -> [Row; 5] {
    let config = |cache: bool| {
        let mut provider = json!({
            "issuer": "https://idp.example.com/realms/main",
            "audiences": ["api"],
            "forward": true,
            "local_jwks": { "inline_string": keys.to_string() },
        });
        if cache {
            provider["jwt_cache_config"] = json!({ "jwt_cache_size": 1_000 });
        }
        json!({
            "providers": { "idp": provider },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "idp" } }],
        })
    };
    let native = |cache| {
        let message = "jwt_authn.v3.JwtAuthentication";
        bootstrap::native("envoy.filters.http.jwt_authn", message, config(cache))
    };
    let row = |label, name, filters| Row {
        label,
        name,
        filters,
        load: load.clone(),
        answers,
    };
    let open = |label, name, filters| Row {
        answers: Answers::Served,
        ..row(label, name, filters)
    };
    let no_op = bootstrap::ours(workspace, "bench_guest", "no_op", &json!(0));
    [
        open("no filter", "none", Vec::new()),
        row("jwt_authn", "native", vec![native(false)]),
        row(
            "jwt_authn, cache of 1,000",
            "native-cache",
            vec![native(true)],
        ),
        // What any filter in wasm costs before it does anything.
        open("wasm that does nothing", "no-op", vec![no_op]),
        row(
            "jwt-auth",
            "ours",
            vec![bootstrap::ours(
                workspace,
                "jwt_auth",
                "jwt_auth",
                &config(false),
            )],
        ),
    ]
}
