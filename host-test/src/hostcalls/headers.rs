//! Header maps: which are available is decided by the stream's state machine.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory, strict, violation};
use crate::abi::{MapType, Status};
use crate::headers::Headers;
use crate::inline::{self, Kind};
use crate::pairs;
use crate::state::Way;
use crate::vm::VmState;

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_get_header_map_value", value, map: i32, name: i32, size: i32, out: i32, out_size: i32);
    hostcall!(linker, "proxy_add_header_map_value", append, map: i32, name: i32, size: i32, value: i32, value_size: i32);
    hostcall!(linker, "proxy_replace_header_map_value", replace, map: i32, name: i32, size: i32, value: i32, value_size: i32);
    hostcall!(linker, "proxy_remove_header_map_value", remove, map: i32, name: i32, size: i32);
    hostcall!(linker, "proxy_get_header_map_pairs", all, map: i32, out: i32, out_size: i32);
    hostcall!(linker, "proxy_set_header_map_pairs", set_all, map: i32, data: i32, size: i32);
    hostcall!(linker, "proxy_get_header_map_size", size, map: i32, out: i32);
    Ok(())
}

/// Reads from a map; `None` if it is not available.
fn read<R>(state: &VmState, map: MapType, f: impl FnOnce(&Headers) -> R) -> Option<R> {
    match map {
        MapType::GrpcInitialMetadata => state.grpc.initial.as_ref().map(f),
        MapType::GrpcTrailingMetadata => state.grpc.trailing.as_ref().map(f),
        MapType::CalloutHeaders => state.callout.as_ref().map(|view| f(&view.headers)),
        MapType::CalloutTrailers => state.callout.as_ref().map(|view| f(&view.trailers)),
        _ => {
            let (stream, lane) = state.stream()?;
            let worker = state.worker.borrow();
            worker.streams.get(&stream)?.map(lane, map).map(f)
        }
    }
}

/// Changes a map.
fn change(state: &VmState, map: MapType, f: impl FnOnce(&mut Headers)) -> Outcome {
    let (stream, lane) = state.stream().ok_or(Status::BadArgument)?;
    let mut worker = state.worker.borrow_mut();
    let stream = worker.streams.get_mut(&stream).ok_or(Status::BadArgument)?;
    f(stream.map_mut(lane, map).ok_or(Status::BadArgument)?);
    Ok(())
}

fn inline_kind(map: MapType) -> Kind {
    match map {
        MapType::RequestHeaders => Kind::Request,
        MapType::ResponseHeaders => Kind::Response,
        MapType::ResponseTrailers => Kind::ResponseTrailers,
        _ => Kind::Other,
    }
}

fn kind(map: i32) -> Result<MapType, Status> {
    MapType::from_guest(map).ok_or(Status::BadArgument)
}

/// Whether the lane has let pass what the map belongs to.
fn has_passed(state: &VmState, map: MapType) -> bool {
    let way = match map {
        MapType::RequestHeaders => Way::Request,
        MapType::ResponseHeaders => Way::Response,
        _ => return false,
    };
    state.stream().is_some_and(|(stream, lane)| {
        let mut worker = state.worker.borrow_mut();
        let stream = worker.streams.get_mut(&stream);
        stream
            .and_then(|stream| stream.lanes.get_mut(lane))
            .is_some_and(|lane| !lane.logging && lane.way(way).headers_passed)
    })
}

/// Whether `on_log` runs, where an absent map is "not found".
fn logging(state: &VmState) -> bool {
    state.stream().is_some_and(|(stream, lane)| {
        let worker = state.worker.borrow();
        worker
            .streams
            .get(&stream)
            .and_then(|stream| stream.lanes.get(lane))
            .is_some_and(|lane| lane.logging)
    })
}

fn value(
    guest: &mut Guest<'_>,
    map: i32,
    name: i32,
    size: i32,
    out: i32,
    out_size: i32,
) -> Outcome {
    let map = kind(map)?;
    let (name, state) = memory::slice(guest, name, size)?;
    match read(state, map, |headers| {
        headers.first(name).map(<[u8]>::to_vec)
    }) {
        Some(Some(value)) => memory::give(guest, &value, out, out_size),
        Some(None) => Err(Status::NotFound),
        None if logging(state) => Err(Status::NotFound),
        None => {
            unavailable(guest, map);
            Err(Status::BadArgument)
        }
    }
}

/// Envoy's SDKs trap on this status, and only in production.
fn unavailable(guest: &Guest<'_>, map: MapType) {
    violation(
        guest,
        format!(
            "{map:?} was accessed while it is not available: Envoy answers BadArgument, and the Rust SDK panics on it"
        ),
    );
}

fn append(
    guest: &mut Guest<'_>,
    map: i32,
    name: i32,
    size: i32,
    value: i32,
    value_size: i32,
) -> Outcome {
    let map = kind(map)?;
    let value = memory::bytes(guest, value, value_size)?;
    let (name, state) = memory::slice(guest, name, size)?;
    let outcome = change(state, map, |headers| {
        inline::add(headers, inline_kind(map), name, &value);
    });
    let complaint = strict::complaint(name, &value);
    strict::report(guest, complaint);
    checked(guest, map, outcome)
}

fn replace(
    guest: &mut Guest<'_>,
    map: i32,
    name: i32,
    size: i32,
    value: i32,
    value_size: i32,
) -> Outcome {
    let map = kind(map)?;
    let value = memory::bytes(guest, value, value_size)?;
    let (name, state) = memory::slice(guest, name, size)?;
    let outcome = change(state, map, |headers| {
        // Pseudo-headers have their place; another header is taken out and put at the end.
        let in_place = name.starts_with(b":") || name.eq_ignore_ascii_case(b"host");
        if in_place || headers.is_coalesced() {
            headers.set(name, &value);
        } else {
            headers.remove(name);
            headers.append(name, &value);
        }
    });
    let complaint = strict::complaint(name, &value);
    strict::report(guest, complaint);
    checked(guest, map, outcome)
}

fn remove(guest: &mut Guest<'_>, map: i32, name: i32, size: i32) -> Outcome {
    let map = kind(map)?;
    let (name, state) = memory::slice(guest, name, size)?;
    let outcome = change(state, map, |headers| {
        headers.remove(name);
    });
    checked(guest, map, outcome)
}

fn all(guest: &mut Guest<'_>, map: i32, out: i32, out_size: i32) -> Outcome {
    let map = kind(map)?;
    // An unavailable map is an empty answer here, not an error.
    let encoded = read(guest.data(), map, pairs::encode);
    if encoded.is_none() && has_passed(guest.data(), map) {
        let text =
            format!("{map:?} was read after the message had passed: Envoy hands out nothing");
        violation(guest, text);
    }
    let encoded = encoded.unwrap_or_default();
    memory::give(guest, &encoded, out, out_size)
}

fn set_all(guest: &mut Guest<'_>, map: i32, data: i32, size: i32) -> Outcome {
    let map = kind(map)?;
    let (data, state) = memory::slice(guest, data, size)?;
    let mut dropped = false;
    let mut headers = Headers::new();
    let outcome = change(state, map, |target| {
        if target.is_coalesced() {
            let empty = Headers::coalesced();
            let append =
                |headers: &mut Headers, name: &[u8], value: &[u8]| headers.append(name, value);
            (*target, dropped) = pairs::decode_into(empty, append, data);
            return;
        }
        (headers, dropped) = pairs::decode(data);
        *target = inline::joined(inline_kind(map), &headers);
    });
    strict::headers(guest, &headers);
    if dropped {
        violation(guest, "set_header_map_pairs got more than 1 MiB, more than 1024 pairs or malformed bytes: Envoy takes it as no headers at all".into());
    }
    checked(guest, map, outcome)
}

fn size(guest: &mut Guest<'_>, map: i32, out: i32) -> Outcome {
    let map = kind(map)?;
    // Envoy knows no size of a callout's maps.
    let size = match map {
        MapType::CalloutHeaders
        | MapType::CalloutTrailers
        | MapType::GrpcInitialMetadata
        | MapType::GrpcTrailingMetadata => None,
        _ => read(guest.data(), map, Headers::byte_size),
    };
    let size = checked(guest, map, size.ok_or(Status::BadArgument))?;
    memory::write_u32(guest, out, u32::try_from(size).unwrap_or(u32::MAX))
}

/// Reports the use of a map that is not there.
fn checked<T>(guest: &Guest<'_>, map: MapType, outcome: Result<T, Status>) -> Result<T, Status> {
    if outcome.is_err() {
        unavailable(guest, map);
    }
    outcome
}
