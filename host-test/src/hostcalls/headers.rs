//! Header maps: which are available is decided by the stream's state machine.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory, violation};
use crate::abi::{MapType, Status};
use crate::headers::Headers;
use crate::inline::{self, Kind};
use crate::pairs;
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
        if name.starts_with(b":") || name.eq_ignore_ascii_case(b"host") {
            headers.set(name, &value);
        } else {
            headers.remove(name);
            headers.append(name, &value);
        }
    });
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
    let encoded = read(guest.data(), map, pairs::encode).unwrap_or_default();
    memory::give(guest, &encoded, out, out_size)
}

fn set_all(guest: &mut Guest<'_>, map: i32, data: i32, size: i32) -> Outcome {
    let map = kind(map)?;
    let (data, state) = memory::slice(guest, data, size)?;
    let (headers, dropped) = pairs::decode(data);
    let outcome = change(state, map, |target| {
        *target = inline::joined(inline_kind(map), &headers);
    });
    if dropped {
        violation(guest, "set_header_map_pairs got more than 1 MiB, more than 1024 pairs or malformed bytes: Envoy takes it as no headers at all".into());
    }
    checked(guest, map, outcome)
}

fn size(guest: &mut Guest<'_>, map: i32, out: i32) -> Outcome {
    let map = kind(map)?;
    // Envoy knows no size of a callout's maps.
    let size = match map {
        MapType::CalloutHeaders | MapType::CalloutTrailers => None,
        _ => read(guest.data(), map, Headers::byte_size),
    };
    let size = size.ok_or(Status::BadArgument)?;
    memory::write_u32(guest, out, u32::try_from(size).unwrap_or(u32::MAX))
}

/// Reports a write to a map that is not there.
fn checked(guest: &Guest<'_>, map: MapType, outcome: Outcome) -> Outcome {
    if outcome.is_err() {
        unavailable(guest, map);
    }
    outcome
}
