//! Rules that are rolled out by percent.

use serde_json::{Value, json};

use crate::client::Client;
use crate::one_filter::OneFilter;
use crate::p256_key::Key;
use crate::process::{Gateway, Kind};
use crate::rig::{Clients, bearer, config, kinds, passes, refuses, token, with_keys};

const TOKENS: usize = 1_000;

fn gateway(kind: &Kind, provider: &Value, percent: u64) -> Gateway {
    let mut config = config(provider);
    config["rules"][0]["percent"] = json!(percent);
    let gateway = OneFilter {
        filter: "jwt_auth",
        config: &config,
        clusters: &[],
        transport_socket: None,
        manager: json!({}),
    };
    Gateway::start(kind, &gateway.bootstrap())
}

/// Which of these wrong tokens are refused.
fn refused(gateway: &Gateway, tokens: &[String]) -> Vec<bool> {
    let mut client = Client::connect(gateway.address("main"));
    let expired = refuses(401, "expired");
    let is_refused = |token: &String| {
        let outcome = bearer(&mut client, token);
        assert!(outcome == passes() || outcome == expired, "{outcome:?}");
        outcome == expired
    };
    tokens.iter().map(is_refused).collect()
}

#[test]
fn so_many_percent_of_wrong_tokens_are_refused_the_same_ones_by_all_gateways() {
    let key = Key::new("one");
    let provider = with_keys(&[&key], json!({}));
    let tokens: Vec<_> = (0..TOKENS)
        .map(|n| token(&key, json!({"exp": 1, "jti": n.to_string()})))
        .collect();
    let mut known: Option<Vec<bool>> = None;
    for kind in kinds() {
        for (percent, expected) in [(0, 0..=0), (30, 240..=360), (100, TOKENS..=TOKENS)] {
            let gateway = gateway(&kind, &provider, percent);
            let refused = refused(&gateway, &tokens);
            let count = refused.iter().filter(|refused| **refused).count();
            assert!(
                expected.contains(&count),
                "{kind:?}: {count} at {percent} %"
            );
            if percent == 30 {
                assert!(
                    known.get_or_insert_with(|| refused.clone()) == &refused,
                    "{kind:?} refuses others"
                );
                // Every worker has the same fate for a token.
                let mut clients = Clients::connect(&gateway);
                for (token, refused) in tokens.iter().zip(refused).take(20) {
                    let expected = match refused {
                        true => refuses(401, "expired"),
                        false => passes(),
                    };
                    assert_eq!(clients.bearer(token), Some(expected), "{kind:?}");
                }
            }
            // Right tokens pass, whatever the share.
            let right = token(&key, json!({}));
            let mut client = Client::connect(gateway.address("main"));
            assert_eq!(bearer(&mut client, &right), passes(), "{kind:?}");
        }
    }
}
