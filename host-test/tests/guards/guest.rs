//! Guests in the usual frame, in a host with short limits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use host_test::host::{Host, HostBuilder};
use host_test::module::Module;
use host_test::plugin::{FailurePolicy, Limits, Plugin};

use crate::frame::wat;

/// A plugin of a guest's own functions.
pub(crate) fn plugin(body: &str) -> Plugin {
    plugin_of(&wat(body))
}

/// A plugin of a whole module.
pub(crate) fn plugin_of(module: &str) -> Plugin {
    let bytes = wat::parse_str(module).expect("the guest is valid WAT");
    let module = Module::from_bytes(Path::new("guest"), &bytes).expect("the guest loads");
    Plugin::new(Arc::new(module)).failure_policy(FailurePolicy::FailReload {
        backoff: Duration::ZERO,
    })
}

/// A host whose callbacks have little time.
pub(crate) fn host(plugin: Plugin) -> HostBuilder {
    let limits = Limits {
        callback: Some(Duration::from_millis(50)),
        ..plugin.limits
    };
    Host::builder().plugin(plugin.limits(limits))
}

/// The first line of each trap's report.
pub(crate) fn traps(host: &Host) -> Vec<String> {
    host.take_logs()
        .into_iter()
        .filter(|line| line.message.starts_with("Function: "))
        .map(|line| line.message.lines().next().unwrap_or_default().to_owned())
        .collect()
}
