//! The files in `envoy/` for each way of steering, on hosts of their own.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::Backend;
use crate::client::Client;
use crate::process::{Gateway, Kind};
use crate::real_envoy::real_envoy;
use crate::rig::{backends, port};

/// The file on ports of its own, in front of three hosts.
fn start(way: &str, backends: &[Backend]) -> Option<Gateway> {
    let envoy = real_envoy()?;
    let path = format!(
        "{}/../envoy/consistent-hash-{way}.yaml",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut text = std::fs::read_to_string(path).expect("the file is there");
    text = text
        .replace("port_value: 10000", "port_value: 0")
        .replace("port_value: 9901", "port_value: 0");
    for (number, backend) in (8081..).zip(backends) {
        let port = backend.address.port().to_string();
        text = text.replace(&number.to_string(), &port);
    }
    Some(Gateway::start(&Kind::Envoy(envoy), &text))
}

fn ask(gateway: &Gateway, path: &str, headers: &str) -> u16 {
    port(&Client::connect(gateway.address("ingress")).get(path, headers))
}

/// Equal keys meet one host, different ones all; no header that a client writes changes that, and no
/// host sees one.
#[track_caller]
fn expect_affinity(
    gateway: &Gateway,
    backends: &[Backend],
    header: &str,
    forge: impl Fn(u16) -> String,
) {
    let mut hosts: BTreeMap<usize, u16> = BTreeMap::new();
    for round in 0..3 {
        for tenant in 0..20 {
            let path = format!("/tenants/{tenant}/orders/{round}");
            let user = format!("x-user: {tenant}\r\n");
            let host = ask(gateway, &path, &user);
            assert_eq!(*hosts.entry(tenant).or_insert(host), host, "{path}");
            for backend in backends {
                let forged = format!("{user}{header}: {}\r\n", forge(backend.address.port()));
                assert_eq!(ask(gateway, &path, &forged), host, "{path} {forged}");
            }
        }
    }
    let met: BTreeSet<_> = hosts.values().collect();
    assert_eq!(met.len(), backends.len(), "{hosts:?}");
    for head in backends.iter().flat_map(Backend::take_heads) {
        let is_seen =
            header != "x-nothing" && head.to_ascii_lowercase().contains(&format!("{header}:"));
        assert!(!is_seen, "{head}");
    }
}

#[test]
fn override_host() {
    let backends = backends(3);
    let Some(gateway) = start("override-host", &backends) else {
        return;
    };
    expect_affinity(&gateway, &backends, "x-upstream-candidates", |port| {
        format!("127.0.0.1:{port}")
    });
}

#[test]
fn stateful_session() {
    let backends = backends(3);
    let Some(gateway) = start("stateful-session", &backends) else {
        return;
    };
    expect_affinity(&gateway, &backends, "x-session-host", |port| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("127.0.0.1:{port}"))
    });
    let answer = Client::connect(gateway.address("ingress")).get("/", "x-user: ana\r\n");
    assert_eq!(
        answer.header("x-session-host"),
        None,
        "clients don't learn of addresses"
    );
}

#[test]
fn cluster_header() {
    let backends = backends(3);
    let Some(gateway) = start("cluster-header", &backends) else {
        return;
    };
    expect_affinity(&gateway, &backends, "x-shard", |port| {
        let number = backends
            .iter()
            .position(|backend| backend.address.port() == port);
        format!("shard-{}", number.expect("known"))
    });
}

#[test]
fn hash_key() {
    let backends = backends(3);
    let Some(gateway) = start("hash-key", &backends) else {
        return;
    };
    // Filter state is nothing that a client could write.
    expect_affinity(&gateway, &backends, "x-nothing", |port| port.to_string());
}
