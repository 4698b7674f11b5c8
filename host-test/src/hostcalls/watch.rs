//! Hostcalls that are recorded, made to fail, or interrupted by other workers.

use std::time::{Duration, Instant};

use super::Guest;
use crate::abi::{HOSTCALLS, Status, hostcall_index};
use crate::fault::Forced;
use crate::trace::detail::{CALLS_KEPT, Timing};
use crate::trace::{self, Hostcall};

const SET_SHARED_DATA: usize = hostcall_index("proxy_set_shared_data");

/// Carries out a hostcall that is watched. `raw` are the call's arguments.
#[cold]
pub(super) fn watched(
    guest: &mut Guest<'_>,
    index: usize,
    raw: &[i64],
    call: &mut dyn FnMut(&mut Guest<'_>) -> i32,
) -> wasmtime::Result<i32> {
    let interrupt = guest.data().worker.borrow().interrupt.clone();
    if let Some(interrupt) = interrupt {
        interrupt();
    }
    let place = begin(guest, index, raw);
    let forced = forced(guest, index, raw);
    let began = Instant::now();
    let status = match forced {
        Some(Forced::Trap) => None,
        Some(Forced::Answer(status)) => Some(status as i32),
        None => Some(call(guest)),
    };
    if let Some(place) = place {
        let took = began.elapsed();
        time(guest, place, began, took);
        finish(guest, place, index, raw, status, forced.is_some());
    }
    status.ok_or_else(|| {
        let name = HOSTCALLS.get(index).map_or("", |(name, _)| name);
        wasmtime::Error::msg(format!("a fault made {name} trap"))
    })
}

/// Adds the call to the callback that is being recorded, if one is, and tells its place.
fn begin(guest: &Guest<'_>, index: usize, raw: &[i64]) -> Option<usize> {
    let state = guest.data();
    let mut worker = state.worker.borrow_mut();
    let open = worker.open.as_mut()?;
    if let Some(detail) = &mut open.detail
        && open.calls.len() >= CALLS_KEPT
    {
        detail.more_calls += 1;
        return None;
    }
    let memory = state.memory.map_or(&[][..], |memory| memory.data(guest));
    open.calls.push(Hostcall {
        name: HOSTCALLS.get(index).map_or("", |(name, _)| name),
        arguments: trace::inputs(index, raw, memory),
        results: Vec::new(),
        status: None,
        fault: false,
        timing: None,
    });
    Some(open.calls.len() - 1)
}

/// Notes when a call was made and how long it took, if that is wanted.
fn time(guest: &Guest<'_>, place: usize, began: Instant, took: Duration) {
    let mut worker = guest.data().worker.borrow_mut();
    let Some(open) = &mut worker.open else { return };
    if let (Some(detail), Some(call)) = (&open.detail, open.calls.get_mut(place)) {
        let at = began.saturating_duration_since(detail.began);
        call.timing = Some(Timing { at, took });
    }
}

fn finish(
    guest: &Guest<'_>,
    place: usize,
    index: usize,
    raw: &[i64],
    status: Option<i32>,
    fault: bool,
) {
    let state = guest.data();
    let mut worker = state.worker.borrow_mut();
    let call = worker
        .open
        .as_mut()
        .and_then(|open| open.calls.get_mut(place));
    if let Some(call) = call {
        call.status = status;
        call.fault = fault;
        if status == Some(0) && !fault {
            let memory = state.memory.map_or(&[][..], |memory| memory.data(guest));
            call.results = trace::outputs(index, raw, memory);
        }
    }
}

/// What a fault makes of the call.
fn forced(guest: &Guest<'_>, index: usize, raw: &[i64]) -> Option<Forced> {
    let state = guest.data();
    let shared = state.worker.borrow().env.shared.clone();
    if !shared.faults().armed() {
        return None;
    }
    let plugin = state.plugin();
    let name = plugin.as_ref().map_or("", |plugin| plugin.name.as_str());
    let forced = shared.faults().hostcall(name, index);
    if forced.is_some() || index != SET_SHARED_DATA {
        return forced;
    }
    // The race that is lost: somebody else has written the same value a moment ago.
    let &[pointer, size, _, _, cas] = raw else {
        return None;
    };
    let start = usize::try_from(pointer & 0xffff_ffff).ok()?;
    let end = start.checked_add(usize::try_from(size & 0xffff_ffff).ok()?)?;
    let key = state.memory?.data(guest).get(start..end)?;
    let mut data = shared.data();
    let could_lose = cas != 0 && data.get(&state.vm_id, key).is_some();
    if could_lose && shared.faults().loses_cas(name) {
        data.rewrite(&state.vm_id, key);
        return Some(Forced::Answer(Status::CasMismatch));
    }
    None
}
