//! The configuration of a plugin: `envoy.extensions.filters.http.wasm.v3.Wasm`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::any::guest_bytes;
use super::fields::{Fields, Problems};
use super::problem::Place;
use super::source::Code;
use super::yaml::{Node, Value};
use crate::plugin::FailurePolicy;

/// Envoy's `PluginConfig`, with its module not loaded yet.
#[derive(Clone, Debug)]
pub struct PluginConfig {
    /// Name used in logs and statistics.
    pub name: String,
    /// Root id given to the plugin.
    pub root_id: String,
    /// Bytes handed to `proxy_on_configure`.
    pub configuration: Vec<u8>,
    /// What happens after a trap.
    pub failure_policy: FailurePolicy,
    /// Envoy's field of that name.
    pub allow_on_headers_stop_iteration: bool,
    /// Names in `capability_restriction_config`; empty for no restriction.
    pub allowed_capabilities: BTreeSet<String>,
    /// Scope of shared data and queues.
    pub vm_id: String,
    /// Bytes handed to `proxy_on_vm_start`.
    pub vm_configuration: Vec<u8>,
    /// `WASI environ` of the VM.
    pub environment: Vec<(String, String)>,
    /// Where the module comes from.
    pub code: Code,
    /// Where the plugin stands in the file.
    pub at: Place,
}

/// Envoy's default of `reload_config.backoff.base_interval`.
const DEFAULT_BACKOFF: Duration = Duration::from_secs(1);

impl PluginConfig {
    /// Reads the fields of the `Wasm` message after its `@type`.
    pub(crate) fn read(mut wasm: Fields<'_, '_>) -> Option<Self> {
        let problems = wasm.problems;
        let config = wasm.require("config");
        wasm.finish(&[]);
        let config = config?;
        let mut fields = Fields::of(config, "a plugin's `config`", problems)?;
        let name = fields.take("name");
        let root_id = fields.take("root_id");
        let vm = fields.require("vm_config");
        let configuration = fields.take("configuration");
        let failure_policy = failure_policy(&mut fields);
        let stop = fields.take("allow_on_headers_stop_iteration");
        let capabilities = fields.take("capability_restriction_config");
        let at = fields.at;
        fields.finish(&[]);
        let text = |node: Option<&Node>, what| match node {
            Some(node) => problems.string(node, what),
            None => Some(String::new()),
        };
        let bytes = |node: Option<&Node>| match node {
            Some(node) => guest_bytes(node, "`configuration`", problems),
            None => Some(Vec::new()),
        };
        let configuration = bytes(configuration);
        let mut fields = Fields::of(vm?, "`vm_config`", problems)?;
        let vm_id = fields.take("vm_id");
        let runtime = fields.take("runtime");
        let code = fields.require("code");
        let vm_configuration = fields.take("configuration");
        let environment = fields.take("environment_variables");
        // Its place in newer files; a restriction of the plugin comes first.
        let of_vm = fields.take("capability_restriction_config");
        fields.finish(&["allow_precompiled", "nack_on_code_cache_miss"]);
        if let Some(node) = runtime {
            let others = ["envoy.wasm.runtime.null", "envoy.wasm.runtime.wamr"];
            problems.choice(node, "runtime", &[("envoy.wasm.runtime.v8", ())], &others);
        }
        let vm_configuration = bytes(vm_configuration);
        let code = Code::read(code?, problems);
        Some(Self {
            name: text(name, "name")?,
            root_id: text(root_id, "root_id")?,
            configuration: configuration?,
            failure_policy: failure_policy?,
            allow_on_headers_stop_iteration: match stop {
                Some(node) => problems.boolean(node, "allow_on_headers_stop_iteration")?,
                None => false,
            },
            allowed_capabilities: match capabilities.or(of_vm) {
                Some(node) => allowed_capabilities(node, problems)?,
                None => BTreeSet::new(),
            },
            vm_id: text(vm_id, "vm_id")?,
            vm_configuration: vm_configuration?,
            environment: match environment {
                Some(node) => environment_variables(node, problems)?,
                None => Vec::new(),
            },
            code: code?,
            at,
        })
    }
}

/// Reads `failure_policy`, `reload_config` and the deprecated `fail_open`.
fn failure_policy(fields: &mut Fields<'_, '_>) -> Option<FailurePolicy> {
    let problems = fields.problems;
    let policy = fields.take("failure_policy");
    let reload = fields.take("reload_config");
    let fail_open = fields.take("fail_open");
    if policy.is_some() && fail_open.is_some() {
        let message = "a plugin has either `failure_policy` or `fail_open`, not both";
        problems.malformed(fields.key_place("fail_open"), message);
        return None;
    }
    if let Some(node) = fail_open {
        return Some(if problems.boolean(node, "fail_open")? {
            FailurePolicy::FailOpen
        } else {
            FailurePolicy::FailClosed
        });
    }
    let backoff = match reload {
        Some(node) => backoff(node, problems)?,
        None => DEFAULT_BACKOFF,
    };
    let Some(policy) = policy else {
        return Some(FailurePolicy::default());
    };
    let names = [
        ("UNSPECIFIED", FailurePolicy::FailClosed),
        ("FAIL_RELOAD", FailurePolicy::FailReload { backoff }),
        ("FAIL_CLOSED", FailurePolicy::FailClosed),
        ("FAIL_OPEN", FailurePolicy::FailOpen),
    ];
    problems.choice(policy, "failure_policy", &names, &[])
}

/// Reads `reload_config: {backoff: {base_interval: …}}`.
fn backoff(node: &Node, problems: &Problems) -> Option<Duration> {
    let mut fields = Fields::of(node, "`reload_config`", problems)?;
    let backoff = fields.take("backoff");
    fields.finish(&[]);
    let Some(backoff) = backoff else {
        return Some(DEFAULT_BACKOFF);
    };
    let mut fields = Fields::of(backoff, "`backoff`", problems)?;
    let base = fields.require("base_interval");
    fields.finish(&["max_interval"]);
    let base = base?;
    let interval = problems.duration(base, "base_interval")?;
    if interval < Duration::from_millis(1) {
        problems.malformed(base.at, "base_interval must be at least 0.001s");
        return None;
    }
    Some(interval)
}

/// Reads `capability_restriction_config: {allowed_capabilities: {NAME: {}}}`.
fn allowed_capabilities(node: &Node, problems: &Problems) -> Option<BTreeSet<String>> {
    let mut fields = Fields::of(node, "`capability_restriction_config`", problems)?;
    let allowed = fields.take("allowed_capabilities");
    fields.finish(&[]);
    let Some(allowed) = allowed else {
        return Some(BTreeSet::new());
    };
    let Value::Mapping(entries) = &allowed.value else {
        problems.malformed(allowed.at, "allowed_capabilities must be a mapping");
        return None;
    };
    Some(entries.iter().map(|entry| entry.key.clone()).collect())
}

/// Reads `environment_variables`; a host's variable that isn't set is left out, as in Envoy.
fn environment_variables(node: &Node, problems: &Problems) -> Option<Vec<(String, String)>> {
    let mut fields = Fields::of(node, "`environment_variables`", problems)?;
    let keys = fields.take("host_env_keys");
    let values = fields.take("key_values");
    fields.finish(&[]);
    let mut environment = Vec::new();
    for node in keys.map_or(&[][..], |node| problems.list(node, "host_env_keys")) {
        let key = problems.string(node, "a name of host_env_keys")?;
        if let Ok(value) = std::env::var(&key) {
            environment.push((key, value));
        }
    }
    let Some(values) = values else {
        return Some(environment);
    };
    let Value::Mapping(entries) = &values.value else {
        problems.malformed(values.at, "key_values must be a mapping");
        return None;
    };
    for entry in entries {
        if environment.iter().any(|(key, _)| *key == entry.key) {
            let message = format!("`{}` is in host_env_keys too", entry.key);
            problems.malformed(entry.key_at, message);
        }
        let value = problems.string(&entry.value, &entry.key)?;
        environment.push((entry.key.clone(), value));
    }
    Some(environment)
}
