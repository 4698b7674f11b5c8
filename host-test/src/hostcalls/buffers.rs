//! Bodies and configurations as byte buffers.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory};
use crate::abi::{BufferType, Status};
use crate::state::{Message, Way};
use crate::vm::VmState;

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_get_buffer_bytes", get, kind: i32, start: i32, length: i32, out: i32, out_size: i32);
    hostcall!(linker, "proxy_set_buffer_bytes", set, kind: i32, start: i32, length: i32, data: i32, size: i32);
    hostcall!(linker, "proxy_get_buffer_status", status, kind: i32, out_size: i32, out_flags: i32);
    hostcall!(
        linker,
        "proxy_get_configuration",
        configuration,
        out: i32,
        out_size: i32
    );
    Ok(())
}

/// Looks at a buffer; `None` if there is none now.
fn with<R>(state: &VmState, kind: BufferType, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
    match kind {
        BufferType::RequestBody => body(state, Way::Request, |bytes, _| f(bytes)),
        BufferType::ResponseBody => body(state, Way::Response, |bytes, _| f(bytes)),
        BufferType::CalloutBody => state.callout.as_ref().map(|view| f(&view.body)),
        BufferType::GrpcMessage => state.grpc.message.as_ref().map(|message| f(message)),
        BufferType::VmConfiguration => Some(f(&state.vm_configuration)),
        BufferType::PluginConfiguration
            if state.configuring || state.worker.borrow().alone.is_some() =>
        {
            state.plugin().map(|plugin| f(&plugin.configuration))
        }
        BufferType::PluginConfiguration | BufferType::Absent => None,
    }
}

/// The body a lane may work on: the piece in its callback, or what is held for it. With it goes the
/// note that a guest has changed it.
fn body<R>(state: &VmState, way: Way, f: impl FnOnce(&mut Vec<u8>, &mut bool) -> R) -> Option<R> {
    let (stream, lane) = state.stream()?;
    let mut worker = state.worker.borrow_mut();
    let stream = worker.streams.get_mut(&stream)?;
    let cumulative = stream.lanes.get_mut(lane)?.way(way).cumulative;
    let Message {
        current,
        held,
        edited,
        ..
    } = stream.message(way);
    let bytes = match (current, held) {
        (Some(current), _) => current,
        (None, Some(held)) if cumulative => held,
        _ => return None,
    };
    Some(f(bytes, edited))
}

fn get(
    guest: &mut Guest<'_>,
    kind: i32,
    start: i32,
    length: i32,
    out: i32,
    out_size: i32,
) -> Outcome {
    let kind = BufferType::from_guest(kind).ok_or(Status::BadArgument)?;
    let start = start.cast_unsigned() as usize;
    let end = start.saturating_add(length.cast_unsigned() as usize);
    let part = with(guest.data(), kind, |bytes| {
        let end = bytes.len().min(end);
        bytes.get(start..end).unwrap_or_default().to_vec()
    });
    match (part, kind) {
        (Some(part), _) => memory::give(guest, &part, out, out_size),
        (None, BufferType::CalloutBody | BufferType::PluginConfiguration) => Err(Status::NotFound),
        (None, _) => memory::give(guest, &[], out, out_size),
    }
}

fn set(guest: &mut Guest<'_>, kind: i32, start: i32, length: i32, data: i32, size: i32) -> Outcome {
    let kind = BufferType::from_guest(kind).ok_or(Status::BadArgument)?;
    let way = match kind {
        BufferType::RequestBody => Way::Request,
        BufferType::ResponseBody => Way::Response,
        // Read-only where they are, and not found elsewhere.
        BufferType::CalloutBody | BufferType::PluginConfiguration
            if with(guest.data(), kind, |_| ()).is_none() =>
        {
            return Err(Status::NotFound);
        }
        _ => return Err(Status::BadArgument),
    };
    let (start, length) = (
        start.cast_unsigned() as usize,
        length.cast_unsigned() as usize,
    );
    let (data, state) = memory::slice(guest, data, size)?;
    let alone = state.worker.borrow().alone.is_some();
    body(state, way, |bytes, edited| {
        *edited = true;
        if alone {
            let start = start.min(bytes.len());
            let end = start.saturating_add(length).min(bytes.len());
            bytes.splice(start..end, data.iter().copied());
            Ok(())
        } else if start == 0 {
            // Envoy drains `length` bytes and prepends: with 0 that is a plain prepend.
            bytes.splice(..length.min(bytes.len()), data.iter().copied());
            Ok(())
        } else if start >= bytes.len() {
            bytes.extend_from_slice(data);
            Ok(())
        } else {
            Err(Status::BadArgument)
        }
    })
    .unwrap_or(Err(Status::BadArgument))
}

fn status(guest: &mut Guest<'_>, kind: i32, out_size: i32, out_flags: i32) -> Outcome {
    let kind = BufferType::from_guest(kind).ok_or(Status::BadArgument)?;
    let size = with(guest.data(), kind, <[u8]>::len);
    match (size, kind) {
        (None, BufferType::CalloutBody | BufferType::PluginConfiguration) => Err(Status::NotFound),
        (size, _) => {
            let size = u32::try_from(size.unwrap_or(0)).unwrap_or(u32::MAX);
            memory::write_u32(guest, out_size, size)?;
            memory::write_u32(guest, out_flags, 0)
        }
    }
}

/// ABI 0.1.0: the VM's or the plugin's configuration, whichever callback runs.
fn configuration(guest: &mut Guest<'_>, out: i32, out_size: i32) -> Outcome {
    let state = guest.data();
    let bytes = match state.plugin() {
        Some(plugin) if state.configuring => plugin.configuration.clone(),
        _ => state.vm_configuration.clone(),
    };
    memory::give(guest, &bytes, out, out_size)
}
