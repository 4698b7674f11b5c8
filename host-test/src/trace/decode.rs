//! Reads hostcalls' raw arguments by the meaning they have in the ABI.

use std::sync::LazyLock;

use super::{Argument, PAIRS_KEPT, Value};
use crate::abi::{HOSTCALLS, MapType};
use crate::pairs;

/// What one or two raw arguments mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Map,
    Buffer,
    Level,
    Metric,
    Direction,
    /// Pointer and size.
    Bytes,
    /// Pointer and size of segments joined by NUL.
    Path,
    /// Pointer and size of a serialized map.
    Pairs,
    /// Where a `u32` is put.
    OutU32,
    /// Where a `u64` is put.
    OutU64,
    /// Where pointer and size of bytes are put.
    OutBytes,
    /// Where pointer and size of a serialized map are put.
    OutPairs,
    /// Pointer and size of a place to be filled.
    Fill,
}

impl Kind {
    /// How many raw arguments it takes.
    fn width(self) -> usize {
        match self {
            Self::Bytes
            | Self::Path
            | Self::Pairs
            | Self::OutBytes
            | Self::OutPairs
            | Self::Fill => 2,
            _ => 1,
        }
    }

    fn is_output(self) -> bool {
        matches!(
            self,
            Self::OutU32 | Self::OutU64 | Self::OutBytes | Self::OutPairs
        )
    }
}

type Parameter = (&'static str, Kind);

/// The parameters by position in [`HOSTCALLS`].
static PARAMETERS: LazyLock<Vec<&'static [Parameter]>> =
    LazyLock::new(|| HOSTCALLS.iter().map(|(name, _)| parameters(name)).collect());

fn parameters(hostcall: &str) -> &'static [Parameter] {
    use Kind::{
        Buffer, Bytes, Direction, Fill, Level, Map, Metric, Number, OutBytes, OutPairs, OutU32,
        OutU64, Pairs, Path,
    };
    match hostcall {
        "proxy_log" => &[("level", Level), ("message", Bytes)],
        "proxy_get_log_level" => &[("level", OutU32)],
        "proxy_get_current_time_nanoseconds" => &[("time", OutU64)],
        "proxy_set_tick_period_milliseconds" => &[("period", Number)],
        "proxy_get_status" => &[("code", OutU32), ("message", OutBytes)],
        "proxy_get_property" => &[("path", Path), ("value", OutBytes)],
        "proxy_set_property" => &[("path", Path), ("value", Bytes)],
        "proxy_get_buffer_bytes" => &[
            ("buffer", Buffer),
            ("start", Number),
            ("length", Number),
            ("bytes", OutBytes),
        ],
        "proxy_set_buffer_bytes" => &[
            ("buffer", Buffer),
            ("start", Number),
            ("length", Number),
            ("bytes", Bytes),
        ],
        "proxy_get_buffer_status" => &[("buffer", Buffer), ("size", OutU32), ("flags", OutU32)],
        "proxy_get_header_map_value" => &[("map", Map), ("name", Bytes), ("value", OutBytes)],
        "proxy_add_header_map_value" | "proxy_replace_header_map_value" => {
            &[("map", Map), ("name", Bytes), ("value", Bytes)]
        }
        "proxy_remove_header_map_value" => &[("map", Map), ("name", Bytes)],
        "proxy_get_header_map_pairs" => &[("map", Map), ("headers", OutPairs)],
        "proxy_set_header_map_pairs" => &[("map", Map), ("headers", Pairs)],
        "proxy_get_header_map_size" => &[("map", Map), ("size", OutU32)],
        "proxy_send_local_response" => &[
            ("status", Number),
            ("details", Bytes),
            ("body", Bytes),
            ("headers", Pairs),
            ("grpc_status", Number),
        ],
        "proxy_continue_stream" | "proxy_close_stream" => &[("stream", Direction)],
        "proxy_http_call" => &[
            ("cluster", Bytes),
            ("headers", Pairs),
            ("body", Bytes),
            ("trailers", Pairs),
            ("timeout", Number),
            ("token", OutU32),
        ],
        "proxy_grpc_call" => &[
            ("service", Bytes),
            ("service_name", Bytes),
            ("method", Bytes),
            ("metadata", Pairs),
            ("message", Bytes),
            ("timeout", Number),
            ("token", OutU32),
        ],
        "proxy_grpc_stream" => &[
            ("service", Bytes),
            ("service_name", Bytes),
            ("method", Bytes),
            ("metadata", Pairs),
            ("token", OutU32),
        ],
        "proxy_grpc_send" => &[("token", Number), ("message", Bytes), ("end", Number)],
        "proxy_grpc_cancel" | "proxy_grpc_close" => &[("token", Number)],
        "proxy_get_shared_data" => &[("key", Bytes), ("value", OutBytes), ("cas", OutU32)],
        "proxy_set_shared_data" => &[("key", Bytes), ("value", Bytes), ("cas", Number)],
        "proxy_register_shared_queue" => &[("name", Bytes), ("queue", OutU32)],
        "proxy_resolve_shared_queue" => &[("vm_id", Bytes), ("name", Bytes), ("queue", OutU32)],
        "proxy_enqueue_shared_queue" => &[("queue", Number), ("item", Bytes)],
        "proxy_dequeue_shared_queue" => &[("queue", Number), ("item", OutBytes)],
        "proxy_define_metric" => &[("kind", Metric), ("name", Bytes), ("metric", OutU32)],
        "proxy_increment_metric" => &[("metric", Number), ("by", Number)],
        "proxy_record_metric" => &[("metric", Number), ("value", Number)],
        "proxy_get_metric" => &[("metric", Number), ("value", OutU64)],
        "proxy_set_effective_context" => &[("context", Number)],
        "proxy_call_foreign_function" => {
            &[("name", Bytes), ("argument", Bytes), ("result", OutBytes)]
        }
        "envoy_resolve_dns" => &[("name", Bytes), ("token", OutU32)],
        "proxy_get_configuration" => &[("bytes", OutBytes)],
        "clock_time_get" => &[("clock", Number), ("precision", Number), ("time", OutU64)],
        "random_get" => &[("bytes", Fill)],
        _ => &[],
    }
}

/// What a guest hands over in a hostcall.
pub(crate) fn inputs(hostcall: usize, raw: &[i64], memory: &[u8]) -> Vec<Argument> {
    read(hostcall, raw, |kind, at| {
        (!kind.is_output()).then(|| input(kind, at, memory))
    })
}

/// What a guest got from a hostcall that answered 0.
pub(crate) fn outputs(hostcall: usize, raw: &[i64], memory: &[u8]) -> Vec<Argument> {
    read(hostcall, raw, |kind, at| {
        kind.is_output().then(|| output(kind, at, memory))
    })
}

fn read(
    hostcall: usize,
    raw: &[i64],
    value: impl Fn(Kind, &[i64]) -> Option<Value>,
) -> Vec<Argument> {
    let parameters = PARAMETERS.get(hostcall).copied().unwrap_or_default();
    let mut rest = raw;
    let mut found = Vec::with_capacity(parameters.len());
    for &(name, kind) in parameters {
        let (mine, others) = rest.split_at(kind.width().min(rest.len()));
        rest = others;
        found.extend(value(kind, mine).map(|value| Argument { name, value }));
    }
    found
}

fn input(kind: Kind, raw: &[i64], memory: &[u8]) -> Value {
    let first = raw.first().copied().unwrap_or_default();
    let word = |words: &[&'static str]| {
        let word = usize::try_from(first).ok().and_then(|n| words.get(n));
        word.map_or(Value::Number(first), |word| Value::Word(word))
    };
    match kind {
        Kind::Level => word(&["trace", "debug", "info", "warn", "error", "critical"]),
        Kind::Metric => word(&["counter", "gauge", "histogram"]),
        Kind::Direction => word(&["request", "response", "downstream", "upstream"]),
        Kind::Buffer => word(&[
            "request_body",
            "response_body",
            "downstream_data",
            "upstream_data",
            "callout_body",
            "grpc_message",
            "vm_configuration",
            "plugin_configuration",
            "foreign_call",
        ]),
        Kind::Map => i32::try_from(first)
            .ok()
            .and_then(MapType::from_guest)
            .map_or(Value::Number(first), |map| Value::Word(map.name())),
        Kind::Bytes => slice(memory, raw).map_or(Value::Unreadable, Value::bytes),
        Kind::Path => slice(memory, raw).map_or(Value::Unreadable, |bytes| {
            let path: Vec<u8> = bytes
                .iter()
                .map(|&byte| if byte == 0 { b'.' } else { byte })
                .collect();
            Value::bytes(path.strip_suffix(b".").unwrap_or(&path))
        }),
        Kind::Pairs => slice(memory, raw).map_or(Value::Unreadable, header_list),
        // Only the size means something before the call.
        Kind::Fill => Value::Number(raw.get(1).copied().unwrap_or_default()),
        _ => Value::Number(first),
    }
}

fn output(kind: Kind, raw: &[i64], memory: &[u8]) -> Value {
    let at = |index: usize| raw.get(index).map_or(0, |&pointer| address(pointer));
    let number = |start: usize| {
        let four = memory.get(start..start.checked_add(4)?)?.try_into().ok()?;
        Some(i64::from(u32::from_le_bytes(four)))
    };
    let bytes = || slice(memory, &[number(at(0))?, number(at(1))?]);
    let value = match kind {
        Kind::OutU32 => number(at(0)).map(Value::Number),
        Kind::OutU64 => {
            let eight = memory.get(at(0)..at(0).saturating_add(8));
            let eight: Option<[u8; 8]> = eight.and_then(|bytes| bytes.try_into().ok());
            eight.map(|bytes| Value::Number(i64::from_le_bytes(bytes)))
        }
        Kind::OutPairs => bytes().map(header_list),
        _ => bytes().map(Value::bytes),
    };
    value.unwrap_or(Value::Unreadable)
}

fn header_list(bytes: &[u8]) -> Value {
    let (headers, malformed) = pairs::decode(bytes);
    if malformed {
        return Value::Unreadable;
    }
    let head = headers.iter().take(PAIRS_KEPT);
    Value::Pairs {
        head: head
            .map(|(name, value)| (Value::bytes(name), Value::bytes(value)))
            .collect(),
        count: headers.len(),
    }
}

/// The bytes at a pointer and size.
fn slice<'m>(memory: &'m [u8], raw: &[i64]) -> Option<&'m [u8]> {
    let [pointer, size] = raw else { return None };
    let start = address(*pointer);
    memory.get(start..start.checked_add(address(*size))?)
}

/// A guest's pointer or size, which is unsigned and of 32 bits.
fn address(raw: i64) -> usize {
    usize::try_from(raw & 0xffff_ffff).unwrap_or_default()
}

/// Names of what a callback gets besides its context.
pub(crate) fn callback_arguments(callback: &str, raw: &[i32]) -> Vec<Argument> {
    let names: &[&'static str] = match callback {
        "proxy_on_context_create" => &["parent"],
        "proxy_on_vm_start" | "proxy_on_configure" => &["size"],
        "proxy_on_request_headers" | "proxy_on_response_headers" => &["headers", "end"],
        "proxy_on_request_body" | "proxy_on_response_body" => &["size", "end"],
        "proxy_on_request_trailers" | "proxy_on_response_trailers" => &["trailers"],
        "proxy_on_http_call_response" => &["token", "headers", "size", "trailers"],
        "proxy_on_queue_ready" => &["queue"],
        _ => &[],
    };
    let values = raw.iter().skip(1);
    let named = names.iter().zip(values);
    named
        .map(|(&name, &raw)| Argument {
            name,
            value: match name {
                "end" => Value::Word(if raw == 0 { "false" } else { "true" }),
                _ => Value::Number(i64::from(raw.cast_unsigned())),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_raw_argument_of_every_hostcall_has_a_meaning() {
        for (name, count) in HOSTCALLS {
            let known: usize = parameters(name).iter().map(|(_, kind)| kind.width()).sum();
            let unknown = ["proxy_done", "proxy_continue_request"];
            assert_eq!(known, count, "{name}");
            assert!(count > 0 || parameters(name).is_empty() || unknown.contains(&name));
        }
    }

    #[test]
    fn what_lies_outside_the_memory_is_unreadable() {
        let index = crate::abi::hostcall_index("proxy_get_shared_data");
        let raw = [60, 8, 0, 4, 8];
        let found = inputs(index, &raw, &[0; 64]);
        assert_eq!(found[0].value, Value::Unreadable);
        let raw = [0, 4, 62, 4, -1];
        let found = outputs(index, &raw, &[0; 64]);
        assert_eq!(found[0].value, Value::Unreadable);
        assert_eq!(found[1].value, Value::Unreadable);
    }

    #[test]
    fn a_long_value_keeps_its_beginning_and_its_size() {
        let long = [b'a'; 100];
        let Value::Bytes { head, size } = Value::bytes(&long) else {
            panic!("bytes")
        };
        assert_eq!((head.len(), size), (64, 100));
    }
}
