//! Calls to other services, through the gateway's clusters.

use filter_core::headers::Headers;

use super::{Status, check, receive};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_http_call(
        cluster: *const u8,
        cluster_len: usize,
        headers: *const u8,
        headers_len: usize,
        body: *const u8,
        body_len: usize,
        trailers: *const u8,
        trailers_len: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_call(
        service: *const u8,
        service_len: usize,
        service_name: *const u8,
        service_name_len: usize,
        method: *const u8,
        method_len: usize,
        metadata: *const u8,
        metadata_len: usize,
        message: *const u8,
        message_len: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_cancel(token: u32) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
}

/// Sends an HTTP request to a cluster; `headers` need `:method`, `:path` and `:authority`. The answer
/// comes in `on_http_call_response`, with no headers if none came within `timeout` milliseconds.
///
/// Made while a stream is the effective context it ends with that stream, and its answer is the
/// stream's; made on a tick it is the root context's.
///
/// # Errors
/// The host's status; Envoy has no such cluster, or nobody to send to in it.
pub fn http_call<'a>(
    cluster: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    body: &[u8],
    timeout: u32,
) -> Result<u32, Status> {
    let headers = headers.into_iter();
    let headers = Headers::encode(headers.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let trailers = Headers::encode(std::iter::empty());
    let mut token = 0;
    // SAFETY: the host reads all bytes within the call; the pointer is valid for it.
    check(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout,
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// Sends a unary gRPC request. `service` is what the host finds the server by: to Envoy the name of a
/// cluster, or a serialized `GrpcService`. The answer comes in `on_grpc_receive` or `on_grpc_close`.
///
/// # Errors
/// The host's status.
pub fn grpc_call<'a>(
    service: &[u8],
    service_name: &str,
    method: &str,
    metadata: impl IntoIterator<Item = (&'a str, &'a str)>,
    message: &[u8],
    timeout: u32,
) -> Result<u32, Status> {
    let metadata = metadata.into_iter();
    let metadata =
        Headers::encode(metadata.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let mut token = 0;
    // SAFETY: the host reads all bytes within the call; the pointer is valid for it.
    check(unsafe {
        proxy_grpc_call(
            service.as_ptr(),
            service.len(),
            service_name.as_ptr(),
            service_name.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            message.as_ptr(),
            message.len(),
            timeout,
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// Gives a gRPC call up; nothing comes of it any more.
///
/// # Errors
/// The host's status.
pub fn grpc_cancel(token: u32) -> Result<(), Status> {
    // SAFETY: no pointers.
    check(unsafe { proxy_grpc_cancel(token) })
}

/// The message that answers a gRPC call, at most so many bytes of it; to be asked for while it is
/// handed over.
///
/// # Errors
/// The host's status.
pub fn grpc_message(most: usize) -> Result<Vec<u8>, Status> {
    const GRPC_RECEIVE: u32 = 5;
    receive(|data, len| {
        // SAFETY: both pointers are valid for the call.
        unsafe { proxy_get_buffer_bytes(GRPC_RECEIVE, 0, most, data, len) }
    })
}
