//! Guests in the usual frame, compiled and hosted.

use std::path::Path;
use std::sync::Arc;

use host_test::host::{Host, HostBuilder};
use host_test::module::{Module, ModuleError};
use host_test::plugin::Plugin;

use crate::frame::wat;

/// Compiles a guest.
pub(crate) fn module(name: &str, body: &str) -> Result<Module, ModuleError> {
    let bytes = wat::parse_str(wat(body)).expect("the guest is valid WAT");
    Module::from_bytes(Path::new(name), &bytes)
}

/// A plugin of a guest.
pub(crate) fn plugin(name: &str, body: &str) -> Plugin {
    Plugin::new(Arc::new(module(name, body).expect("the guest loads")))
}

/// A host that runs one guest, ready to be built.
pub(crate) fn host(body: &str) -> HostBuilder {
    Host::builder().plugin(plugin("guest", body))
}

/// The messages that guests logged since the last call.
pub(crate) fn said(host: &Host) -> Vec<String> {
    host.take_logs()
        .into_iter()
        .map(|line| line.message)
        .collect()
}

/// Callbacks that log their names, for order tests; `tag` goes in front.
pub(crate) fn chatty(tag: &str) -> String {
    let three = [
        ("request_headers", 3),
        ("request_body", 3),
        ("request_trailers", 2),
    ];
    let back = [
        ("response_headers", 3),
        ("response_body", 3),
        ("response_trailers", 2),
    ];
    let mut body = String::new();
    for (name, params) in three.into_iter().chain(back) {
        let params = "i32 ".repeat(params);
        body.push_str(&format!(
            "(func (export \"proxy_on_{name}\") (param {params}) (result i32) say(\"{tag}{name}\") (i32.const 0))\n"
        ));
    }
    for name in ["log", "delete"] {
        body.push_str(&format!(
            "(func (export \"proxy_on_{name}\") (param i32) say(\"{tag}{name}\"))\n"
        ));
    }
    body.push_str(&format!(
        "(func (export \"proxy_on_done\") (param i32) (result i32) say(\"{tag}done\") (i32.const 1))\n"
    ));
    body
}
