//! Bootstraps for gateways under measurement. JSON, which every YAML reader takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::workspace::Workspace;

const TYPE: &str = "type.googleapis.com";
const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http";

/// A listener of a bootstrap.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What a request passes before it is answered.
    pub(crate) filters: Vec<Value>,
    /// Where requests go; answered in place when absent.
    pub(crate) upstream: Option<SocketAddr>,
}

/// Writes a bootstrap to `target/bench` and returns its path.
pub(crate) fn write(
    workspace: &Workspace,
    name: &str,
    admin: SocketAddr,
    listeners: &[Listener],
) -> Result<PathBuf> {
    write_with(workspace, name, admin, listeners, Vec::new())
}

/// The same with more clusters than those of the upstreams.
pub(crate) fn write_with(
    workspace: &Workspace,
    name: &str,
    admin: SocketAddr,
    listeners: &[Listener],
    clusters: Vec<Value>,
) -> Result<PathBuf> {
    let file = workspace.target("bench").join(format!("{name}.json"));
    let text = format!("{:#}\n", bootstrap(admin, listeners, clusters));
    std::fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
    Ok(file)
}

/// One of Envoy's HTTP filters; `message` is its configuration's type below `filters.http`.
pub(crate) fn native(name: &str, message: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("{HTTP}.{message}"));
    json!({ "name": name, "typed_config": config })
}

/// One of our modules. Listeners with the same `vm_id` share their data.
pub(crate) fn ours(workspace: &Workspace, module: &str, vm_id: &str, config: &Value) -> Value {
    let plugin = json!({
        "name": module,
        "failure_policy": "FAIL_RELOAD",
        "configuration": {
            "@type": format!("{TYPE}/google.protobuf.StringValue"),
            "value": config.to_string(),
        },
        "vm_config": {
            "vm_id": vm_id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": workspace.wasm(module) } },
        },
    });
    native(module, "wasm.v3.Wasm", json!({ "config": plugin }))
}

fn bootstrap(admin: SocketAddr, listeners: &[Listener], mut clusters: Vec<Value>) -> Value {
    let upstreams = listeners
        .iter()
        .filter_map(|it| Some((it.name, it.upstream?)));
    clusters.extend(upstreams.map(|(name, address)| cluster(name, address)));
    let listeners: Vec<Value> = listeners.iter().map(listener).collect();
    json!({
        "admin": { "address": socket(admin) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

fn listener(listener: &Listener) -> Value {
    let mut filters = listener.filters.clone();
    filters.push(native(
        "envoy.filters.http.router",
        "router.v3.Router",
        json!({}),
    ));
    let mut route = json!({ "match": { "prefix": "/" } });
    match listener.upstream {
        Some(_) => route["route"] = json!({ "cluster": listener.name }),
        None => {
            let body = json!({ "inline_string": "ok" });
            route["direct_response"] = json!({ "status": 200, "body": body });
        }
    }
    let manager = format!(
        "{TYPE}/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    );
    json!({
        "name": listener.name,
        "address": socket(listener.address),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": manager,
                "stat_prefix": listener.name,
                "http_filters": filters,
                "route_config": { "virtual_hosts": [
                    { "name": "all", "domains": ["*"], "routes": [route] }
                ] },
            },
        }] }],
    })
}

/// A cluster of one host that speaks HTTP/2, as gRPC services do.
pub(crate) fn grpc_cluster(name: &str, address: SocketAddr) -> Value {
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let mut cluster = cluster(name, address);
    cluster["typed_extension_protocol_options"] = json!({ options: {
        "@type": format!("{TYPE}/{options}"),
        "explicit_http_config": { "http2_protocol_options": {} },
    } });
    cluster
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    let endpoint = json!({ "endpoint": { "address": socket(address) } });
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [endpoint] }],
        },
    })
}

fn socket(address: SocketAddr) -> Value {
    let ip = address.ip().to_string();
    json!({ "socket_address": { "address": ip, "port_value": address.port() } })
}
