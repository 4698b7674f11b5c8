//! Defining, moving and reading metrics.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory, violation};
use crate::abi::Status;
use crate::metrics::MetricKind;
use crate::vm::VmState;

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_define_metric", define, kind: i32, name: i32, size: i32, out: i32);
    hostcall!(linker, "proxy_increment_metric", increment, metric: i32, by: i64);
    hostcall!(linker, "proxy_record_metric", record, metric: i32, value: i64);
    hostcall!(linker, "proxy_get_metric", get, metric: i32, out: i32);
    Ok(())
}

fn define(guest: &mut Guest<'_>, kind: i32, name: i32, size: i32, out: i32) -> Outcome {
    let kind = MetricKind::from_guest(kind).ok_or(Status::BadArgument)?;
    let name = memory::text(guest, name, size)?;
    if guest.data().stream().is_some() {
        violation(
            guest,
            format!("metric {name:?} is defined while a request runs: define it in on_configure"),
        );
    }
    let state = guest.data_mut();
    let shared = state.worker.borrow().env.shared.clone();
    let position = shared.metrics().define(kind, &name);
    let id = state.metric_ids.give(kind, position);
    memory::write_u32(guest, out, id)
}

fn increment(guest: &Guest<'_>, metric: i32, by: i64) -> Outcome {
    let state = guest.data();
    let position = state.metric_ids.find_number(metric.cast_unsigned())?;
    let mut worker = state.worker.borrow_mut();
    let status = worker.env.shared.metrics().increment(position, by);
    match status {
        Status::Ok => {
            worker.moved_metric(position, by, false);
            Ok(())
        }
        status => Err(status),
    }
}

fn record(guest: &Guest<'_>, metric: i32, value: i64) -> Outcome {
    let state = guest.data();
    let position = state.metric_ids.find(metric.cast_unsigned())?;
    let mut worker = state.worker.borrow_mut();
    let value_bits = value.cast_unsigned();
    let status = worker.env.shared.metrics().record(position, value_bits);
    match status {
        Status::Ok => {
            worker.moved_metric(position, value, true);
            Ok(())
        }
        status => Err(status),
    }
}

fn get(guest: &mut Guest<'_>, metric: i32, out: i32) -> Outcome {
    let state = guest.data();
    let position = state.metric_ids.find_number(metric.cast_unsigned())?;
    let value = state.worker.borrow().env.shared.metrics().get(position)?;
    memory::write(guest, out, &value.to_le_bytes())
}
