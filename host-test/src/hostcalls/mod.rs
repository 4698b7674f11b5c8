//! The functions a guest may import, one module per area of the ABI.
//!
//! Every call is counted, and during start functions all but logging and WASI are refused, as in
//! Envoy. A call never re-enters the guest but to allocate; what must happen after the guest has
//! returned is put into [`crate::vm::VmState`]'s deferred list.

mod buffers;
mod callout;
mod context;
mod foreign;
mod grpc;
mod headers;
mod log;
mod memory;
mod metrics;
mod properties;
mod restricted;
mod shared;
mod stream;
mod time;
mod unsupported;
mod wasi;

use wasmtime::{Caller, Linker};

use crate::abi::{AbiVersion, HOSTCALLS, Status};
use crate::vm::VmState;

pub(crate) use restricted::restrict;

/// What a hostcall works with.
pub(crate) type Guest<'a> = Caller<'a, VmState>;

/// What a hostcall's body returns; the error is the status the guest gets.
type Outcome = Result<(), Status>;

/// Adds an `env` function: `hostcall!(linker, "name", function, arg: type, …)`.
macro_rules! hostcall {
    ($linker:expr, $name:literal, $function:path $(, $arg:ident: $ty:ty)*) => {
        $linker.func_wrap(
            "env",
            $name,
            |mut guest: $crate::hostcalls::Guest<'_> $(, $arg: $ty)*| -> wasmtime::Result<i32> {
                const INDEX: usize = $crate::abi::hostcall_index($name);
                $crate::hostcalls::enter(&guest, INDEX)?;
                Ok($crate::hostcalls::status($function(&mut guest $(, $arg)*)))
            },
        )?
    };
}
use hostcall;

/// Puts all functions into the linker.
pub(crate) fn add_to_linker(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    buffers::add(linker)?;
    callout::add(linker)?;
    context::add(linker)?;
    foreign::add(linker)?;
    grpc::add(linker)?;
    headers::add(linker)?;
    log::add(linker)?;
    metrics::add(linker)?;
    properties::add(linker)?;
    shared::add(linker)?;
    stream::add(linker)?;
    time::add(linker)?;
    unsupported::add(linker)?;
    wasi::add(linker)
}

/// Whether an import resolves for a module of that ABI version.
pub(crate) fn provides(abi: AbiVersion, module: &str, name: &str) -> bool {
    match module {
        "env" => {
            (abi.has(name) && !wasi::NAMES.contains(&name))
                || matches!(name, "pthread_equal" | "emscripten_notify_memory_growth")
        }
        "wasi_snapshot_preview1" | "wasi_unstable" => wasi::NAMES.contains(&name),
        _ => false,
    }
}

/// Counts the call, and refuses it while start functions run.
fn enter(guest: &Guest<'_>, index: usize) -> wasmtime::Result<()> {
    let state = guest.data();
    // proxy_log alone may be called from start functions.
    if state.starting && index != 0 {
        let name = HOSTCALLS.get(index).map_or("", |(name, _)| name);
        return Err(wasmtime::Error::msg(format!(
            "restricted_callback: {name} in a start function"
        )));
    }
    let stream = state.stream().map(|(stream, _)| stream);
    state.worker.borrow_mut().count(stream, index);
    Ok(())
}

fn status(outcome: Outcome) -> i32 {
    match outcome {
        Ok(()) => Status::Ok as i32,
        Err(status) => status as i32,
    }
}

/// Notes a strict-mode violation against the stream of the running context.
fn violation(guest: &Guest<'_>, text: String) {
    let state = guest.data();
    let stream = state.stream().map(|(stream, _)| stream);
    state.worker.borrow_mut().violation(stream, text);
}
