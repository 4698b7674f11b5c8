//! What a plugin is: a module, its configuration and how its failures are handled.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::module::{Module, ModuleError};

/// One entry of a filter chain: Envoy's `envoy.extensions.wasm.v3.PluginConfig`.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Name used in logs and statistics.
    pub name: String,
    /// Root id given to the plugin; usually empty or equal to the name.
    pub root_id: String,
    /// Scope of shared data and queues. Plugins with equal id, module and VM configuration share a
    /// VM.
    pub vm_id: String,
    /// Bytes handed to `proxy_on_vm_start`.
    pub vm_configuration: Vec<u8>,
    /// Bytes handed to `proxy_on_configure`.
    pub configuration: Vec<u8>,
    /// The compiled module.
    pub module: Arc<Module>,
    /// What happens after a trap.
    pub failure_policy: FailurePolicy,
    /// The VM's environment variables, which WASI hands out.
    pub environment: Vec<(String, String)>,
    /// Envoy's field of that name: a pause in headers lets body callbacks run.
    pub allow_on_headers_stop_iteration: bool,
    /// The callbacks and imports that the plugin is restricted to, by name; empty for all. What is
    /// missing isn't called, or answers an error. Plugins that share a VM have what the first has.
    pub allowed_capabilities: BTreeSet<String>,
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

impl Plugin {
    /// A plugin of a compiled module, named after it, with an empty configuration.
    pub fn new(module: Arc<Module>) -> Self {
        let name = module
            .path()
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Self {
            name,
            root_id: String::new(),
            vm_id: String::new(),
            vm_configuration: Vec::new(),
            configuration: Vec::new(),
            module,
            failure_policy: FailurePolicy::default(),
            environment: Vec::new(),
            allow_on_headers_stop_iteration: false,
            allowed_capabilities: BTreeSet::new(),
        }
    }

    /// A plugin of a module file.
    ///
    /// # Errors
    ///
    /// As [`Module::from_file`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ModuleError> {
        Ok(Self::new(Arc::new(Module::from_file(path.as_ref())?)))
    }

    /// Names the plugin.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets the configuration to these bytes; JSON text for most plugins.
    #[must_use]
    pub fn config_json(mut self, json: impl AsRef<[u8]>) -> Self {
        self.configuration = json.as_ref().to_vec();
        self
    }

    /// Sets the scope of shared data.
    #[must_use]
    pub fn vm_id(mut self, vm_id: &str) -> Self {
        vm_id.clone_into(&mut self.vm_id);
        self
    }

    /// Restricts the plugin to these callbacks and imports.
    #[must_use]
    pub fn allow(mut self, capabilities: &[&str]) -> Self {
        self.allowed_capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Sets what happens after a trap.
    #[must_use]
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.failure_policy = policy;
        self
    }
}
