//! Properties: what Envoy tells of the request, the connection and itself, and filter state.
//!
//! Paths are segments joined by NUL. Text is raw bytes, numbers are 8 bytes little-endian,
//! booleans one byte, maps the header-pairs form.

use wasmtime::Linker;

use super::{Guest, Outcome, foreign, hostcall, memory};
use crate::abi::{MapType, Status};
use crate::headers::Headers;
use crate::pairs;
use crate::state::{State, Stream};
use crate::vm::VmState;
use crate::worker::reply;

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
    let (id, _) = state.stream().ok_or(Status::NotFound)?;
    if !foreign::may_set(state, id, &path) {
        return Err(Status::BadArgument);
    }
    let mut worker = state.worker.borrow_mut();
    let stream = worker.streams.get_mut(&id).ok_or(Status::NotFound)?;
    // Never shadows a built-in property: `P` becomes the filter state `wasm.P`.
    stream
        .filter_state
        .insert(format!("wasm.{path}"), value.to_vec());
    Ok(())
}

fn look_up(state: &VmState, path: &[&str]) -> Result<Vec<u8>, Status> {
    match path {
        [] | [""] | ["xds"] => return Err(Status::SerializationFailure),
        ["plugin_name"] => return plugin(state, |plugin| plugin.name.clone()),
        ["plugin_root_id"] => return plugin(state, |plugin| plugin.root_id.clone()),
        ["plugin_vm_id"] => return text(&state.vm_id),
        // The node as a message, of which a local host has nothing to tell.
        ["xds", "node"] => return Ok(Vec::new()),
        _ => {}
    }
    let (id, lane) = state.stream().ok_or(Status::NotFound)?;
    let worker = state.worker.borrow();
    if let Some(alone) = &worker.alone {
        return alone.property(path).ok_or(Status::NotFound);
    }
    let elapsed = elapsed(&worker, id);
    let stream = worker.streams.get(&id).ok_or(Status::NotFound)?;
    match path {
        // There are these groups, but as a whole they have no byte form.
        [
            "request" | "response" | "source" | "destination" | "connection" | "upstream"
            | "filter_state",
        ] => Err(Status::SerializationFailure),
        ["request", rest @ ..] => request(stream, lane, rest, elapsed),
        ["response", rest @ ..] => response(stream, lane, rest),
        ["source", "address"] => text(&stream.info.source_address),
        ["source", "port"] => port(&stream.info.source_address),
        ["destination", "address"] => text(&stream.info.destination_address),
        ["destination", "port"] => port(&stream.info.destination_address),
        ["connection", "id"] | ["connection_id"] => number(stream.info.connection_id),
        ["connection", "mtls"] => Ok(vec![0]),
        ["connection", "requested_server_name"] => text(""),
        // Dynamic metadata: filters of wasm can't write any.
        ["metadata"] | ["metadata", "filter_metadata"] => Ok(Vec::new()),
        ["upstream", "address"] => known(&stream.info.upstream_address),
        ["upstream", "port"] => port(&stream.info.upstream_address),
        ["upstream", "transport_failure_reason" | "locality"]
            if !stream.info.upstream_address.is_empty() =>
        {
            text("")
        }
        ["upstream", "cx_pool_ready_duration"] if stream.response.started => number(0),
        ["upstream", "num_endpoints"] => number(stream.info.upstream_num_endpoints),
        ["upstream", "request_attempt_count"] => {
            number(u64::from(!stream.info.upstream_address.is_empty()))
        }
        ["xds", "filter_chain_name"] => text(""),
        ["xds", "route_name"] => text(&stream.info.route_name),
        ["xds", "cluster_name"] => text(&stream.info.cluster_name),
        ["xds", "virtual_host_name"] => text(&stream.info.virtual_host_name),
        ["xds", "listener_direction"] => number(0),
        ["filter_state", name] => known_state(stream, name),
        [name] => known_state(stream, &format!("wasm.{name}")),
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
fn request(stream: &Stream, lane: usize, path: &[&str], elapsed: u64) -> Result<Vec<u8>, Status> {
    match path {
        ["time"] => return number(stream.started_wall),
        ["protocol"] => return text(&stream.info.protocol),
        ["size"] => return number(request_size(stream, lane)),
        ["headers"] => {
            let headers = stream.map(lane, MapType::RequestHeaders);
            return Ok(headers.map(pairs::encode).unwrap_or_default());
        }
        ["headers_bytes"] => return number(headers_size(stream, lane, MapType::RequestHeaders)),
        ["total_size"] => {
            let headers = headers_size(stream, lane, MapType::RequestHeaders);
            return number(stream.request.body_bytes + headers);
        }
        ["duration"] if stream.lanes.get(lane).is_some_and(|lane| lane.ending) => {
            return number(elapsed);
        }
        _ => {}
    }
    let id = stream.info.request_id.clone();
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
        ["headers", name] => joined(headers, name),
        _ => Err(Status::NotFound),
    }
}

fn response(stream: &Stream, lane: usize, path: &[&str]) -> Result<Vec<u8>, Status> {
    match path {
        ["size"] => return number(stream.response.bytes_passed),
        ["flags"] => return number(0),
        ["total_size"] => {
            let headers = headers_size(stream, lane, MapType::ResponseHeaders);
            return number(stream.response.bytes_passed + headers);
        }
        ["headers"] => {
            let headers = stream.map(lane, MapType::ResponseHeaders);
            return Ok(headers.map(pairs::encode).unwrap_or_default());
        }
        ["trailers"] => {
            let trailers = stream.map(lane, MapType::ResponseTrailers);
            return Ok(trailers.map(pairs::encode).unwrap_or_default());
        }
        _ if !stream.response.started => return Err(Status::NotFound),
        ["code"] => {
            let code = stream
                .response
                .headers
                .text(":status")
                .and_then(|code| code.parse().ok());
            return number(code.ok_or(Status::NotFound)?);
        }
        ["grpc_status"] => return number(grpc_status(&stream.response.headers)),
        ["backend_latency"] if stream.response.complete => return number(0),
        ["code_details"] => return known(&stream.details),
        _ => {}
    }
    let headers = stream
        .map(lane, MapType::ResponseHeaders)
        .ok_or(Status::NotFound)?;
    match path {
        ["headers", name] => joined(headers, name),
        _ => Err(Status::NotFound),
    }
}

/// The gRPC status of a response, or else the one that its HTTP status stands for.
fn grpc_status(headers: &Headers) -> u64 {
    let number = |name| headers.text(name).and_then(|text| text.parse().ok());
    number("grpc-status").unwrap_or_else(|| {
        let http = number(":status").and_then(|status| u32::try_from(status).ok());
        u64::from(reply::grpc_status(http.unwrap_or_default()).unsigned_abs())
    })
}

/// What the request announces where its headers can be read, else what has come of it.
fn request_size(stream: &Stream, lane: usize) -> u64 {
    let headers = stream.map(lane, MapType::RequestHeaders);
    let announced = headers.and_then(|headers| headers.text("content-length")?.parse().ok());
    announced.unwrap_or(stream.request.body_bytes)
}

/// The bytes of a map; 0 where it can't be read.
fn headers_size(stream: &Stream, lane: usize, map: MapType) -> u64 {
    stream
        .map(lane, map)
        .map_or(0, |headers| headers.byte_size() as u64)
}

/// All values of a header, joined with commas.
fn joined(headers: &Headers, name: &str) -> Result<Vec<u8>, Status> {
    let values: Vec<&[u8]> = headers.all(name).collect();
    if values.is_empty() {
        Err(Status::NotFound)
    } else {
        Ok(values.join(&b","[..]))
    }
}

fn known_state(stream: &Stream, name: &str) -> Result<Vec<u8>, Status> {
    let value = stream.filter_state.get(name);
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
