//! Compiles the clock that is preloaded into Envoy (`src/envoy/clock_shim.rs`) into a shared
//! object, which the library embeds. Where that can't be done the object is empty, and scenarios
//! that advance time say so when they are to run on Envoy.

use std::env;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "src/envoy/clock_shim.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let object = Path::new(&variable("OUT_DIR")).join("clock_shim.so");
    let compiled = variable("CARGO_CFG_TARGET_OS") == "linux"
        && Command::new(variable("RUSTC"))
            .args([
                "--edition",
                "2024",
                "--crate-type",
                "cdylib",
                "--crate-name",
                "clock_shim",
            ])
            .args([
                "-C",
                "panic=abort",
                "-C",
                "opt-level=2",
                "-C",
                "strip=symbols",
            ])
            .args(["--target", &variable("TARGET"), "-o"])
            .arg(&object)
            .arg(SOURCE)
            .status()
            .is_ok_and(|status| status.success());
    if !compiled {
        println!("cargo::warning=Envoy can't be given a virtual clock on this platform");
        if let Err(error) = std::fs::write(&object, []) {
            println!("cargo::error=can't write {}: {error}", object.display());
        }
    }
}
