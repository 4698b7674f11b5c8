//! What a plugin is: a module, its configuration and how its failures are handled.

use std::sync::Arc;
use std::time::Duration;

use crate::module::Module;

/// One entry of a filter chain: Envoy's `envoy.extensions.wasm.v3.PluginConfig`.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Name used in logs and statistics.
    pub name: String,
    /// Root id given to the plugin; usually empty or equal to the name.
    pub root_id: String,
    /// Scope of shared data and queues. Plugins with equal id, module and VM configuration share a VM.
    pub vm_id: String,
    /// Bytes handed to `proxy_on_vm_start`.
    pub vm_configuration: Vec<u8>,
    /// Bytes handed to `proxy_on_configure`.
    pub configuration: Vec<u8>,
    /// The compiled module.
    pub module: Arc<Module>,
    /// What happens after a trap.
    pub failure_policy: FailurePolicy,
    /// `WASI environ` of the VM.
    pub environment: Vec<(String, String)>,
    /// Envoy's field of that name: a pause in headers lets body callbacks run.
    pub allow_on_headers_stop_iteration: bool,
}

/// What a host does once a VM has trapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Every later request is answered 503. Envoy's default.
    #[default]
    FailClosed,
    /// Every later request bypasses the plugin.
    FailOpen,
    /// The VM is made anew by the first request after the back-off.
    FailReload {
        /// Least time between two loads; Envoy's default is one second.
        backoff: Duration,
    },
}
