//! Loading the modules of a bootstrap and trying its plugins, with the place of each mistake.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bootstrap::{Bootstrap, Code, Place, PluginConfig, Report};
use crate::module::{Module, ModuleError};
use crate::plugin::Plugin;
use crate::worker::{Environment, Worker};

/// The plugins of all listeners.
#[derive(Debug, Default)]
pub(crate) struct Plugins {
    /// What [`Worker::start`] is given.
    pub(crate) all: Vec<Arc<Plugin>>,
    /// By listener and filter: the position in `all`.
    pub(crate) positions: Vec<Vec<usize>>,
}

/// Loads the modules and tries each plugin in a throw-away VM. Everything that is wrong goes into
/// the report.
pub(crate) fn load(
    bootstrap: &Bootstrap,
    environment: &Environment,
    report: &mut Report,
) -> Plugins {
    let mut plugins = Plugins::default();
    let mut modules = Modules::default();
    for listener in &bootstrap.listeners {
        let mut positions = Vec::new();
        for filter in &listener.manager.filters {
            let config = &filter.plugin;
            let module = match modules.load(config) {
                Ok(module) => module,
                Err((at, sentence)) => {
                    report.push(at, sentence);
                    continue;
                }
            };
            let plugin = Arc::new(plugin(config, module));
            if let Err(error) = Worker::canary(environment.clone(), &plugin) {
                report.push(
                    config.at,
                    format!("plugin {} {}", error.plugin, error.cause),
                );
                continue;
            }
            positions.push(plugins.all.len());
            plugins.all.push(plugin);
        }
        plugins.positions.push(positions);
    }
    plugins
}

fn plugin(config: &PluginConfig, module: Arc<Module>) -> Plugin {
    Plugin {
        name: config.name.clone(),
        root_id: config.root_id.clone(),
        vm_id: config.vm_id.clone(),
        vm_configuration: config.vm_configuration.clone(),
        configuration: config.configuration.clone(),
        module,
        failure_policy: config.failure_policy,
        environment: config.environment.clone(),
        allow_on_headers_stop_iteration: config.allow_on_headers_stop_iteration,
        limits: Default::default(),
        allowed_capabilities: config.allowed_capabilities.clone(),
    }
}

/// Modules by file, so that each is compiled once.
#[derive(Default)]
struct Modules {
    by_path: HashMap<PathBuf, Arc<Module>>,
}

impl Modules {
    fn load(&mut self, config: &PluginConfig) -> Result<Arc<Module>, (Place, String)> {
        let name = &config.name;
        let sentence = |error: ModuleError| {
            let path = error.path.display();
            format!(
                "the module {path} of plugin {name} can't be loaded: {}",
                error.cause
            )
        };
        match &config.code {
            Code::Inline(bytes) => Module::from_bytes(Path::new("inline code"), bytes)
                .map(Arc::new)
                .map_err(|error| (config.at, sentence(error))),
            Code::File { path, at } => {
                if let Some(module) = self.by_path.get(path) {
                    return Ok(Arc::clone(module));
                }
                let module = Module::from_file(path).map_err(|error| (*at, sentence(error)))?;
                let module = Arc::new(module);
                self.by_path.insert(path.clone(), Arc::clone(&module));
                Ok(module)
            }
        }
    }
}
