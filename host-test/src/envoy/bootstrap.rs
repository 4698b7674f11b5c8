//! Envoy's bootstrap for a scenario: its plugins, a router, the scripted upstream and services.
//!
//! It is JSON in a file that Envoy reads as YAML, as operators write it: the YAML loader changes
//! some numbers of an inline configuration on the way, and that must be seen here too.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use crate::scenario::{ConfigForm, FailurePolicy, PluginBlock, ScenarioFile, UPSTREAM};

use super::servers::Cluster;

/// The listener that takes the client's requests.
pub(super) const LISTENER: &str = "ingress";

/// The bootstrap for a scenario with these clusters and their hosts. Envoy's own ports are left to
/// the system.
pub(super) fn bootstrap(file: &ScenarioFile, clusters: &[Cluster]) -> Value {
    json!({
        "node": {"id": "host-test", "cluster": "host-test"},
        "admin": {"address": address(&SocketAddr::from(([127, 0, 0, 1], 0)))},
        // Makes a look at the statistics wait for the workers; see `admin`.
        "stats_flush_on_admin": true,
        "static_resources": {
            "listeners": [{
                "name": LISTENER,
                "address": address(&SocketAddr::from(([127, 0, 0, 1], 0))),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": connection_manager(file),
                }]}],
            }],
            "clusters": clusters.iter().map(cluster).collect::<Vec<_>>(),
        },
    })
}

fn cluster(Cluster { name, host, grpc }: &Cluster) -> Value {
    let endpoints = host
        .iter()
        .map(|host| json!({"lb_endpoints": [{"endpoint": {"address": address(host)}}]}));
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": endpoints.collect::<Vec<_>>(),
        },
    });
    if name != UPSTREAM {
        // Services may answer with trailers, and get those of a callout.
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": match grpc {
                    true => json!({"http2_protocol_options": {}}),
                    false => json!({"http_protocol_options": {"enable_trailers": true}}),
                },
            },
        });
    }
    cluster
}

fn connection_manager(file: &ScenarioFile) -> Value {
    let wasm = file
        .scenario
        .plugins
        .iter()
        .map(|plugin| wasm_filter(file, plugin));
    let manager = &file.scenario.connection_manager;
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    });
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.\
                  http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": LISTENER,
        // Requests that wait for a callout wait for as long as the scenario wants.
        "stream_idle_timeout": "0s",
        "use_remote_address": manager.use_remote_address,
        "xff_num_trusted_hops": manager.xff_num_trusted_hops,
        "access_log": [access_log(file)],
        "route_config": {
            "name": "local",
            "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": UPSTREAM}}],
            }],
        },
        "http_filters": wasm.chain([router]).collect::<Vec<_>>(),
    })
}

fn wasm_filter(file: &ScenarioFile, plugin: &PluginBlock) -> Value {
    let module = file.module_path(&plugin.module);
    let module = module.canonicalize().unwrap_or(module);
    let mut config = json!({
        "name": plugin.name(),
        "root_id": plugin.root_id,
        "failure_policy": match plugin.failure_policy {
            FailurePolicy::FailClosed => "FAIL_CLOSED",
            FailurePolicy::FailOpen => "FAIL_OPEN",
            FailurePolicy::FailReload => "FAIL_RELOAD",
        },
        "vm_config": {
            "vm_id": plugin.vm_id(),
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": module.to_string_lossy()}},
        },
    });
    if plugin.vm_config.is_some() {
        config["vm_config"]["configuration"] = json!({
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": plugin.vm_config_text(),
        });
    }
    if !plugin.environment.is_empty() {
        config["vm_config"]["environment_variables"] = json!({"key_values": plugin.environment});
    }
    if plugin.allow_on_headers_stop_iteration {
        config["allow_on_headers_stop_iteration"] = true.into();
    }
    if !plugin.allowed_capabilities.is_empty() {
        let names = plugin.allowed_capabilities.iter();
        let allowed: Map<String, Value> = names.map(|name| (name.clone(), json!({}))).collect();
        config["capability_restriction_config"] = json!({"allowed_capabilities": allowed});
    }
    if let Some(value) = &plugin.config {
        config["configuration"] = match (value, plugin.config_form) {
            (Value::Object(_), ConfigForm::Struct) => json!({
                "@type": "type.googleapis.com/google.protobuf.Struct",
                "value": value,
            }),
            (Value::String(base64), ConfigForm::Bytes) => json!({
                "@type": "type.googleapis.com/google.protobuf.BytesValue",
                "value": base64,
            }),
            _ => json!({
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": String::from_utf8_lossy(&plugin.config_bytes()),
            }),
        };
    }
    json!({
        "name": plugin.name(),
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": config,
        },
    })
}

/// One JSON line per request, with what only an access log knows.
fn access_log(file: &ScenarioFile) -> Value {
    let filter_state: Map<String, Value> = file
        .scenario
        .watched_filter_state()
        .into_iter()
        .map(|key| {
            (
                key.to_owned(),
                format!("%FILTER_STATE(wasm.{key}:PLAIN)%").into(),
            )
        })
        .collect();
    json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/stdout",
            "log_format": {"json_format": {
                "details": "%RESPONSE_CODE_DETAILS%",
                "peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
                "request_id": "%REQ(X-REQUEST-ID)%",
                "filter_state": filter_state,
            }},
        },
    })
}

fn address(address: &SocketAddr) -> Value {
    json!({"socket_address": {
        "address": address.ip().to_string(),
        "port_value": address.port(),
    }})
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn scenario(yaml: &str) -> ScenarioFile {
        let text = format!("name: a\nsteps: [{{advance: 1s}}]\n{yaml}");
        ScenarioFile::parse(Path::new("/dir/a.yaml"), &text).unwrap()
    }

    fn plugin_of(yaml: &str) -> Value {
        let file = scenario(yaml);
        wasm_filter(&file, &file.scenario.plugins[0])["typed_config"]["config"].clone()
    }

    #[test]
    fn a_json_configuration_is_a_string_value() {
        let config = plugin_of("plugins: [{module: m.wasm, config: {a: [1, 0.5]}}]");
        assert_eq!(config["configuration"]["value"], r#"{"a":[1,0.5]}"#);
        assert_eq!(config["vm_config"]["vm_id"], "m");
        assert_eq!(
            config["vm_config"]["code"]["local"]["filename"],
            "/dir/m.wasm"
        );
    }

    #[test]
    fn a_struct_configuration_is_inline() {
        let config = plugin_of("plugins: [{module: m.wasm, config: {a: 1}, config_form: struct}]");
        assert_eq!(config["configuration"]["value"], json!({"a": 1}));
    }

    #[test]
    fn bytes_stay_base64_and_the_vm_has_its_configuration_and_variables() {
        let config = plugin_of(
            "plugins: [{module: m.wasm, config: gAE=, config_form: bytes, vm_config: {a: 1}, \
             environment: {A: b}}]",
        );
        assert_eq!(config["configuration"]["value"], "gAE=");
        let vm = &config["vm_config"];
        assert_eq!(vm["configuration"]["value"], r#"{"a":1}"#);
        assert_eq!(vm["environment_variables"]["key_values"], json!({"A": "b"}));
    }

    #[test]
    fn a_plugin_without_configuration_gets_none() {
        let config = plugin_of("plugins: [{module: m.wasm, failure_policy: fail_open}]");
        assert!(config.get("configuration").is_none());
        assert_eq!(config["failure_policy"], "FAIL_OPEN");
    }

    #[test]
    fn the_access_log_asks_for_the_filter_state_that_is_expected() {
        let file = scenario(
            "plugins: [{module: m.wasm}]\n\
             upstreams: []\n",
        );
        assert_eq!(
            access_log(&file)["typed_config"]["log_format"]["json_format"]["filter_state"],
            json!({})
        );
        let text = "name: a\nplugins: [{module: m}]\nsteps: [{repeat: {times: 2, steps: \
                    [{request: /, expect: {filter_state: {k: v}}}]}}]";
        let file = ScenarioFile::parse(Path::new("/dir/a.yaml"), text).unwrap();
        assert_eq!(
            access_log(&file)["typed_config"]["log_format"]["json_format"]["filter_state"],
            json!({"k": "%FILTER_STATE(wasm.k:PLAIN)%"})
        );
    }

    #[test]
    fn filters_are_in_the_scenarios_order_and_the_router_last() {
        let file = scenario("plugins: [{module: b.wasm}, {module: a.wasm}]");
        let names: Vec<_> = connection_manager(&file)["http_filters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|filter| filter["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["b", "a", "envoy.filters.http.router"]);
    }
}
