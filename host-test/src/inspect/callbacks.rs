//! The types of what a module exports to Envoy and imports from it.

use wasmparser::ValType::{self, I32, I64};

use crate::abi::{AbiVersion, HOSTCALLS};
use crate::hostcalls::wasi;

use super::signature;

/// Parameters and results of a function.
pub(crate) type Types = (Vec<ValType>, Vec<ValType>);

/// A function that Envoy calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callback {
    name: &'static str,
    params: usize,
    returns: bool,
}

/// Looks a callback up by the name of its export.
pub(crate) fn find(name: &str) -> Option<Callback> {
    CALLBACKS
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(name, params, returns)| Callback {
            name,
            params: *params,
            returns: *returns,
        })
}

impl Callback {
    /// How Envoy calls it in a module of that version.
    pub(super) fn signature(self, abi: AbiVersion) -> String {
        let (params, results) = self.types(abi);
        signature(&params, &results)
    }

    /// Its parameters and results in a module of that version.
    pub(crate) fn types(self, abi: AbiVersion) -> Types {
        let is_headers = matches!(
            self.name,
            "proxy_on_request_headers" | "proxy_on_response_headers"
        );
        // 0.1.0 does not tell whether the stream ends with the headers.
        let fewer = usize::from(is_headers && abi == AbiVersion::V0_1_0);
        of_numbers(self.params - fewer, self.returns)
    }
}

/// The type of a hostcall as text, where it is known here.
pub(super) fn hostcall(module: &str, name: &str) -> Option<String> {
    let (params, results) = hostcall_type(module, name)?;
    Some(signature(&params, &results))
}

/// The type of a hostcall, where it is known here.
pub(crate) fn hostcall_type(module: &str, name: &str) -> Option<Types> {
    if module.starts_with("wasi_") {
        let (_, types) = wasi::FUNCTIONS.iter().find(|(known, _)| *known == name)?;
        let params = types
            .chars()
            .map(|kind| if kind == 'l' { I64 } else { I32 });
        let results = vec![I32; usize::from(name != "proc_exit")];
        return Some((params.collect(), results));
    }
    if module != "env" {
        return None;
    }
    match name {
        "emscripten_notify_memory_growth" => Some(of_numbers(1, false)),
        "proxy_increment_metric" | "proxy_record_metric" => Some((vec![I32, I64], vec![I32])),
        "pthread_equal" => Some(of_numbers(2, true)),
        _ => {
            let (_, params) = HOSTCALLS.iter().find(|(known, _)| *known == name)?;
            Some(of_numbers(*params, true))
        }
    }
}

/// A function of 32-bit numbers.
fn of_numbers(params: usize, returns: bool) -> Types {
    (vec![I32; params], vec![I32; usize::from(returns)])
}

/// Name, number of parameters, and whether something is returned.
const CALLBACKS: [(&str, usize, bool); 35] = [
    ("__main_void", 0, true),
    ("_initialize", 0, false),
    ("_start", 0, false),
    ("main", 2, true),
    ("malloc", 1, true),
    ("proxy_on_configure", 2, true),
    ("proxy_on_context_create", 2, false),
    ("proxy_on_delete", 1, false),
    ("proxy_on_done", 1, true),
    ("proxy_on_downstream_connection_close", 2, false),
    ("proxy_on_downstream_data", 3, true),
    ("proxy_on_foreign_function", 3, false),
    ("proxy_on_grpc_close", 3, false),
    ("proxy_on_grpc_receive", 3, false),
    ("proxy_on_grpc_receive_initial_metadata", 3, false),
    ("proxy_on_grpc_receive_trailing_metadata", 3, false),
    ("proxy_on_http_call_response", 5, false),
    ("proxy_on_log", 1, false),
    ("proxy_on_memory_allocate", 1, true),
    ("proxy_on_new_connection", 1, true),
    ("proxy_on_queue_ready", 2, false),
    ("proxy_on_request_body", 3, true),
    ("proxy_on_request_headers", 3, true),
    ("proxy_on_request_metadata", 2, true),
    ("proxy_on_request_trailers", 2, true),
    ("proxy_on_response_body", 3, true),
    ("proxy_on_response_headers", 3, true),
    ("proxy_on_response_metadata", 2, true),
    ("proxy_on_response_trailers", 2, true),
    ("proxy_on_stats_update", 2, false),
    ("proxy_on_tick", 1, false),
    ("proxy_on_upstream_connection_close", 2, false),
    ("proxy_on_upstream_data", 3, true),
    ("proxy_on_vm_start", 2, true),
    ("proxy_validate_configuration", 2, true),
];
