//! The filter in a host of its own for each test.

use std::path::PathBuf;

use host_test::host::Host;
use host_test::plugin::Plugin;

/// A fresh host that runs the filter.
fn host() -> Host {
    let plugin = Plugin::from_file(module()).expect("the module was built");
    Host::builder().plugin(plugin).build().expect("it starts")
}

#[test]
fn a_request_with_a_key_reaches_the_upstream() {
    let reply = host().get("/").header("x-api-key", "secret").send();
    assert_eq!(reply.status(), Some(200));
    assert!(reply.upstream_request().is_some());
}

#[test]
fn a_request_without_a_key_is_answered_by_the_filter() {
    let reply = host().get("/").send();
    assert_eq!(reply.status(), Some(401));
    assert_eq!(reply.body(), b"Send an x-api-key.\n");
    assert!(reply.upstream_request().is_none());
    assert!(reply.violations().is_empty(), "{:?}", reply.violations());
}

/// Where the build has put the module.
fn module() -> PathBuf {
    let folder = std::env::var_os("PENSTOCK_WASM_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/wasm")),
        PathBuf::from,
    );
    folder.join("your_first_filter.wasm")
}
