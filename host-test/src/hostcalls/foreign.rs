//! `proxy_call_foreign_function`: what Envoy offers beyond the ABI, by name.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory, violation};
use crate::abi::Status;
use crate::foreign::{Message, filter_state, signature, zlib};
use crate::state::StreamId;
use crate::vm::VmState;

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_call_foreign_function", call, name: i32, name_size: i32, arguments: i32, size: i32, out: i32, out_size: i32);
    Ok(())
}

fn call(
    guest: &mut Guest<'_>,
    name: i32,
    name_size: i32,
    arguments: i32,
    size: i32,
    out: i32,
    out_size: i32,
) -> Outcome {
    let name = memory::text(guest, name, name_size)?;
    let arguments = memory::bytes(guest, arguments, size)?;
    let outcome = run(guest, &name, &arguments);
    if !ALL.contains(&name.as_str()) {
        return Err(Status::NotFound);
    }
    // An error writes an empty result; who passes no place for a result gets none.
    let result = outcome.as_deref().unwrap_or_default();
    if out != 0 && out_size != 0 {
        memory::give(guest, result, out, out_size)?;
    }
    outcome.map(|_| ())
}

/// The names that Envoy knows.
const ALL: [&str; 10] = [
    "clear_route_cache",
    "compress",
    "declare_property",
    "expr_create",
    "expr_delete",
    "expr_evaluate",
    "set_envoy_filter_state",
    "sign",
    "uncompress",
    "verify_signature",
];

fn run(guest: &mut Guest<'_>, name: &str, arguments: &[u8]) -> Result<Vec<u8>, Status> {
    match name {
        "verify_signature" => signature::verify(arguments),
        "sign" => signature::sign(arguments),
        "compress" => zlib::compress(arguments).ok_or(Status::SerializationFailure),
        "uncompress" => zlib::uncompress(arguments).ok_or(Status::SerializationFailure),
        // Whoever drives the worker routes by the headers that leave the chain: nothing is cached.
        "clear_route_cache" => Ok(Vec::new()),
        "declare_property" => declare_property(guest, arguments),
        "set_envoy_filter_state" => set_filter_state(guest.data(), arguments),
        "expr_create" | "expr_evaluate" | "expr_delete" => {
            let text = format!(
                "the foreign function {name} is not supported by host-test yet; the guest got Unimplemented (12)"
            );
            violation(guest, text);
            Err(Status::Unimplemented)
        }
        _ => Err(Status::NotFound),
    }
}

/// Name, read-only, type, schema and span of a property that the plugin is going to set.
fn declare_property(guest: &mut Guest<'_>, arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let message = Message::parse(arguments, &[1]).ok_or(Status::BadArgument)?;
    let name = message.text(1).to_owned();
    if message.number(3) > 1 {
        violation(
            guest,
            format!(
                "declare_property: {name} is a FlatBuffer or a protobuf message; host-test reads it back as bytes"
            ),
        );
    }
    if message.number(5) == 2 {
        violation(
            guest,
            format!(
                "declare_property: {name} has the span of a connection; in host-test it ends with its request"
            ),
        );
    }
    let read_only = message.number(2) != 0;
    let state = guest.data_mut();
    let context = state.context();
    let Some(root) = state.roots.get_mut(&context) else {
        let text = format!(
            "declare_property: {name} was declared outside a root context, where Envoy ignores it"
        );
        violation(guest, text);
        return Ok(Vec::new());
    };
    if root.declared.contains_key(&name) {
        return Err(Status::BadArgument);
    }
    root.declared.insert(name, read_only);
    Ok(Vec::new())
}

/// Whether a stream's property may be set: a read-only one is set once.
pub(super) fn may_set(state: &VmState, stream: StreamId, name: &str) -> bool {
    let root = state.root_context().and_then(|root| state.roots.get(&root));
    if root.and_then(|root| root.declared.get(name)) != Some(&true) {
        return true;
    }
    let worker = state.worker.borrow();
    let stream = worker.streams.get(&stream);
    stream.is_none_or(|stream| !stream.filter_state.contains_key(&format!("wasm.{name}")))
}

/// Path, value and span of a filter-state object that Envoy's own extensions read.
fn set_filter_state(state: &VmState, arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let message = Message::parse(arguments, &[1]).ok_or(Status::BadArgument)?;
    let (path, value) = (message.text(1), message.bytes(2));
    match filter_state::accepts(path, value) {
        None => return Err(Status::NotFound),
        Some(false) => return Err(Status::BadArgument),
        Some(true) => {}
    }
    let (stream, _) = state.stream().ok_or(Status::NotFound)?;
    let mut worker = state.worker.borrow_mut();
    let stream = worker.streams.get_mut(&stream).ok_or(Status::NotFound)?;
    stream.filter_state.insert(path.to_owned(), value.to_vec());
    Ok(Vec::new())
}
