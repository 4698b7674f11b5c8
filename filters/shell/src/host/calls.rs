//! Answers to calls of ours to other services. The calls themselves are the SDK's
//! (`proxy_wasm::hostcalls`): its dispatcher takes an answer to a call that it didn't make for a bug and
//! panics.

use super::{Status, receive};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
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
