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
    /// What it may use.
    pub limits: Limits,
}

/// What a plugin's VM may use. Plugins that share a VM have the limits of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Bytes of memory, of which at most Envoy's 1 GiB count; beyond it memory does not grow.
    pub memory: Option<usize>,
    /// How long a callback may run in real time before it traps; 2 s if not given. Measured in
    /// steps of 10 ms.
    pub callback: Option<Duration>,
    /// Hostcalls that a callback may make before it traps; 10,000,000 if not given.
    pub hostcalls: Option<u32>,
    /// Bytes that a callback may hand to the host in all, of which calls beyond it are refused with
    /// status 10; 1 GiB if not given.
    pub bytes: Option<usize>,
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
    ///
    /// ```
    /// use std::path::Path;
    /// use std::sync::Arc;
    /// use host_test::module::Module;
    /// use host_test::plugin::{FailurePolicy, Plugin};
    ///
    /// # let bytes = wat::parse_str(include_str!("../tests/guests/passive.wat"))?;
    /// let module = Module::from_bytes(Path::new("passive.wasm"), &bytes)?;
    /// let plugin = Plugin::new(Arc::new(module))
    ///     .config_json(r#"{"rules": []}"#)
    ///     .failure_policy(FailurePolicy::FailOpen);
    /// assert_eq!(plugin.name, "passive");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
            limits: Limits::default(),
        }
    }

    /// A plugin of a module file, which is compiled once for all tests of a process.
    ///
    /// # Errors
    ///
    /// As [`Module::from_file`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ModuleError> {
        Ok(Self::new(Module::load(path.as_ref())?))
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

    /// Sets what it may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets what happens after a trap.
    #[must_use]
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.failure_policy = policy;
        self
    }
}
