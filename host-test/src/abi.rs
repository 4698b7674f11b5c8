//! Numbers and names of the proxy-wasm ABI, as Envoy 1.40 has them.

/// What a hostcall answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No such header, property, key, metric or queue.
    NotFound = 1,
    /// An argument is out of range, or the thing asked for is not available now.
    BadArgument = 2,
    /// A value has no byte form.
    SerializationFailure = 3,
    /// Bytes could not be parsed.
    ParseFailure = 4,
    /// A guest pointer lies outside its memory.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// The key was changed by someone else since it was read.
    CasMismatch = 8,
    /// The host can't do it now.
    InternalFailure = 10,
    /// The host doesn't have this call.
    Unimplemented = 12,
}

impl Status {
    const ALL: [Self; 10] = [
        Self::Ok,
        Self::NotFound,
        Self::BadArgument,
        Self::SerializationFailure,
        Self::ParseFailure,
        Self::InvalidMemoryAccess,
        Self::Empty,
        Self::CasMismatch,
        Self::InternalFailure,
        Self::Unimplemented,
    ];

    /// The status with that number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| *status as i32 == number)
    }

    /// The status with that [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Its name as traces and scenarios write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::BadArgument => "bad_argument",
            Self::SerializationFailure => "serialization_failure",
            Self::ParseFailure => "parse_failure",
            Self::InvalidMemoryAccess => "invalid_memory_access",
            Self::Empty => "empty",
            Self::CasMismatch => "cas_mismatch",
            Self::InternalFailure => "internal_failure",
            Self::Unimplemented => "unimplemented",
        }
    }
}

/// Header map types of the `proxy_*_header_map_*` calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapType {
    /// 0
    RequestHeaders,
    /// 1
    RequestTrailers,
    /// 2
    ResponseHeaders,
    /// 3
    ResponseTrailers,
    /// 4: what a gRPC stream begins with.
    GrpcInitialMetadata,
    /// 5: what a gRPC stream ends with.
    GrpcTrailingMetadata,
    /// 6
    CalloutHeaders,
    /// 7
    CalloutTrailers,
}

impl MapType {
    /// Reads the guest's number.
    pub fn from_guest(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::RequestHeaders,
            1 => Self::RequestTrailers,
            2 => Self::ResponseHeaders,
            3 => Self::ResponseTrailers,
            4 => Self::GrpcInitialMetadata,
            5 => Self::GrpcTrailingMetadata,
            6 => Self::CalloutHeaders,
            7 => Self::CalloutTrailers,
            _ => return None,
        })
    }
}

impl MapType {
    /// Its name as traces write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestHeaders => "request_headers",
            Self::RequestTrailers => "request_trailers",
            Self::ResponseHeaders => "response_headers",
            Self::ResponseTrailers => "response_trailers",
            Self::GrpcInitialMetadata => "grpc_initial_metadata",
            Self::GrpcTrailingMetadata => "grpc_trailing_metadata",
            Self::CalloutHeaders => "callout_headers",
            Self::CalloutTrailers => "callout_trailers",
        }
    }
}

/// Buffer types of the `proxy_*_buffer_*` calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferType {
    /// 0
    RequestBody,
    /// 1
    ResponseBody,
    /// 2, 3, 8: TCP data, foreign call data; empty here.
    Absent,
    /// 4
    CalloutBody,
    /// 5
    GrpcMessage,
    /// 6
    VmConfiguration,
    /// 7
    PluginConfiguration,
}

impl BufferType {
    /// Reads the guest's number.
    pub fn from_guest(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::RequestBody,
            1 => Self::ResponseBody,
            2 | 3 | 8 => Self::Absent,
            4 => Self::CalloutBody,
            5 => Self::GrpcMessage,
            6 => Self::VmConfiguration,
            7 => Self::PluginConfiguration,
            _ => return None,
        })
    }
}

/// The ABI versions that Envoy 1.40 runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AbiVersion {
    /// Headers callbacks don't know whether the stream ends with them.
    V0_1_0,
    /// Without `proxy_get_log_level`.
    V0_2_0,
    /// What SDKs build for today.
    V0_2_1,
}

impl AbiVersion {
    /// All of them, the newest first.
    pub const ALL: [Self; 3] = [Self::V0_2_1, Self::V0_2_0, Self::V0_1_0];

    /// The export by which a module declares the version.
    pub const fn export(self) -> &'static str {
        match self {
            Self::V0_1_0 => "proxy_abi_version_0_1_0",
            Self::V0_2_0 => "proxy_abi_version_0_2_0",
            Self::V0_2_1 => "proxy_abi_version_0_2_1",
        }
    }

    /// Whether a hostcall belongs to the version. Those of other versions do not resolve.
    pub fn has(self, hostcall: &str) -> bool {
        match hostcall {
            "proxy_get_configuration"
            | "proxy_continue_request"
            | "proxy_continue_response"
            | "proxy_clear_route_cache" => self == Self::V0_1_0,
            "proxy_continue_stream" | "proxy_close_stream" => self > Self::V0_1_0,
            "proxy_get_log_level" => self == Self::V0_2_1,
            _ => HOSTCALLS.iter().any(|(known, _)| *known == hostcall),
        }
    }
}

/// The hostcalls of all versions with the number of their parameters, all `i32` but for the two
/// marked calls. The order is the index of the call counters.
pub const HOSTCALLS: [(&str, usize); 46] = [
    ("proxy_log", 3),
    ("proxy_get_log_level", 1),
    ("proxy_get_current_time_nanoseconds", 1),
    ("proxy_set_tick_period_milliseconds", 1),
    ("proxy_get_status", 3),
    ("proxy_get_property", 4),
    ("proxy_set_property", 4),
    ("proxy_get_buffer_bytes", 5),
    ("proxy_set_buffer_bytes", 5),
    ("proxy_get_buffer_status", 3),
    ("proxy_get_header_map_value", 5),
    ("proxy_add_header_map_value", 5),
    ("proxy_replace_header_map_value", 5),
    ("proxy_remove_header_map_value", 3),
    ("proxy_get_header_map_pairs", 3),
    ("proxy_set_header_map_pairs", 3),
    ("proxy_get_header_map_size", 2),
    ("proxy_send_local_response", 8),
    ("proxy_continue_stream", 1),
    ("proxy_close_stream", 1),
    ("proxy_http_call", 10),
    ("proxy_grpc_call", 12),
    ("proxy_grpc_stream", 9),
    ("proxy_grpc_send", 4),
    ("proxy_grpc_cancel", 1),
    ("proxy_grpc_close", 1),
    ("proxy_get_shared_data", 5),
    ("proxy_set_shared_data", 5),
    ("proxy_register_shared_queue", 3),
    ("proxy_resolve_shared_queue", 5),
    ("proxy_enqueue_shared_queue", 3),
    ("proxy_dequeue_shared_queue", 3),
    ("proxy_define_metric", 4),
    // (i32, i64)
    ("proxy_increment_metric", 2),
    // (i32, i64)
    ("proxy_record_metric", 2),
    ("proxy_get_metric", 2),
    ("proxy_set_effective_context", 1),
    ("proxy_done", 0),
    ("proxy_call_foreign_function", 6),
    ("envoy_resolve_dns", 3),
    // ABI 0.1.0 alone.
    ("proxy_get_configuration", 2),
    ("proxy_continue_request", 0),
    ("proxy_continue_response", 0),
    ("proxy_clear_route_cache", 0),
    // The two WASI calls that our own filters make, counted with the rest.
    ("clock_time_get", 3),
    ("random_get", 2),
];

/// The callbacks of HTTP plugins.
pub const CALLBACKS: [&str; 19] = [
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_tick",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
    "proxy_on_http_call_response",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_grpc_close",
    "proxy_on_queue_ready",
    "proxy_on_log",
    "proxy_on_done",
    "proxy_on_delete",
];

/// The position of a call in [`HOSTCALLS`].
pub const fn hostcall_index(name: &str) -> usize {
    let mut index = 0;
    while index < HOSTCALLS.len() {
        if same(HOSTCALLS[index].0.as_bytes(), name.as_bytes()) {
            return index;
        }
        index += 1;
    }
    panic!("not a hostcall")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}
