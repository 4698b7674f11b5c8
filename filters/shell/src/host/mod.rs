//! The hostcalls of proxy-wasm ABI 0.2.1 and WASI that the filters use, one safe function each.

#![allow(
    unsafe_code,
    reason = "calls across the module's border; the only place that makes any"
)]

mod queues;

use std::fmt;
use std::ptr::null_mut;

use filter_core::headers::Headers;
use filter_core::reply::Reply;
use filter_core::time::Timestamp;
use filter_core::transaction::Cas;

pub use self::queues::{dequeue, enqueue, register_queue};

/// A status other than OK, as the host gave it (proxy-wasm ABI 0.2.1, or a WASI errno).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// What was asked for isn't there.
    pub const NOT_FOUND: Self = Self(1);
    /// A value has no form of bytes.
    pub const SERIALIZATION_FAILURE: Self = Self(3);
    /// A queue has nothing in it.
    pub const EMPTY: Self = Self(7);
    /// A stored value has another version by now.
    pub const CAS_MISMATCH: Self = Self(8);
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host status {}", self.0)
    }
}

/// The buffer of the response's body.
const RESPONSE_BODY: u32 = 1;

/// Which headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderMap {
    /// Those of the request; gone once its headers have left the filter.
    Request,
    /// Those of the response.
    Response,
    /// Those of the answer to a call of ours, while it is handed over.
    CallResponse,
}

impl HeaderMap {
    const fn code(self) -> u32 {
        match self {
            Self::Request => 0,
            Self::Response => 2,
            Self::CallResponse => 6,
        }
    }
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, len: usize) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(
        buffer: u32,
        start: usize,
        size: usize,
        data: *const u8,
        len: usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_len: usize,
        data: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_len: usize,
        value: *const u8,
        value_len: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_len: usize,
        value: *const u8,
        value_len: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_len: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_len: usize,
        data: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_len: usize,
        value: *const u8,
        value_len: usize,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_len: usize,
        body: *const u8,
        body_len: usize,
        headers: *const u8,
        headers_len: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_len: usize,
        data: *mut *mut u8,
        len: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_len: usize,
        value: *const u8,
        value_len: usize,
        cas: u32,
    ) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_len: usize,
        arguments: *const u8,
        arguments_len: usize,
        result: *mut *mut u8,
        result_len: *mut usize,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_len: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(buffer: *mut u8, len: usize) -> u32;
}

/// `proxy_log`; `level` is 0 (trace) to 5 (critical).
///
/// # Errors
/// The host's status.
pub fn log(level: u32, text: &str) -> Result<(), Status> {
    // SAFETY: the host reads `text` within the call.
    check(unsafe { proxy_log(level, text.as_ptr(), text.len()) })
}

/// The plugin's configuration; to be asked for in `on_configure`.
///
/// # Errors
/// The host's status.
pub fn plugin_configuration() -> Result<Vec<u8>, Status> {
    const PLUGIN_CONFIGURATION: u32 = 7;
    buffer(PLUGIN_CONFIGURATION, 0, usize::MAX >> 1).or_else(|status| match status {
        // Envoy answers so for a plugin without configuration.
        Status::NOT_FOUND => Ok(Vec::new()),
        _ => Err(status),
    })
}

/// The piece of the response's body that a callback was told of, `len` bytes long.
///
/// # Errors
/// The host's status.
pub fn response_body(len: usize) -> Result<Vec<u8>, Status> {
    buffer(RESPONSE_BODY, 0, len)
}

/// Puts bytes before the piece of the response's body that a callback was told of. The length that
/// the response's headers say isn't changed.
///
/// # Errors
/// The host's status.
pub fn prepend_response_body(bytes: &[u8]) -> Result<(), Status> {
    replace_response_body(0, bytes)
}

/// Puts bytes in place of the first `len` of the piece of the response's body that a callback was told
/// of. The length that the response's headers say isn't changed.
///
/// # Errors
/// The host's status.
pub fn replace_response_body(len: usize, bytes: &[u8]) -> Result<(), Status> {
    // SAFETY: the host reads the bytes within the call.
    check(unsafe { proxy_set_buffer_bytes(RESPONSE_BODY, 0, len, bytes.as_ptr(), bytes.len()) })
}

/// The request's body as it is buffered, or the piece that a callback was told of: at most `len` bytes
/// from `start` on.
///
/// # Errors
/// The host's status.
pub fn request_body(start: usize, len: usize) -> Result<Vec<u8>, Status> {
    const REQUEST_BODY: u32 = 0;
    buffer(REQUEST_BODY, start, len)
}

/// The body of the answer to a call of ours, at most so many bytes of it; to be asked for while it is
/// handed over.
///
/// # Errors
/// The host's status.
pub fn call_response_body(most: usize) -> Result<Vec<u8>, Status> {
    const CALL_RESPONSE_BODY: u32 = 4;
    buffer(CALL_RESPONSE_BODY, 0, most)
}

/// The message that answers a gRPC call, at most so many bytes of it; to be asked for while it is
/// handed over.
///
/// # Errors
/// The host's status.
pub fn grpc_message(most: usize) -> Result<Vec<u8>, Status> {
    const GRPC_RECEIVE: u32 = 5;
    buffer(GRPC_RECEIVE, 0, most)
}

fn buffer(kind: u32, start: usize, most: usize) -> Result<Vec<u8>, Status> {
    receive(|data, len| {
        // SAFETY: both pointers are valid for the call.
        unsafe { proxy_get_buffer_bytes(kind, start, most, data, len) }
    })
}

/// All headers in the block that [`Headers::decode`] reads; no bytes if they are gone.
///
/// # Errors
/// The host's status.
pub fn header_pairs(map: HeaderMap) -> Result<Vec<u8>, Status> {
    receive(|data, len| {
        // SAFETY: both pointers are valid for the call.
        unsafe { proxy_get_header_map_pairs(map.code(), data, len) }
    })
}

/// The first value of a header; `None` if there is no such header. Where one is all that is needed it is
/// the shorter way than [`header_pairs`], which has to be searched.
///
/// # Errors
/// The host's status; not OK if the headers are gone.
pub fn header(map: HeaderMap, name: &str) -> Result<Option<Vec<u8>>, Status> {
    let result = receive(|data, len| {
        // SAFETY: the host reads the name within the call; both pointers are valid for it.
        unsafe { proxy_get_header_map_value(map.code(), name.as_ptr(), name.len(), data, len) }
    });
    found(result)
}

/// Adds a header beside those of the same name.
///
/// # Errors
/// The host's status.
pub fn add_header(map: HeaderMap, name: &str, value: &str) -> Result<(), Status> {
    add_header_bytes(map, name, value.as_bytes())
}

/// Adds a header, whose value may be any bytes, beside those of the same name.
///
/// # Errors
/// The host's status.
pub fn add_header_bytes(map: HeaderMap, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host reads both texts within the call.
    check(unsafe {
        proxy_add_header_map_value(
            map.code(),
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes all headers of that name.
///
/// # Errors
/// The host's status.
pub fn remove_header(map: HeaderMap, name: &str) -> Result<(), Status> {
    // SAFETY: the host reads the name within the call.
    check(unsafe { proxy_remove_header_map_value(map.code(), name.as_ptr(), name.len()) })
}

/// Sets a header in place of all of the same name.
///
/// # Errors
/// The host's status.
pub fn replace_header(map: HeaderMap, name: &str, value: &str) -> Result<(), Status> {
    replace_header_bytes(map, name, value.as_bytes())
}

/// Sets a header, whose value may be any bytes, in place of all of the same name.
///
/// # Errors
/// The host's status.
pub fn replace_header_bytes(map: HeaderMap, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host reads both texts within the call.
    check(unsafe {
        proxy_replace_header_map_value(
            map.code(),
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// A property; the parts of its path are parted by NUL. `None` if there is none.
///
/// # Errors
/// The host's status.
pub fn property(path: &str) -> Result<Option<Vec<u8>>, Status> {
    let result = receive(|data, len| {
        // SAFETY: the host reads the path within the call; both pointers are valid for it.
        unsafe { proxy_get_property(path.as_ptr(), path.len(), data, len) }
    });
    found(result)
}

/// Sets a property of the stream; Envoy keeps it as filter state `wasm.<path>`.
///
/// # Errors
/// The host's status.
pub fn set_property(path: &str, value: &str) -> Result<(), Status> {
    // SAFETY: the host reads both texts within the call.
    check(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// Answers the request. The filter's own response callbacks see the answer pass.
///
/// # Errors
/// The host's status.
pub fn send_reply(reply: &Reply) -> Result<(), Status> {
    let pairs = reply.headers.iter();
    let headers = Headers::encode(pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let grpc_status = reply.grpc_status.map_or(-1, |status| status.code());
    send(
        reply.status,
        &reply.details,
        &headers,
        reply.body.as_bytes(),
        grpc_status,
    )
}

/// Answers the request with headers, as [`Headers::encode`] writes them, and a body of any bytes.
/// Envoy writes values with CR or LF as they are: they must not be in `headers`.
///
/// # Errors
/// The host's status.
pub fn send_bytes(status: u16, details: &str, headers: &[u8], body: &[u8]) -> Result<(), Status> {
    send(status, details, headers, body, -1)
}

fn send(
    status: u16,
    details: &str,
    headers: &[u8],
    body: &[u8],
    grpc_status: i32,
) -> Result<(), Status> {
    // SAFETY: the host reads all bytes within the call.
    check(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

/// Lets a request go on that was held while its headers were in the filter. The stream must be the
/// effective context.
///
/// # Errors
/// The host's status.
pub fn continue_request() -> Result<(), Status> {
    const REQUEST: u32 = 0;
    // SAFETY: no pointers.
    check(unsafe { proxy_continue_stream(REQUEST) })
}

/// Makes another context the one that hostcalls are about, until the callback ends.
///
/// # Errors
/// The host's status; it has no such context any more.
pub fn set_effective_context(context: u32) -> Result<(), Status> {
    // SAFETY: no pointers.
    check(unsafe { proxy_set_effective_context(context) })
}

/// Has the root context called again and again, with pauses of so many milliseconds; 0 for never.
///
/// # Errors
/// The host's status.
pub fn set_tick_period(millis: u32) -> Result<(), Status> {
    // SAFETY: no pointers.
    check(unsafe { proxy_set_tick_period_milliseconds(millis) })
}

/// Calls a function that the host has beyond the ABI.
///
/// # Errors
/// The host's status; [`Status::NOT_FOUND`] if it has no such function.
pub fn call_foreign(name: &str, arguments: &[u8]) -> Result<Vec<u8>, Status> {
    receive(|data, len| {
        // SAFETY: the host reads both texts within the call; both pointers are valid for it.
        unsafe {
            proxy_call_foreign_function(
                name.as_ptr(),
                name.len(),
                arguments.as_ptr(),
                arguments.len(),
                data,
                len,
            )
        }
    })
}

/// A value in shared data with its version, which [`Cas::Absent`] is if there is none.
///
/// # Errors
/// The host's status.
pub fn shared(key: &[u8]) -> Result<(Option<Vec<u8>>, Cas), Status> {
    let mut cas = 0;
    let result = receive(|data, len| {
        // SAFETY: the host reads the key within the call; all pointers are valid for it.
        unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, len, &raw mut cas) }
    });
    match result {
        Ok(value) => Ok((Some(value), Cas::Version(cas))),
        Err(Status::NOT_FOUND) => Ok((None, Cas::Absent)),
        Err(status) => Err(status),
    }
}

/// Stores a value if the stored one still has that version; returns whether it had.
///
/// # Errors
/// The host's status.
pub fn set_shared(key: &[u8], value: &[u8], cas: Cas) -> Result<bool, Status> {
    let number = match cas {
        // Envoy ignores the number if there is no value and refuses it if there is one, unless that
        // is by chance its version. 0 would overwrite.
        Cas::Absent => u32::MAX,
        Cas::Version(number) => number,
    };
    // SAFETY: the host reads key and value within the call.
    let status = unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), number)
    };
    match check(status) {
        Ok(()) => Ok(true),
        Err(Status::CAS_MISMATCH) => Ok(false),
        Err(status) => Err(status),
    }
}

/// Stores a value, whatever is there.
///
/// # Errors
/// The host's status.
pub fn overwrite_shared(key: &[u8], value: &[u8]) -> Result<(), Status> {
    const ANY_VERSION: u32 = 0;
    // SAFETY: the host reads key and value within the call.
    check(unsafe {
        proxy_set_shared_data(
            key.as_ptr(),
            key.len(),
            value.as_ptr(),
            value.len(),
            ANY_VERSION,
        )
    })
}

/// Defines a counter, shared by all workers, and returns its number.
///
/// # Errors
/// The host's status.
pub fn define_counter(name: &str) -> Result<u32, Status> {
    const COUNTER: u32 = 0;
    define_metric(COUNTER, name)
}

/// Defines a gauge, shared by all workers, and returns its number.
///
/// # Errors
/// The host's status.
pub fn define_gauge(name: &str) -> Result<u32, Status> {
    const GAUGE: u32 = 1;
    define_metric(GAUGE, name)
}

fn define_metric(kind: u32, name: &str) -> Result<u32, Status> {
    let mut id = 0;
    // SAFETY: the host reads the name within the call; the pointer is valid for it.
    check(unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a counter; `by` must be above zero.
///
/// # Errors
/// The host's status.
pub fn add_to_counter(id: u32, by: i64) -> Result<(), Status> {
    // SAFETY: no pointers.
    check(unsafe { proxy_increment_metric(id, by) })
}

/// The value of a counter or gauge, as all workers made it.
///
/// # Errors
/// The host's status.
pub fn metric(id: u32) -> Result<u64, Status> {
    let mut value = 0;
    // SAFETY: the pointer is valid for the call.
    check(unsafe { proxy_get_metric(id, &raw mut value) })?;
    Ok(value)
}

/// Sets a gauge.
///
/// # Errors
/// The host's status.
pub fn set_gauge(id: u32, value: u64) -> Result<(), Status> {
    // SAFETY: no pointers.
    check(unsafe { proxy_record_metric(id, value) })
}

/// The wall clock: nanoseconds since 1970.
///
/// # Errors
/// The host's status.
pub fn wall_nanos() -> Result<u64, Status> {
    let mut nanos = 0;
    // SAFETY: the pointer is valid for the call.
    check(unsafe { proxy_get_current_time_nanoseconds(&raw mut nanos) })?;
    Ok(nanos)
}

/// The monotonic clock, one for all workers.
///
/// # Errors
/// A WASI errno.
pub fn monotonic_now() -> Result<Timestamp, Status> {
    const MONOTONIC: u32 = 1;
    let mut nanos = 0;
    // SAFETY: the pointer is valid for the call.
    check(unsafe { clock_time_get(MONOTONIC, 1, &raw mut nanos) })?;
    Ok(Timestamp::from_nanos(nanos))
}

/// Random bytes from the host's system.
///
/// # Errors
/// A WASI errno.
pub fn random<const LEN: usize>() -> Result<[u8; LEN], Status> {
    let mut bytes = [0; LEN];
    // SAFETY: the host writes LEN bytes within the call.
    check(unsafe { random_get(bytes.as_mut_ptr(), LEN) })?;
    Ok(bytes)
}

const fn check(status: u32) -> Result<(), Status> {
    match status {
        0 => Ok(()),
        _ => Err(Status(status)),
    }
}

/// What isn't there is no error.
fn found<T>(result: Result<T, Status>) -> Result<Option<T>, Status> {
    match result {
        Err(Status::NOT_FOUND) => Ok(None),
        result => result.map(Some),
    }
}

/// Takes over bytes that a hostcall returns through two pointers.
fn receive(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let mut data = null_mut();
    let mut len = 0;
    check(call(&raw mut data, &raw mut len))?;
    if data.is_null() || len == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host got `data` for `len` bytes from this module's `malloc`, which is the SDK's: it
    // leaks a boxed slice of exactly that size. The host keeps no pointer to it.
    Ok(unsafe { Vec::from_raw_parts(data, len, len) })
}
