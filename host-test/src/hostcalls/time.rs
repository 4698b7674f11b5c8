//! The wall clock and the tick period.

use std::time::Duration;

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory};
use crate::abi::Status;
use crate::vm::VmState;

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_get_current_time_nanoseconds", now, out: i32);
    hostcall!(linker, "proxy_set_tick_period_milliseconds", tick, period: i32);
    Ok(())
}

fn now(guest: &mut Guest<'_>, out: i32) -> Outcome {
    let now = guest.data().worker.borrow().env.clock.wall_nanos();
    memory::write(guest, out, &now.to_le_bytes())
}

fn tick(guest: &mut Guest<'_>, period: i32) -> Outcome {
    let state = guest.data_mut();
    let now = state.worker.borrow().env.clock.elapsed();
    let root = state.root_context().ok_or(Status::BadArgument)?;
    let root = state.roots.get_mut(&root).ok_or(Status::BadArgument)?;
    let period = Duration::from_millis(u64::from(period.cast_unsigned()));
    root.tick_period = (!period.is_zero()).then_some(period);
    root.next_tick = root.tick_period.map(|period| now + period);
    Ok(())
}
