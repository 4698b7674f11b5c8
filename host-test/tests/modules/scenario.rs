//! A scenario of a compiled module, on both hosts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use host_test::scenario::report::{Format, Summary, render};
use host_test::scenario::{HostKind, Hosts, run_files};

use crate::real_envoy::real_envoy;

/// Where `cargo xtask build` puts a module.
pub(crate) fn module(name: &str) -> PathBuf {
    let folder = std::env::var_os("PENSTOCK_WASM_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm")),
        PathBuf::from,
    );
    let path = folder.join(format!("{name}.wasm"));
    let there = path.is_file();
    assert!(there, "{}: `cargo xtask test` makes it", path.display());
    path.canonicalize().unwrap()
}

/// Runs a scenario on both hosts; `{module}` in it is the module's file. Envoy's own identifiers of
/// requests differ from ours, so requests should bring theirs.
#[track_caller]
pub(crate) fn assert_passes(module: &[u8], text: &str) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("host-test-modules-{}-{count}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("guest.wasm"), module).unwrap();
    let file = folder.join("scenario.yaml");
    std::fs::write(&file, format!("name: a scenario\nstrict: false\n{text}")).unwrap();
    let hosts = match real_envoy() {
        Some(_) => Hosts::Both,
        None => Hosts::One(HostKind::Wasmtime),
    };
    let runs = run_files(&[file], hosts).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(
        Summary::of(&runs).failed,
        0,
        "{}",
        render(Format::Pretty, &runs)
    );
}
