//! Calls to other services, and whose the answers are.

use std::cell::{Cell, RefCell};

use filter_core::headers::Headers;

use super::{Status, check};

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
        cluster: *const u8,
        cluster_len: usize,
        service: *const u8,
        service_len: usize,
        method: *const u8,
        method_len: usize,
        metadata: *const u8,
        metadata_len: usize,
        message: *const u8,
        message_len: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
}

/// A call under way; each kind has tokens of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// An HTTP request.
    Http(u32),
    /// A gRPC call.
    Grpc(u32),
}

thread_local! {
    /// The context whose callback runs.
    static CALLER: Cell<u32> = const { Cell::new(0) };
    /// Calls under way, each with the context that made it.
    static CALLS: RefCell<Vec<(Call, u32)>> = const { RefCell::new(Vec::new()) };
}

/// Sends an HTTP request without body to a cluster, from the context whose callback runs. The answer
/// comes to that context, with the token that is returned.
///
/// # Errors
/// The host's status.
pub fn http_call(
    cluster: &str,
    headers: &[(&str, &str)],
    timeout_millis: u32,
) -> Result<u32, Status> {
    let pairs = headers.iter();
    let headers = Headers::encode(pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let none = Headers::encode([]);
    let mut token = 0;
    // SAFETY: the host reads all bytes within the call; the pointer is valid for it.
    check(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            [].as_ptr(),
            0,
            none.as_ptr(),
            none.len(),
            timeout_millis,
            &raw mut token,
        )
    })?;
    remember(Call::Http(token));
    Ok(token)
}

/// Sends a message to a method of a gRPC service, from the context whose callback runs. The answer comes
/// to that context, with the token that is returned.
///
/// # Errors
/// The host's status.
pub fn grpc_call(
    cluster: &str,
    [service, method]: [&str; 2],
    message: &[u8],
    timeout_millis: u32,
) -> Result<u32, Status> {
    let metadata = Headers::encode([]);
    let mut token = 0;
    // SAFETY: the host reads all bytes within the call; the pointer is valid for it.
    check(unsafe {
        proxy_grpc_call(
            cluster.as_ptr(),
            cluster.len(),
            service.as_ptr(),
            service.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            message.as_ptr(),
            message.len(),
            timeout_millis,
            &raw mut token,
        )
    })?;
    remember(Call::Grpc(token));
    Ok(token)
}

/// The number of the context whose callback runs, in modules made by [`crate::module`].
pub fn caller() -> u32 {
    CALLER.get()
}

/// Takes down whose callback runs from here on.
pub(crate) fn set_caller(context: u32) {
    CALLER.set(context);
}

/// The context that made a call, which is over with its answer.
pub(crate) fn answered(call: Call) -> Option<u32> {
    CALLS.with_borrow_mut(|calls| {
        let at = calls.iter().position(|(known, _)| *known == call)?;
        Some(calls.swap_remove(at).1)
    })
}

/// Forgets the calls of a context that is gone.
pub(crate) fn forget(context: u32) {
    CALLS.with_borrow_mut(|calls| {
        if !calls.is_empty() {
            calls.retain(|(_, caller)| *caller != context);
        }
    });
}

fn remember(call: Call) {
    CALLS.with_borrow_mut(|calls| calls.push((call, CALLER.get())));
}
