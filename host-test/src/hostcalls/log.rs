//! `proxy_log` and the log level.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory};
use crate::abi::Status;
use crate::vm::VmState;

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_log", write, level: i32, message: i32, size: i32);
    hostcall!(linker, "proxy_get_log_level", level, out: i32);
    Ok(())
}

fn write(guest: &mut Guest<'_>, level: i32, message: i32, size: i32) -> Outcome {
    let critical = level == 5;
    let level = match level {
        0 => log::Level::Trace,
        1 => log::Level::Debug,
        2 => log::Level::Info,
        3 => log::Level::Warn,
        4 | 5 => log::Level::Error,
        _ => return Err(Status::BadArgument),
    };
    {
        let worker = guest.data().worker.borrow();
        let below_critical = worker
            .alone
            .as_ref()
            .is_some_and(|alone| alone.critical_only);
        if level > worker.env.log_level || below_critical && !critical {
            return Ok(());
        }
    }
    let message = memory::text(guest, message, size)?;
    emit(guest, level, message);
    Ok(())
}

/// Logs in the name of the running context's plugin.
pub(super) fn emit(guest: &Guest<'_>, level: log::Level, message: String) {
    let state = guest.data();
    let plugin = state.plugin();
    let name = plugin.as_ref().map_or("", |plugin| plugin.name.as_str());
    state.worker.borrow_mut().log(level, name, message);
}

fn level(guest: &mut Guest<'_>, out: i32) -> Outcome {
    // spdlog's numbers, as Envoy answers them.
    let level = match guest.data().worker.borrow().env.log_level {
        log::LevelFilter::Trace => 0,
        log::LevelFilter::Debug => 1,
        log::LevelFilter::Info => 2,
        log::LevelFilter::Warn => 3,
        log::LevelFilter::Error => 4,
        log::LevelFilter::Off => 6,
    };
    memory::write_u32(guest, out, level)
}
