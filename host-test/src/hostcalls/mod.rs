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
mod strict;
mod time;
mod unsupported;
pub(crate) mod wasi;
mod watch;

use wasmtime::{Caller, Linker};

use crate::abi::{AbiVersion, HOSTCALLS, Status, hostcall_index};
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
                if $crate::hostcalls::enter(&guest, INDEX)? {
                    let raw: &[i64] = &[$(i64::from($arg)),*];
                    let call = &mut |guest: &mut $crate::hostcalls::Guest<'_>| {
                        $crate::hostcalls::status($function(guest $(, $arg)*))
                    };
                    return $crate::hostcalls::watch::watched(&mut guest, INDEX, raw, call);
                }
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
            (abi.has(name) && !is_wasi(name))
                || matches!(name, "pthread_equal" | "emscripten_notify_memory_growth")
        }
        "wasi_snapshot_preview1" | "wasi_unstable" => is_wasi(name),
        _ => false,
    }
}

fn name_of(index: usize) -> &'static str {
    HOSTCALLS.get(index).map_or("", |(name, _)| name)
}

fn is_wasi(name: &str) -> bool {
    wasi::FUNCTIONS.iter().any(|(known, _)| *known == name)
}

/// What Envoy says of a call that it allows only in callbacks.
fn restricted(name: &str, place: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("restricted_callback: {name} in {place}"))
}

/// Counts the call, and refuses it while start functions run. Tells whether the call is to be
/// carried out by [`watch::watched`].
fn enter(guest: &Guest<'_>, index: usize) -> wasmtime::Result<bool> {
    let state = guest.data();
    // proxy_log alone may be called from start functions.
    if state.starting && index != 0 {
        return Err(restricted(name_of(index), "a start function"));
    }
    // The allocator may read the clock, too.
    if state.allocating && index != 0 && index != const { hostcall_index("clock_time_get") } {
        return Err(restricted(name_of(index), "the allocator"));
    }
    state.quota.spend_call().map_err(wasmtime::Error::msg)?;
    let stream = state.stream().map(|(stream, _)| stream);
    let mut worker = state.worker.borrow_mut();
    worker.count(stream, index);
    Ok(worker.watching())
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
