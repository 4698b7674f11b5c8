//! Bootstraps for gateways under measurement. JSON, which every YAML reader takes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

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
    write_with(workspace, name, admin, listeners, More::default())
}

/// What a bootstrap has beside the listeners that forward and their clusters.
#[derive(Default)]
pub(crate) struct More {
    /// Listeners made by [`answering`].
    pub(crate) listeners: Vec<Value>,
    /// Services of filters.
    pub(crate) clusters: Vec<Value>,
}

/// Writes a bootstrap that has more of either.
pub(crate) fn write_with(
    workspace: &Workspace,
    name: &str,
    admin: SocketAddr,
    listeners: &[Listener],
    more: More,
) -> Result<PathBuf> {
    let file = workspace.target("bench").join(format!("{name}.json"));
    let text = format!("{:#}\n", bootstrap(admin, listeners, more));
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

fn bootstrap(admin: SocketAddr, listeners: &[Listener], more: More) -> Value {
    let upstreams = listeners
        .iter()
        .filter_map(|it| Some((it.name, it.upstream?)));
    let mut clusters = more.clusters;
    clusters.extend(upstreams.map(|(name, address)| cluster(name, address)));
    let listeners = listeners.iter().map(listener);
    let listeners: Vec<Value> = listeners.chain(more.listeners).collect();
    json!({
        "admin": { "address": socket(admin) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

fn listener(listener: &Listener) -> Value {
    let mut route = json!({ "match": { "prefix": "/" } });
    match listener.upstream {
        Some(_) => route["route"] = json!({ "cluster": listener.name }),
        None => {
            let body = json!({ "inline_string": "ok" });
            route["direct_response"] = json!({ "status": 200, "body": body });
        }
    }
    routing(listener, &json!([route]))
}

/// A listener that answers `/NAME` in place with the file of that name in a folder.
pub(crate) fn answering(listener: &Listener, folder: &Path, names: &[String]) -> Value {
    let route = |name: &String| {
        let body = json!({ "filename": folder.join(name) });
        json!({
            "match": { "path": format!("/{name}") },
            "direct_response": { "status": 200, "body": body },
        })
    };
    let routes: Vec<Value> = names.iter().map(route).collect();
    routing(listener, &json!(routes))
}

fn routing(listener: &Listener, routes: &Value) -> Value {
    let mut filters = listener.filters.clone();
    filters.push(native(
        "envoy.filters.http.router",
        "router.v3.Router",
        json!({}),
    ));
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
                "route_config": {
                    "max_direct_response_body_size_bytes": 1_000_000,
                    "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }],
                },
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
