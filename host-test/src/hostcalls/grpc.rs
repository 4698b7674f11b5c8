//! gRPC callouts. The worker's caller speaks the protocol and brings what the service answers.

use std::time::Duration;

use bytes::Bytes;
use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory, violation};
use crate::abi::Status;
use crate::foreign::protobuf::Message;
use crate::headers::Headers;
use crate::inline::{self, Kind};
use crate::pairs;
use crate::state::CalloutKind;
use crate::vm::VmState;
use crate::worker::{Action, Unreachable};

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_grpc_call", call, service: i32, service_size: i32, name: i32, name_size: i32, method: i32, method_size: i32, metadata: i32, metadata_size: i32, message: i32, message_size: i32, timeout: i32, out: i32);
    hostcall!(linker, "proxy_grpc_stream", stream, service: i32, service_size: i32, name: i32, name_size: i32, method: i32, method_size: i32, metadata: i32, metadata_size: i32, out: i32);
    hostcall!(linker, "proxy_grpc_send", send, token: i32, message: i32, message_size: i32, end: i32);
    hostcall!(linker, "proxy_grpc_cancel", cancel, token: i32);
    hostcall!(linker, "proxy_grpc_close", close, token: i32);
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's twelve parameters")]
fn call(
    guest: &mut Guest<'_>,
    service: i32,
    service_size: i32,
    name: i32,
    name_size: i32,
    method: i32,
    method_size: i32,
    metadata: i32,
    metadata_size: i32,
    message: i32,
    message_size: i32,
    timeout: i32,
    out: i32,
) -> Outcome {
    let target = Target {
        service: memory::bytes(guest, service, service_size)?,
        path: path(guest, (name, name_size), (method, method_size))?,
        metadata: decode(guest, metadata, metadata_size)?,
    };
    let message = Bytes::from(memory::bytes(guest, message, message_size)?);
    let timeout = Duration::from_millis(timeout.cast_unsigned().into());
    let token = guest.data().last_grpc_call + 4;
    let status = open(guest, target, Some((message, timeout)), token);
    answer(guest, status, out)
}

#[expect(clippy::too_many_arguments, reason = "the ABI's nine parameters")]
fn stream(
    guest: &mut Guest<'_>,
    service: i32,
    service_size: i32,
    name: i32,
    name_size: i32,
    method: i32,
    method_size: i32,
    metadata: i32,
    metadata_size: i32,
    out: i32,
) -> Outcome {
    let target = Target {
        service: memory::bytes(guest, service, service_size)?,
        path: path(guest, (name, name_size), (method, method_size))?,
        metadata: decode(guest, metadata, metadata_size)?,
    };
    let token = guest.data().last_grpc_stream + 4;
    let status = open(guest, target, None, token);
    answer(guest, status, out)
}

/// Where a call goes to.
struct Target {
    service: Vec<u8>,
    path: String,
    metadata: Headers,
}

fn path(guest: &mut Guest<'_>, name: (i32, i32), method: (i32, i32)) -> Result<String, Status> {
    let name = memory::text(guest, name.0, name.1)?;
    let method = memory::text(guest, method.0, method.1)?;
    Ok(format!("/{name}/{method}"))
}

fn decode(guest: &mut Guest<'_>, pairs: i32, size: i32) -> Result<Headers, Status> {
    let (pairs, _) = pairs::decode(memory::slice(guest, pairs, size)?.0);
    Ok(inline::joined(Kind::Request, &pairs))
}

/// Writes the token of what was opened; of what was refused nothing is written.
fn answer(guest: &mut Guest<'_>, opened: Result<u32, Status>, out: i32) -> Outcome {
    memory::write_u32(guest, out, opened?)
}

/// Where a service is, and how it is called on the wire.
struct Service {
    cluster: String,
    authority: String,
    /// Why a call to it fails at once.
    unreachable: Option<Unreachable>,
}

/// Finds a service: by a serialized `GrpcService` with `envoy_grpc`, or else by the bytes as the name
/// of a cluster.
fn find(guest: &Guest<'_>, service: &[u8]) -> Result<Service, Status> {
    let shared = guest.data().worker.borrow().env.shared.clone();
    let clusters = shared.clusters();
    let Some(message) = Message::parse(service, &[]) else {
        let cluster = String::from_utf8_lossy(service).into_owned();
        if !clusters.knows(&cluster) {
            return Err(Status::ParseFailure);
        }
        return Ok(Service {
            authority: cluster.clone(),
            unreachable: clusters.reach(&cluster).err().map(|_| Unreachable::NoHost),
            cluster,
        });
    };
    let target = message.bytes(1);
    if target.is_empty() {
        let text = if message.bytes(2).is_empty() {
            "a gRPC callout to a GrpcService without a target: Envoy 1.40 crashes on it"
        } else {
            "a gRPC callout by google_grpc: Envoy makes it, host-test doesn't"
        };
        violation(guest, text.to_owned());
        return Err(Status::BadArgument);
    }
    let target = Message::parse(target, &[1, 2]).ok_or(Status::BadArgument)?;
    let cluster = target.text(1).to_owned();
    let authority = match target.text(2) {
        "" => cluster.clone(),
        authority => authority.to_owned(),
    };
    let unreachable = if !clusters.is_named(&cluster) {
        Some(Unreachable::Unknown)
    } else {
        clusters.reach(&cluster).err().map(|_| Unreachable::NoHost)
    };
    Ok(Service {
        cluster,
        authority,
        unreachable,
    })
}

fn open(
    guest: &mut Guest<'_>,
    target: Target,
    call: Option<(Bytes, Duration)>,
    token: u32,
) -> Result<u32, Status> {
    let Service {
        cluster,
        authority,
        unreachable,
    } = find(guest, &target.service)?;
    let state = guest.data_mut();
    let kind = match call {
        Some(_) => {
            state.last_grpc_call = token;
            CalloutKind::GrpcCall
        }
        None => {
            state.last_grpc_stream = token;
            CalloutKind::GrpcStream {
                local: false,
                remote: false,
            }
        }
    };
    let Some(root) = state.root_context() else {
        return Ok(token);
    };
    let stream = state.stream().map(|(stream, _)| stream);
    let mut worker = state.worker.borrow_mut();
    let callout = worker.new_callout(kind, root, token);
    if let Some(cause) = unreachable {
        if let Some(pending) = worker.callouts.get_mut(&callout) {
            pending.lost = true;
        }
        worker
            .actions
            .push_back(Action::GrpcUnreachable { callout, cause });
        if call.is_none() && cause == Unreachable::NoHost {
            let text = "proxy_grpc_stream to a cluster without hosts: Envoy 1.40 calls the guest back before the call returns, and the Rust SDK panics on it";
            worker.violation(stream, text.into());
        }
        return Err(Status::InternalFailure);
    }
    let mut headers: Headers = [
        (":method", "POST"),
        (":path", &*target.path),
        (":authority", &*authority),
        ("te", "trailers"),
    ]
    .into_iter()
    .collect();
    if let Some((_, timeout)) = &call {
        headers.append("grpc-timeout", format!("{}m", timeout.as_millis()));
    }
    headers.append("content-type", "application/grpc");
    for (name, value) in target.metadata.iter() {
        headers.append(name, value);
    }
    let (message, timeout) = call.unzip();
    worker.actions.push_back(Action::GrpcOpen {
        callout,
        stream,
        cluster,
        headers,
        message,
        timeout: timeout.filter(|timeout| !timeout.is_zero()),
    });
    Ok(token)
}

const fn is_call(token: u32) -> bool {
    token & 3 == 1
}

const fn is_stream(token: u32) -> bool {
    token & 3 == 2
}

fn send(guest: &mut Guest<'_>, token: i32, message: i32, message_size: i32, end: i32) -> Outcome {
    let message = Bytes::from(memory::bytes(guest, message, message_size)?);
    let token = token.cast_unsigned();
    if !is_stream(token) {
        return Err(Status::BadArgument);
    }
    let mut worker = guest.data().worker.borrow_mut();
    let callout = worker.grpc_callout(token).ok_or(Status::NotFound)?;
    worker.actions.push_back(Action::GrpcSend {
        callout,
        message: Some(message),
        end_stream: end != 0,
    });
    Ok(())
}

#[expect(clippy::needless_pass_by_ref_mut, reason = "the form of a hostcall")]
fn cancel(guest: &mut Guest<'_>, token: i32) -> Outcome {
    let token = token.cast_unsigned();
    if !is_call(token) && !is_stream(token) {
        return Err(Status::BadArgument);
    }
    let mut worker = guest.data().worker.borrow_mut();
    let callout = worker.grpc_callout(token).ok_or(Status::NotFound)?;
    worker.callouts.remove(&callout);
    worker.actions.push_back(Action::GrpcCancel { callout });
    Ok(())
}

/// Ends a stream from this side; a call it cancels.
fn close(guest: &mut Guest<'_>, token: i32) -> Outcome {
    if is_call(token.cast_unsigned()) {
        return cancel(guest, token);
    }
    if !is_stream(token.cast_unsigned()) {
        return Err(Status::BadArgument);
    }
    let mut worker = guest.data().worker.borrow_mut();
    let callout = worker
        .grpc_callout(token.cast_unsigned())
        .ok_or(Status::NotFound)?;
    let both = match worker.callouts.get_mut(&callout).map(|c| &mut c.kind) {
        Some(CalloutKind::GrpcStream { local, remote }) => {
            *local = true;
            *remote
        }
        _ => false,
    };
    if both {
        worker.callouts.remove(&callout);
    } else {
        worker.actions.push_back(Action::GrpcSend {
            callout,
            message: None,
            end_stream: true,
        });
    }
    Ok(())
}
