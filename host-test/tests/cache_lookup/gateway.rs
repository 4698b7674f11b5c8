//! An Envoy with cache-lookup in front of an origin.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::Client;
use crate::listeners::{Folder, await_updates};
use crate::process::{Gateway, Kind};
use crate::real_envoy::real_envoy;
pub(crate) use crate::until::until;

/// A running Envoy.
pub(crate) struct Envoy {
    gateway: Gateway,
}

impl Envoy {
    /// Starts it with a configuration of the filter; `None` without Envoy. `cache` is where the cluster of
    /// that name leads, if there is one.
    pub(crate) fn start(
        config: &Value,
        origin: SocketAddr,
        cache: Option<SocketAddr>,
    ) -> Option<Self> {
        let kind = Kind::Envoy(real_envoy()?);
        let mut clusters = vec![cluster("origin", origin)];
        clusters.extend(cache.map(|cache| cluster("cache", cache)));
        let bootstrap = json!({
            "admin": {"address": any_port()},
            "static_resources": {"listeners": [listener(&module(), config)], "clusters": clusters},
        });
        Some(Self {
            gateway: Gateway::start(&kind, &bootstrap.to_string()),
        })
    }

    /// Starts it with other filters before and after the cache, and with a `local_reply_config`.
    pub(crate) fn start_among(
        config: &Value,
        origin: SocketAddr,
        [before, after]: [&[Value]; 2],
        replies: &Value,
    ) -> Option<Self> {
        let kind = Kind::Envoy(real_envoy()?);
        let mut listener = listener(&module(), config);
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let own = manager["http_filters"].as_array().expect("filters");
        let (cache, router) = own.split_at(1);
        manager["http_filters"] = [before, cache, after, router].concat().into();
        manager["local_reply_config"] = replies.clone();
        let bootstrap = json!({
            "admin": {"address": any_port()},
            "static_resources": {"listeners": [listener], "clusters": [cluster("origin", origin)]},
        });
        Some(Self {
            gateway: Gateway::start(&kind, &bootstrap.to_string()),
        })
    }

    /// Starts it with a listener that can be changed.
    pub(crate) fn start_changing(config: &Value, origin: SocketAddr) -> Option<(Self, Listeners)> {
        let kind = Kind::Envoy(real_envoy()?);
        let listeners = Listeners {
            folder: Folder::new(),
            module: module(),
            changes: 0,
        };
        listeners
            .folder
            .put("0", listener(&listeners.module, config));
        let bootstrap = listeners.folder.bootstrap(&[cluster("origin", origin)]);
        let gateway = Gateway::start(&kind, &bootstrap);
        Some((Self { gateway }, listeners))
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.gateway.address("main"))
    }

    /// One of the filter's counters, of all workers.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let path = format!("/stats?filter=wasmcustom.{name}$");
        let answer = Client::connect(self.gateway.address("admin")).get(&path, "");
        let line = answer.body.lines().next().unwrap_or_default();
        line.rsplit(' ')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    }

    /// Resident bytes of the process.
    pub(crate) fn resident(&self) -> u64 {
        let file = format!("/proc/{}/status", self.gateway.pid());
        let text = std::fs::read_to_string(file).expect("the process runs");
        let line = text
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("it has memory");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .expect("a number")
            .parse()
            .expect("a number");
        kib * 1024
    }
}

/// The listener of an Envoy, which can be changed while it serves.
pub(crate) struct Listeners {
    folder: Folder,
    module: String,
    changes: u64,
}

impl Listeners {
    /// Gives the filter another configuration, in the VMs that it has.
    pub(crate) fn configure(&mut self, envoy: &Envoy, config: &Value) {
        self.changes += 1;
        let version = self.changes.to_string();
        self.folder.put(&version, listener(&self.module, config));
        let updates = "listener_manager.listener_in_place_updated";
        await_updates(&envoy.gateway, updates, self.changes);
    }

    /// Gives Envoy another module, which gets VMs of its own.
    pub(crate) fn upgrade(&mut self, envoy: &Envoy, config: &Value) {
        self.module = self.folder.upgraded(&module(), self.changes);
        self.configure(envoy, config);
    }
}

/// A filter that is a Lua script.
pub(crate) fn lua(script: &str) -> Value {
    let config = json!({"default_source_code": {"inline_string": script}});
    let kind = "envoy.extensions.filters.http.lua.v3.Lua";
    json!({"name": "lua", "typed_config": typed(kind, config)})
}

fn typed(kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/{kind}"));
    config
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": address.port()}})
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": socket(address)}},
        ]}]},
    })
}

fn any_port() -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}})
}

fn module() -> String {
    let folder = std::env::var("PENSTOCK_WASM_DIR")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm").to_owned());
    format!("{folder}/cache_lookup.wasm")
}

fn listener(module: &str, config: &Value) -> Value {
    let wasm = typed(
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        json!({"config": {
            "name": "cache_lookup",
            "failure_policy": "FAIL_RELOAD",
            "vm_config": {
                "vm_id": "cache_lookup",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module}},
            },
            "configuration": typed("google.protobuf.StringValue", json!({"value": config.to_string()})),
        }}),
    );
    let manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "main",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "60s"}},
            ]}]},
            "http_filters": [
                {"name": "cache_lookup", "typed_config": wasm},
                {"name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", json!({}))},
            ],
        }),
    );
    json!({
        "name": "main",
        "address": any_port(),
        "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
        ]}],
    })
}
