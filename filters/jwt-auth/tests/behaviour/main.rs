//! What becomes of requests: rules, tokens in their places, claims, what goes upstream.

#[path = "../common/mod.rs"]
mod common;
mod keys;
mod roll_out;
mod rules;
mod tokens;
mod upstream;

use common::{Bench, NOW, provider, token};
use jwt_auth::decision::Decision;

/// Claims of issuer `i` that are good for another minute, and whatever is given.
fn claims(more: &str) -> String {
    format!(r#"{{"iss":"i","sub":"ana","exp":{}{more}}}"#, NOW + 60)
}

fn good() -> String {
    token(&claims(""))
}

/// One provider of issuer `i` that every request needs.
fn one(more: &str) -> Bench {
    Bench::new(&format!(
        r#"{{"providers": {{"p": {}}},
             "rules": [{{"match": {{"prefix": "/"}}, "requires": {{"provider_name": "p"}}}}]}}"#,
        provider("i", more)
    ))
}

/// One rule about everything, with provider `p` of issuer `i` and `q` of issuer `j`.
fn rule(rule: &str) -> Bench {
    Bench::new(&format!(
        r#"{{"providers": {{"p": {}, "q": {}}}, "rules": [{{"match": {{"prefix": "/"}}, {rule}}}]}}"#,
        provider("i", ""),
        provider("j", r#", "from_headers": [{"name": "x-q"}]"#)
    ))
}

fn bearer(bench: &mut Bench, token: &str) -> Decision {
    bench.get("/", &[("authorization", &format!("Bearer {token}"))])
}
