//! Capability restriction: the imports that a plugin may not use answer an error instead.

use std::collections::BTreeSet;

use wasmtime::{Caller, Linker, Module, Val};

use crate::abi::{AbiVersion, Status};
use crate::vm::VmState;

/// WASI's `ENOTCAPABLE`.
const NOT_CAPABLE: i32 = 76;

/// Replaces what is not allowed among the imports of a module. A linker of its own is needed.
pub(crate) fn restrict(
    linker: &mut Linker<VmState>,
    module: &Module,
    allowed: &BTreeSet<String>,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let wasi = from != "env";
        // Envoy's own additions to the ABI can't be restricted.
        let known =
            wasi || AbiVersion::ALL.iter().any(|abi| abi.has(name)) && name.starts_with("proxy_");
        let Some(function) = import
            .ty()
            .func()
            .filter(|_| known && !allowed.contains(name))
            .cloned()
        else {
            continue;
        };
        let status = if wasi {
            NOT_CAPABLE
        } else {
            Status::InternalFailure as i32
        };
        let what = if wasi { "WASI" } else { "proxy-wasm" };
        let text = format!("Attempted call to restricted {what} capability: {name}");
        let answers = move |guest: Caller<'_, VmState>, _: &[Val], results: &mut [Val]| {
            let mut worker = guest.data().worker.borrow_mut();
            worker.log(log::Level::Error, "", text.clone());
            if let Some(result) = results.first_mut() {
                *result = Val::I32(status);
            }
            Ok(())
        };
        linker.func_new(from, name, function, answers)?;
    }
    Ok(())
}
