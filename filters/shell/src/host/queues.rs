//! Queues between the VMs of a process: how one worker wakes others.

use super::{Status, check, receive};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_register_shared_queue(name: *const u8, len: usize, queue: *mut u32) -> u32;
    fn proxy_enqueue_shared_queue(queue: u32, value: *const u8, len: usize) -> u32;
    fn proxy_dequeue_shared_queue(queue: u32, data: *mut *mut u8, len: *mut usize) -> u32;
}

/// Makes a queue and has this VM called (`on_queue_ready`) when something is in it. Of several VMs
/// that register a name, the host calls one: give each its own.
///
/// # Errors
/// The host's status.
pub fn register_queue(name: &str) -> Result<u32, Status> {
    let mut queue = 0;
    // SAFETY: the host reads the name within the call; the pointer is valid for it.
    check(unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut queue) })?;
    Ok(queue)
}

/// Puts a value into a queue.
///
/// # Errors
/// The host's status.
pub fn enqueue(queue: u32, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host reads the value within the call.
    check(unsafe { proxy_enqueue_shared_queue(queue, value.as_ptr(), value.len()) })
}

/// Takes the oldest value out of a queue; `None` if it is empty.
///
/// # Errors
/// The host's status.
pub fn dequeue(queue: u32) -> Result<Option<Vec<u8>>, Status> {
    let result = receive(|data, len| {
        // SAFETY: both pointers are valid for the call.
        unsafe { proxy_dequeue_shared_queue(queue, data, len) }
    });
    match result {
        Err(Status::EMPTY) => Ok(None),
        result => result.map(Some),
    }
}
