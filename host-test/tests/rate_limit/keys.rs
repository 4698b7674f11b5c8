//! Many keys, and those who make them up.

use serde_json::json;

use crate::client::Client;
use crate::{envoys, flood, gateway};

#[test]
fn an_attacker_with_forty_thousand_keys_wins_nobody_a_request_and_costs_no_memory() {
    for kind in envoys() {
        let config = json!({
            "rules": [{
                "name": "all", "key": [{"header": "x-user"}],
                "limits": [{"requests": 5, "per": "1d"}],
            }],
            // A thousand buckets, which the attacker fills many times over.
            "table": {"sets": 64, "ways": 16},
            "headers": "none",
        });
        let gateway = gateway(&kind, &config);
        let address = gateway.address("main");
        assert_eq!(flood(address, 16, "x-user: victim\r\n"), 5);
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                std::thread::spawn(move || {
                    let mut client = Client::connect(address);
                    let user = |number| format!("x-user: attacker-{thread}-{number}\r\n");
                    let statuses = (0..5000).map(|number| client.get("/", &user(number)).status);
                    statuses.filter(|status| *status == 200).count()
                })
            })
            .collect();
        let served: usize = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum();
        // Who finds no bucket free goes on from one that was used: 5 requests a bucket are all there
        // are.
        assert!(
            served <= 5 * 64 * 16,
            "{served} requests of the attacker were served"
        );
        assert_eq!(
            flood(address, 16, "x-user: victim\r\n"),
            0,
            "the victim's debt was forgiven"
        );
        let memory = Client::connect(gateway.address("admin"))
            .get("/stats", "")
            .body;
        assert!(
            memory.contains("wasmcustom.rate_limit_table_pressure_total: "),
            "no pressure?"
        );
    }
}

#[test]
fn a_forged_x_forwarded_for_is_the_same_client() {
    for kind in envoys() {
        let config = json!({"rules": [{
            "name": "all", "key": [{"client_address": {"trusted_hops": 1}}],
            "limits": [{"requests": 20, "per": "1d"}],
        }]});
        let gateway = gateway(&kind, &config);
        let mut client = Client::connect(gateway.address("main"));
        let mut served = 0;
        for forged in 0..200 {
            // The nearest proxy wrote the last one; the client wrote the others.
            let header =
                format!("x-forwarded-for: 10.0.{forged}.7, 2001:db8::{forged:x}, 192.0.2.1\r\n");
            served += usize::from(client.get("/", &header).status == 200);
        }
        assert_eq!(served, 20);
        let other = client.get("/", "x-forwarded-for: 192.0.2.1, 192.0.2.2\r\n");
        assert_eq!(other.status, 200);
    }
}
