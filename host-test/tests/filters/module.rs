//! Finding the modules.

use std::path::PathBuf;

use host_test::plugin::Plugin;

/// A plugin of one of our modules. A missing module fails the test: it is never skipped.
pub(crate) fn plugin(name: &str) -> Plugin {
    let directory = std::env::var_os("PENSTOCK_WASM_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm")),
        PathBuf::from,
    );
    let path = directory.join(format!("{name}.wasm"));
    match Plugin::from_file(&path) {
        Ok(plugin) => plugin,
        Err(error) => panic!("{error}; `cargo xtask build` makes the modules"),
    }
}
