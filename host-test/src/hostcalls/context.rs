//! Contexts, and what a callout left behind for `get_status`.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory};
use crate::abi::Status;
use crate::vm::VmState;

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_set_effective_context", set_effective, context: i32);
    hostcall!(linker, "proxy_done", done);
    hostcall!(linker, "proxy_get_status", status, out_code: i32, out: i32, out_size: i32);
    Ok(())
}

fn set_effective(guest: &mut Guest<'_>, context: i32) -> Outcome {
    match guest.data_mut().set_effective(context.cast_unsigned()) {
        true => Ok(()),
        false => Err(Status::BadArgument),
    }
}

fn done(_guest: &mut Guest<'_>) -> Outcome {
    // Only a root whose on_done returned false waits for this; roots live as long as the host here.
    Err(Status::NotFound)
}

fn status(guest: &mut Guest<'_>, out_code: i32, out: i32, out_size: i32) -> Outcome {
    let (code, message) = guest.data().call_status.clone();
    memory::write_u32(guest, out_code, code)?;
    memory::give(guest, message.as_bytes(), out, out_size)
}
