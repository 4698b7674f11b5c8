//! Envoy's jwt_authn in the real Envoy: one process, one listener for each group.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::Group;
use crate::client::Client;
use crate::process::{Gateway, Kind};
use crate::requests::{Outcome, Request, compared};
use crate::token;
use crate::upstream::Upstream;

/// The outcomes of each group's cases, in order.
pub(crate) fn run(envoy: OsString, groups: &[Group]) -> Vec<Vec<Outcome>> {
    let upstream = Upstream::echo();
    let keys = token::jwks().to_string();
    let length = keys.len();
    let keys = Upstream::answering(&format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{keys}"
    ));
    let config = bootstrap(groups, upstream.address, keys.address).to_string();
    let envoy = Gateway::start(&Kind::Envoy(envoy), &config);
    let outcomes = groups.iter().map(|group| {
        let address = envoy.address(group.name);
        let outcomes = group.cases.iter().map(|case| send(address, &case.request));
        outcomes.collect()
    });
    outcomes.collect()
}

fn socket(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn bootstrap(groups: &[Group], upstream: SocketAddr, keys: SocketAddr) -> Value {
    let listeners: Vec<_> = groups.iter().map(listener).collect();
    let cluster = |name: &str, address: SocketAddr| {
        let endpoint = json!({"endpoint": {"address": socket(address.port())}});
        json!({
            "name": name,
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        })
    };
    json!({
        "admin": {"address": socket(0)},
        "static_resources": {
            "listeners": listeners,
            "clusters": [cluster("upstream", upstream), cluster("example_jwks_cluster", keys)],
        },
    })
}

fn listener(group: &Group) -> Value {
    let typed = |kind: &str, mut config: Value| {
        config["@type"] = json!(format!(
            "type.googleapis.com/envoy.extensions.filters.{kind}"
        ));
        config
    };
    let jwt = typed("http.jwt_authn.v3.JwtAuthentication", group.config.clone());
    let router = typed(
        "http.router.v3.Router",
        json!({"suppress_envoy_headers": true}),
    );
    let manager = json!({
        "stat_prefix": "a",
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt},
            {"name": "router", "typed_config": router},
        ],
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
        ]}]},
    });
    let manager = typed(
        "network.http_connection_manager.v3.HttpConnectionManager",
        manager,
    );
    json!({
        "name": group.name,
        "address": socket(0),
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    })
}

fn send(address: SocketAddr, request: &Request) -> Outcome {
    let mut text = format!(
        "{} {} HTTP/1.1\r\nhost: localhost\r\n",
        request.method, request.path
    );
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut client = Client::connect(address);
    client.send(&text);
    let response = client.response();
    let upstream = (response.status == 200).then(|| seen(&response.body));
    Outcome {
        status: response.status,
        upstream,
    }
}

/// The headers of a request head.
fn seen(head: &str) -> BTreeMap<String, Vec<String>> {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut lines = head.lines();
    let path = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .expect("a request line");
    headers.insert(":path".to_owned(), vec![path.to_owned()]);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if compared(name) {
            headers
                .entry(name.to_owned())
                .or_default()
                .push(value.to_owned());
        }
    }
    headers
}
