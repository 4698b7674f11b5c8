//! Calls that Envoy has and this host does not run yet. A module that imports them loads; one that
//! makes them gets `Unimplemented`, and strict mode says so.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, restricted, violation, wasi};
use crate::abi::Status;
use crate::vm::VmState;

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "envoy_resolve_dns", resolve_dns, name: i32, size: i32, out: i32);
    linker.func_wrap(
        "env",
        "pthread_equal",
        |guest: Guest<'_>, a: i32, b: i32| match guest.data() {
            state if state.starting => Err(restricted("pthread_equal", "a start function")),
            state if state.allocating => Err(restricted("pthread_equal", "the allocator")),
            _ => Ok(i32::from(a == b)),
        },
    )?;
    linker.func_wrap(
        "env",
        "emscripten_notify_memory_growth",
        |guest: Guest<'_>, _memory: i32| wasi::gate(&guest, "emscripten_notify_memory_growth"),
    )?;
    Ok(())
}

#[expect(clippy::needless_pass_by_ref_mut, reason = "the form of a hostcall")]
fn resolve_dns(guest: &mut Guest<'_>, _name: i32, _size: i32, _out: i32) -> Outcome {
    refuse(guest, "envoy_resolve_dns")
}

fn refuse(guest: &Guest<'_>, name: &str) -> Outcome {
    violation(
        guest,
        format!("{name} is not supported by host-test yet; the guest got Unimplemented (12)"),
    );
    Err(Status::Unimplemented)
}
