//! Rules that refuse nothing yet, or only some requests.

use jwt_auth::decision::{Count, Outcome};

use crate::common::{status, token};
use crate::{bearer, claims, rule};

#[test]
fn a_shadow_rule_tells_and_lets_pass() {
    let mut bench = rule(r#""requires": {"provider_name": "p"}, "mode": "shadow", "name": "try""#);
    let decision = bench.get("/", &[]);
    assert_eq!(status(&decision), 200);
    assert_eq!(decision.log.as_deref(), Some("shadow=missing rule=try"));
    assert!(decision.counts.contains(&Count::Request {
        rule: 0,
        outcome: Outcome::Shadow
    }));
}

#[test]
fn a_share_of_tokens_is_refused_and_the_rest_is_reported() {
    let requirement = r#""requires": {"provider_name": "p"}, "scopes": ["admin"]"#;
    let mut none = rule(&format!(r#"{requirement}, "percent": 0"#));
    let mut some = rule(&format!(r#"{requirement}, "percent": 30"#));
    let mut all = rule(requirement);
    let mut refused = 0;
    for n in 0..400 {
        let token = token(&claims(&format!(r#","n":{n}"#)));
        assert_eq!(status(&bearer(&mut none, &token)), 200);
        assert_eq!(status(&bearer(&mut all, &token)), 403);
        let decision = bearer(&mut some, &token);
        // The same token shares one fate.
        assert_eq!(status(&bearer(&mut some, &token)), status(&decision));
        match status(&decision) {
            403 => refused += 1,
            _ => assert_eq!(
                decision.log.as_deref(),
                Some("shadow=insufficient_scope rule=rule-0")
            ),
        }
    }
    assert!((80..=160).contains(&refused), "{refused} of 400");
}

#[test]
fn without_a_token_the_share_is_one_of_clients() {
    let mut bench = rule(r#""requires": {"provider_name": "p"}, "percent": 50"#);
    let mut refused = 0;
    for n in 0..200 {
        let client = format!("203.0.113.9, 10.0.0.{n}");
        let first = bench.get("/", &[("x-forwarded-for", &client)]);
        let client = format!("198.51.100.7, 10.0.0.{n}");
        let second = bench.get("/a", &[("x-forwarded-for", &client)]);
        assert_eq!(
            status(&first),
            status(&second),
            "what a client adds doesn't count"
        );
        refused += usize::from(status(&first) == 401);
    }
    assert!((60..=140).contains(&refused), "{refused} of 200");
}
