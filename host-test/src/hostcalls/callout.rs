//! HTTP callouts. The worker's caller sends them and brings the answer.

use std::time::Duration;

use bytes::Bytes;
use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory};
use crate::abi::Status;
use crate::pairs;
use crate::state::{CalloutId, PendingCallout};
use crate::vm::VmState;
use crate::worker::Action;

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_http_call", http_call, cluster: i32, cluster_size: i32, headers: i32, headers_size: i32, body: i32, body_size: i32, trailers: i32, trailers_size: i32, timeout: i32, out: i32);
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's ten parameters")]
fn http_call(
    guest: &mut Guest<'_>,
    cluster: i32,
    cluster_size: i32,
    headers: i32,
    headers_size: i32,
    body: i32,
    body_size: i32,
    trailers: i32,
    trailers_size: i32,
    timeout: i32,
    out: i32,
) -> Outcome {
    let cluster = memory::text(guest, cluster, cluster_size)?;
    let (headers, _) = pairs::decode(memory::slice(guest, headers, headers_size)?.0);
    let body = Bytes::from(memory::bytes(guest, body, body_size)?);
    let (trailers, _) = pairs::decode(memory::slice(guest, trailers, trailers_size)?.0);
    let state = guest.data_mut();
    let complete = [":method", ":path", ":authority"]
        .iter()
        .all(|name| headers.first(name).is_some());
    let known = match &state.worker.borrow().clusters {
        Some(clusters) => clusters.contains(&cluster),
        None => true,
    };
    // A time-out of 2^31 ms and more is refused.
    let Ok(timeout) = u64::try_from(timeout) else {
        memory::write_u32(guest, out, 0)?;
        return Err(Status::BadArgument);
    };
    if !complete || !known {
        memory::write_u32(guest, out, 0)?;
        return Err(Status::BadArgument);
    }
    state.last_http_call += 4;
    let token = state.last_http_call;
    if let Some(root) = state.root_context() {
        let mut worker = state.worker.borrow_mut();
        worker.last_callout += 1;
        let callout = CalloutId(worker.last_callout);
        let (vm, generation) = worker.calling;
        worker.callouts.insert(
            callout,
            PendingCallout {
                vm,
                generation,
                root,
                token,
            },
        );
        worker.actions.push_back(Action::HttpCall {
            callout,
            cluster,
            headers,
            body,
            trailers,
            timeout: (timeout > 0).then(|| Duration::from_millis(timeout)),
        });
    }
    memory::write_u32(guest, out, token)
}
