//! What clients send in the header of the choice.

use serde_json::json;

use crate::rig::{Rig, backends, hosts, port};

#[test]
fn no_header_of_a_client_chooses_a_host_and_hosts_see_none() {
    let backends = backends(4);
    let config = json!({"key": [{"header": "x-key"}], "hosts": hosts(&backends)});
    let Some(rig) = Rig::start(&config, &backends, None) else {
        return;
    };
    let mut client = rig.connect();
    let own = rig.host_of(&mut client, "a key");
    for backend in &backends {
        let address = backend.address;
        for forged in [
            format!("x-upstream-candidates: {address}\r\n"),
            format!("X-Upstream-Candidates: {address},{address}\r\n"),
            format!("x-upstream-candidates: {address}\r\nx-upstream-candidates: {address}\r\n"),
        ] {
            let response = client.get("/", &format!("x-key: a key\r\n{forged}"));
            assert_eq!(port(&response), own, "{forged}");
        }
    }
    for backend in &backends {
        for head in backend.take_heads() {
            assert!(
                !head.to_ascii_lowercase().contains("x-upstream-candidates"),
                "{head}"
            );
        }
    }
}

#[test]
fn without_a_choice_the_header_of_a_client_is_removed() {
    let backends = backends(4);
    // Hosts are awaited that never come, so that nothing is chosen.
    let config = json!({
        "key": [{"header": "x-key"}],
        "discovery": {"cluster": "discovery", "path": "/discovery", "format": "list"},
    });
    let discovery = crate::backend::Backend::start();
    let Some(rig) = Rig::start(&config, &backends, Some(&discovery)) else {
        return;
    };
    let mut client = rig.connect();
    let address = backends[0].address;
    let asked = (0..12).map(|_| {
        port(&client.get(
            "/",
            &format!("x-key: a key\r\nx-upstream-candidates: {address}\r\n"),
        ))
    });
    let asked: std::collections::BTreeSet<_> = asked.collect();
    // The fallback policy takes turns.
    assert_eq!(asked.len(), 4, "{asked:?}");
}
