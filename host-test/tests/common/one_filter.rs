//! The configuration of a gateway that has one of our filters in front of a route.

use std::net::SocketAddr;

use serde_json::{Value, json};

/// A gateway that answers 200 to what its one filter lets through.
pub(crate) struct OneFilter<'c> {
    /// The name of the filter's module.
    pub(crate) filter: &'static str,
    /// The filter's configuration.
    pub(crate) config: &'c Value,
    /// Clusters that the filter calls, and where they lead.
    pub(crate) clusters: &'c [(&'static str, SocketAddr)],
    /// How clients' connections are secured, if they are.
    pub(crate) transport_socket: Option<Value>,
    /// Fields of the connection manager besides the usual ones.
    pub(crate) manager: Value,
}

impl OneFilter<'_> {
    /// An Envoy configuration with the listener `main`.
    pub(crate) fn bootstrap(&self) -> String {
        let mut chain = json!({"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": self.manager()},
        ]});
        if let Some(socket) = &self.transport_socket {
            chain["transport_socket"] = socket.clone();
        }
        let clusters = self.clusters.iter().map(|(name, address)| {
            json!({
                "name": name,
                "type": "STATIC",
                "connect_timeout": "1s",
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": socket(address.port())}},
                ]}]},
            })
        });
        json!({
            "admin": {"address": socket(0)},
            "static_resources": {
                "listeners": [{"name": "main", "address": socket(0), "filter_chains": [chain]}],
                "clusters": clusters.collect::<Vec<_>>(),
            },
        })
        .to_string()
    }

    fn manager(&self) -> Value {
        let wasm = typed(
            "envoy.extensions.filters.http.wasm.v3.Wasm",
            json!({"config": {
                "name": self.filter,
                "vm_config": {
                    "vm_id": self.filter,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module(self.filter)}},
                },
                "configuration":
                    typed("google.protobuf.StringValue", json!({"value": self.config.to_string()})),
            }}),
        );
        let mut manager = typed(
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            json!({
                "stat_prefix": "main",
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                    {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
                ]}]},
                "http_filters": [
                    {"name": self.filter, "typed_config": wasm},
                    {"name": "router", "typed_config":
                        typed("envoy.extensions.filters.http.router.v3.Router", json!({}))},
                ],
            }),
        );
        for (name, value) in self.manager.as_object().into_iter().flatten() {
            manager[name] = value.clone();
        }
        manager
    }
}

/// A message in Envoy's JSON.
pub(crate) fn typed(kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/{kind}"));
    config
}

fn socket(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn module(name: &str) -> String {
    let folder = std::env::var("PENSTOCK_WASM_DIR");
    let folder = folder
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm").to_owned());
    format!("{folder}/{name}.wasm")
}
