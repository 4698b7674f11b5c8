//! Answering, resuming and closing streams. All of it takes effect once the guest has returned.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory, violation};
use crate::abi::{MapType, Status};
use crate::pairs;
use crate::state::Lane;
use crate::vm::{Deferred, LocalReply, VmState};

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_send_local_response", reply, code: i32, details: i32, details_size: i32, body: i32, body_size: i32, headers: i32, headers_size: i32, grpc: i32);
    hostcall!(linker, "proxy_continue_stream", resume, kind: i32);
    hostcall!(linker, "proxy_close_stream", close, kind: i32);
    hostcall!(linker, "proxy_continue_request", resume_request);
    hostcall!(linker, "proxy_continue_response", resume_response);
    // Header changes clear the route cache by themselves at these versions, and routing is the
    // caller's here.
    hostcall!(linker, "proxy_clear_route_cache", nothing);
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's eight parameters")]
fn reply(
    guest: &mut Guest<'_>,
    code: i32,
    details: i32,
    details_size: i32,
    body: i32,
    body_size: i32,
    headers: i32,
    headers_size: i32,
    grpc: i32,
) -> Outcome {
    let details = memory::text(guest, details, details_size)?.replace(char::is_whitespace, "_");
    let body = memory::bytes(guest, body, body_size)?;
    let (headers, _) = memory::slice(guest, headers, headers_size)?;
    let (headers, dropped) = pairs::decode(headers);
    if dropped {
        violation(
            guest,
            "send_local_response got headers that Envoy reads as none".into(),
        );
    }
    if ending(guest) {
        crash(guest, "send_local_response in on_log, on_done or on_delete");
        return Ok(());
    }
    let reply = LocalReply {
        status: code.cast_unsigned(),
        headers,
        body,
        details,
        grpc_status: (grpc >= 0).then_some(grpc),
    };
    let state = guest.data_mut();
    let context = state.context();
    if state.stream().is_some() {
        state.stop_iteration = true;
        state.deferred.push(Deferred::Reply { context, reply });
    }
    Ok(())
}

fn resume(guest: &mut Guest<'_>, kind: i32) -> Outcome {
    let response = match kind {
        0 => false,
        1 => true,
        2 => return Ok(()),
        3 => return Err(Status::Unimplemented),
        _ => return Err(Status::BadArgument),
    };
    if ending(guest) {
        return Ok(());
    }
    let state = guest.data_mut();
    if state.stream().is_some() {
        let context = state.context();
        state.stop_iteration = true;
        state
            .deferred
            .push(Deferred::Continue { context, response });
        // Envoy lets go of the request's headers at once, whichever way is resumed.
        if let Some((stream, lane)) = state.stream() {
            let mut worker = state.worker.borrow_mut();
            let lanes = worker
                .streams
                .get_mut(&stream)
                .map(|stream| &mut stream.lanes);
            if let Some(lane) = lanes.and_then(|lanes| lanes.get_mut(lane)) {
                lane.hide(MapType::RequestHeaders);
            }
        }
    }
    Ok(())
}

/// ABI 0.1.0's `proxy_continue_stream(0)`.
fn resume_request(guest: &mut Guest<'_>) -> Outcome {
    resume(guest, 0)
}

/// ABI 0.1.0's `proxy_continue_stream(1)`.
fn resume_response(guest: &mut Guest<'_>) -> Outcome {
    resume(guest, 1)
}

fn nothing(_guest: &mut Guest<'_>) -> Outcome {
    Ok(())
}

fn close(guest: &mut Guest<'_>, kind: i32) -> Outcome {
    match kind {
        0 | 1 if ending(guest) => {
            crash(guest, "close_stream in on_log, on_done or on_delete");
            Ok(())
        }
        0 | 1 => {
            let state = guest.data_mut();
            if state.stream().is_some() {
                let context = state.context();
                state.stop_iteration = true;
                state.deferred.push(Deferred::Close { context });
            }
            Ok(())
        }
        2 | 3 => Ok(()),
        _ => Err(Status::BadArgument),
    }
}

fn ending(guest: &Guest<'_>) -> bool {
    let state = guest.data();
    state.stream().is_some_and(|(stream, lane)| {
        let worker = state.worker.borrow();
        worker
            .streams
            .get(&stream)
            .and_then(|stream| stream.lanes.get(lane))
            .is_some_and(|lane: &Lane| lane.ending)
    })
}

/// Something on which the real Envoy's process dies. Here nothing happens but the report.
fn crash(guest: &Guest<'_>, what: &str) {
    violation(guest, format!("{what}: Envoy 1.40 crashes on it"));
}
