//! Properties: what Envoy tells of the request, the connection and itself, and filter state.
//!
//! Paths are segments joined by NUL. Text is raw bytes, numbers are 8 bytes little-endian,
//! booleans one byte, maps the header-pairs form.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory};
use crate::abi::{MapType, Status};
use crate::pairs;
use crate::state::{State, Stream};
use crate::vm::VmState;

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_get_property", get, path: i32, size: i32, out: i32, out_size: i32);
    hostcall!(linker, "proxy_set_property", set, path: i32, size: i32, value: i32, value_size: i32);
    Ok(())
}

fn get(guest: &mut Guest<'_>, path: i32, size: i32, out: i32, out_size: i32) -> Outcome {
    let path = memory::text(guest, path, size)?;
    let segments: Vec<&str> = path.trim_end_matches('\0').split('\0').collect();
    let value = look_up(guest.data(), &segments)?;
    memory::give(guest, &value, out, out_size)
}

fn set(guest: &mut Guest<'_>, path: i32, size: i32, value: i32, value_size: i32) -> Outcome {
    let path = memory::text(guest, path, size)?;
    let (value, state) = memory::slice(guest, value, value_size)?;
    let (stream, _) = state.stream().ok_or(Status::NotFound)?;
    let mut worker = state.worker.borrow_mut();
    let stream = worker.streams.get_mut(&stream).ok_or(Status::NotFound)?;
    // Never shadows a built-in property: `P` becomes the filter state `wasm.P`.
    stream
        .filter_state
        .insert(format!("wasm.{path}"), value.to_vec());
    Ok(())
}

fn look_up(state: &VmState, path: &[&str]) -> Result<Vec<u8>, Status> {
    match path {
        [] | [""] | ["request" | "source" | "xds" | "filter_state"] => {
            return Err(Status::SerializationFailure);
        }
        ["plugin_name"] => return plugin(state, |plugin| plugin.name.clone()),
        ["plugin_root_id" | "root_id"] => return plugin(state, |plugin| plugin.root_id.clone()),
        ["plugin_vm_id" | "vm_id"] => return text(&state.vm_id),
        _ => {}
    }
    let (id, lane) = state.stream().ok_or(Status::NotFound)?;
    let worker = state.worker.borrow();
    let elapsed = elapsed(&worker, id);
    let stream = worker.streams.get(&id).ok_or(Status::NotFound)?;
    match path {
        ["request", rest @ ..] => request(stream, lane, rest, elapsed),
        ["response", rest @ ..] => response(stream, lane, rest),
        ["source", "address"] => text(&stream.info.source_address),
        ["source", "port"] => port(&stream.info.source_address),
        ["destination", "address"] => text(&stream.info.destination_address),
        ["destination", "port"] => port(&stream.info.destination_address),
        ["connection", "id"] | ["connection_id"] => number(stream.info.connection_id),
        ["connection", "mtls"] => Ok(vec![0]),
        ["upstream", "address"] => known(&stream.info.upstream_address),
        ["upstream", "port"] => port(&stream.info.upstream_address),
        ["upstream", "num_endpoints"] => number(stream.info.upstream_num_endpoints),
        ["xds", "route_name"] => text(&stream.info.route_name),
        ["xds", "cluster_name"] => text(&stream.info.cluster_name),
        ["xds", "virtual_host_name"] => text(&stream.info.virtual_host_name),
        ["xds", "listener_direction"] => number(0),
        ["filter_state", name] | [name] => filter_state(stream, name),
        _ => Err(Status::NotFound),
    }
}

fn elapsed(worker: &State, id: crate::state::StreamId) -> u64 {
    let since = worker
        .streams
        .get(&id)
        .map_or_else(Default::default, |stream| stream.started);
    let elapsed = worker.env.clock.elapsed().saturating_sub(since);
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// What is read from request headers is gone once they have passed, until `on_log`.
fn request(
    stream: &Stream,
    lane: usize,
    path: &[&str],
    elapsed: u64,
) -> Result<Vec<u8>, Status> {
    match path {
        ["time"] => return number(stream.started_wall),
        ["protocol"] => return text(&stream.info.protocol),
        ["size"] => return number(stream.request.body_bytes),
        ["duration"] if stream.lanes.get(lane).is_some_and(|lane| lane.ending) => {
            return number(elapsed);
        }
        _ => {}
    }
    let id = stream.info.request_id.clone();
    let body = stream.request.body_bytes;
    let headers = stream
        .map(lane, MapType::RequestHeaders)
        .ok_or(Status::NotFound)?;
    let value = |name: &str| {
        headers
            .first(name)
            .map(<[u8]>::to_vec)
            .ok_or(Status::NotFound)
    };
    match path {
        ["path"] => value(":path"),
        ["url_path"] => value(":path").map(|path| split(&path).0.to_vec()),
        ["query"] => value(":path").map(|path| split(&path).1.to_vec()),
        ["host"] => value(":authority"),
        ["scheme"] => value(":scheme"),
        ["method"] => value(":method"),
        ["referer"] => value("referer"),
        ["useragent"] => value("user-agent"),
        ["id"] if id.is_empty() => value("x-request-id"),
        ["id"] => text(&id),
        ["total_size"] => number(body + headers.byte_size() as u64),
        ["headers"] => Ok(pairs::encode(headers)),
        ["headers", name] => joined(headers, name),
        _ => Err(Status::NotFound),
    }
}

fn response(stream: &Stream, lane: usize, path: &[&str]) -> Result<Vec<u8>, Status> {
    match path {
        ["size"] => return number(stream.response.body_bytes),
        ["flags"] => return number(0),
        _ if !stream.response.started => return Err(Status::NotFound),
        ["code"] => {
            let code = stream
                .response
                .headers
                .text(":status")
                .and_then(|code| code.parse().ok());
            return number(code.ok_or(Status::NotFound)?);
        }
        ["code_details"] => return known(&stream.details),
        _ => {}
    }
    let headers = stream
        .map(lane, MapType::ResponseHeaders)
        .ok_or(Status::NotFound)?;
    match path {
        ["headers"] => Ok(pairs::encode(headers)),
        ["headers", name] => joined(headers, name),
        _ => Err(Status::NotFound),
    }
}

/// All values of a header, joined with commas.
fn joined(headers: &crate::headers::Headers, name: &str) -> Result<Vec<u8>, Status> {
    let values: Vec<&[u8]> = headers.all(name).collect();
    if values.is_empty() {
        Err(Status::NotFound)
    } else {
        Ok(values.join(&b","[..]))
    }
}

fn filter_state(stream: &Stream, name: &str) -> Result<Vec<u8>, Status> {
    let state = &stream.filter_state;
    let value = state
        .get(name)
        .or_else(|| state.get(&format!("wasm.{name}")));
    value.cloned().ok_or(Status::NotFound)
}

/// A path and its query, without the `?`.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().position(|&byte| byte == b'?') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, &[]),
    }
}

fn plugin(
    state: &VmState,
    f: impl FnOnce(&crate::plugin::Plugin) -> String,
) -> Result<Vec<u8>, Status> {
    state
        .plugin()
        .map(|plugin| f(&plugin).into_bytes())
        .ok_or(Status::NotFound)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "all the value makers have one form"
)]
fn text(value: &str) -> Result<Vec<u8>, Status> {
    Ok(value.as_bytes().to_vec())
}

fn known(value: &str) -> Result<Vec<u8>, Status> {
    if value.is_empty() {
        Err(Status::NotFound)
    } else {
        text(value)
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "all the value makers have one form"
)]
fn number(value: u64) -> Result<Vec<u8>, Status> {
    Ok(value.to_le_bytes().to_vec())
}

fn port(address: &str) -> Result<Vec<u8>, Status> {
    let port = address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    number(port.ok_or(Status::NotFound)?)
}
