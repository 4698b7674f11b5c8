//! Hosts that are asked for.

use serde_json::json;

use crate::backend::Backend;
use crate::rig::{Rig, backends, hosts};

const KEYS: usize = 60;

#[test]
fn the_last_good_answer_counts_while_the_endpoint_is_down_lies_and_flaps() {
    let backends = backends(5);
    let mut endpoint = Backend::start();
    let four = hosts(&backends[..4]).to_string();
    let five = hosts(&backends).to_string();
    endpoint.seen().answer(Some((200, four.clone())));
    let config = json!({
        "key": [{"header": "x-key"}],
        "discovery": {"cluster": "discovery", "path": "/discovery", "format": "list", "interval": "100ms"},
        "no_host": "reject",
    });
    let Some(rig) = Rig::start(&config, &backends, Some(&endpoint)) else {
        return;
    };
    let outcome = |outcome: &str| format!("consistent_hash_discovery_total_outcome={outcome}");
    // Both workers and the main thread know the hosts once they say the same.
    rig.until("hosts are found", |rig| {
        rig.metric("consistent_hash_hosts") == 4
    });
    rig.until("all workers have them", |rig| {
        (0..8).all(|_| rig.connect().get("/", "x-key: k0\r\n").status == 200)
    });
    let good = rig.hosts_of(KEYS);
    let unknown = backends[4].address.port();
    assert!(!good.contains(&unknown));

    let lies = [
        (200, "nonsense".to_owned()),
        (200, "[]".to_owned()),
        (200, four[..four.len() / 2].to_owned()),
        (200, "{\"hosts\": 1}".to_owned()),
        (200, "[\"a.example:80\"]".to_owned()),
        (200, String::new()),
    ];
    for lie in lies {
        let before = rig.metric(&outcome("lied"));
        endpoint.seen().answer(Some(lie.clone()));
        rig.until("the lie is counted", |rig| {
            rig.metric(&outcome("lied")) >= before + 2
        });
        assert_eq!(rig.hosts_of(KEYS), good, "{lie:?}");
    }
    for down in [Some((500, four.clone())), Some((404, String::new())), None] {
        let before = rig.metric(&outcome("failed"));
        endpoint.seen().answer(down.clone());
        rig.until("the failure is counted", |rig| {
            rig.metric(&outcome("failed")) >= before + 2
        });
        assert_eq!(rig.hosts_of(KEYS), good, "{down:?}");
    }
    let before = rig.metric(&outcome("failed"));
    endpoint.kill();
    rig.until("the silence is counted", |rig| {
        rig.metric(&outcome("failed")) >= before + 2
    });
    assert_eq!(rig.hosts_of(KEYS), good);
    endpoint.revive();

    // Flapping between truth and lies moves nothing.
    let changed = rig.metric(&outcome("changed"));
    for round in 0..6 {
        let asked = endpoint.seen().asked();
        endpoint.seen().answer(Some(match round % 2 {
            0 => (200, four.clone()),
            _ => (503, String::new()),
        }));
        rig.until("it was asked", |_| endpoint.seen().asked() >= asked + 2);
        assert_eq!(rig.hosts_of(KEYS), good, "round {round}");
    }
    assert_eq!(rig.metric(&outcome("changed")), changed);

    endpoint.seen().answer(Some((200, five)));
    rig.until("all workers know the new host", |rig| {
        rig.metric("consistent_hash_hosts") == 5 && {
            let now: Vec<_> = (0..4).map(|_| rig.hosts_of(KEYS)).collect();
            now[0].contains(&unknown) && now.iter().all(|hosts| *hosts == now[0])
        }
    });
    for (was, is) in good.iter().zip(rig.hosts_of(KEYS)) {
        assert!(
            is == *was || is == unknown,
            "no key moves but to the new host"
        );
    }
}
