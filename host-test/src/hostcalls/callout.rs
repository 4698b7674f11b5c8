//! HTTP callouts. The worker's caller sends them and brings the answer.

use std::time::Duration;

use bytes::Bytes;
use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory, violation};
use crate::abi::Status;
use crate::inline::{self, Kind};
use crate::pairs;
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
    let mut headers = inline::joined(Kind::Request, &headers);
    let body = Bytes::from(memory::bytes(guest, body, body_size)?);
    let (trailers, _) = pairs::decode(memory::slice(guest, trailers, trailers_size)?.0);
    if !trailers.is_empty() {
        let text = "proxy_http_call with trailers: Envoy 1.40 does not send them";
        violation(guest, text.into());
    }
    if !body.is_empty() {
        headers.set("content-length", body.len().to_string());
    }
    let state = guest.data_mut();
    let shared = state.worker.borrow().env.shared.clone();
    let complete = [":method", ":path", ":authority"]
        .iter()
        .all(|name| headers.first(name).is_some());
    let reach = {
        let clusters = shared.clusters();
        (complete && clusters.knows(&cluster)).then(|| clusters.reach(&cluster))
    };
    // A time-out of 2^31 ms and more is refused, too.
    let (Some(reach), Ok(timeout)) = (reach, u64::try_from(timeout)) else {
        memory::write_u32(guest, out, 0)?;
        return Err(Status::BadArgument);
    };
    // A call that fails at once has used its number up.
    state.last_http_call += 4;
    let token = state.last_http_call;
    if let Err(status) = reach {
        memory::write_u32(guest, out, 0)?;
        return Err(status);
    }
    if let Some(root) = state.root_context() {
        let stream = state.stream().map(|(stream, _)| stream);
        let mut worker = state.worker.borrow_mut();
        let callout = worker.new_callout(root, token);
        worker.actions.push_back(Action::HttpCall {
            callout,
            stream,
            cluster,
            headers,
            body,
            timeout: (timeout > 0).then(|| Duration::from_millis(timeout)),
        });
    }
    memory::write_u32(guest, out, token)
}
