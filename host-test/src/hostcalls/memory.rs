//! Reading and writing guest memory.

use super::{Guest, Outcome, log};
use crate::abi::Status;
use crate::vm::{Trapped, VmState, describe, guest_size};

const BAD: Status = Status::InvalidMemoryAccess;

/// The bytes at a guest pointer, together with the VM's state.
pub(super) fn slice<'a>(
    guest: &'a mut Guest<'_>,
    pointer: i32,
    size: i32,
) -> Result<(&'a [u8], &'a mut VmState), Status> {
    let memory = guest.data().memory.ok_or(BAD)?;
    let (data, state) = memory.data_and_store_mut(guest);
    let start = address(pointer);
    let end = start.checked_add(address(size)).ok_or(BAD)?;
    let bytes = data.get(start..end).ok_or(BAD)?;
    if !state.quota.spend_bytes(bytes.len()) {
        return Err(Status::InternalFailure);
    }
    Ok((bytes, state))
}

/// A copy of the bytes at a guest pointer.
pub(super) fn bytes(guest: &mut Guest<'_>, pointer: i32, size: i32) -> Result<Vec<u8>, Status> {
    slice(guest, pointer, size).map(|(bytes, _)| bytes.to_vec())
}

/// A copy of the text at a guest pointer; bytes that aren't UTF-8 are replaced.
pub(super) fn text(guest: &mut Guest<'_>, pointer: i32, size: i32) -> Result<String, Status> {
    slice(guest, pointer, size).map(|(bytes, _)| String::from_utf8_lossy(bytes).into_owned())
}

/// Writes bytes at a guest pointer.
pub(super) fn write(guest: &mut Guest<'_>, pointer: i32, bytes: &[u8]) -> Outcome {
    let memory = guest.data().memory.ok_or(BAD)?;
    memory
        .write(guest, address(pointer), bytes)
        .map_err(|_| BAD)
}

/// Writes a `u32` at a guest pointer.
pub(super) fn write_u32(guest: &mut Guest<'_>, pointer: i32, value: u32) -> Outcome {
    write(guest, pointer, &value.to_le_bytes())
}

/// Hands bytes to the guest: allocates in its memory, copies, and writes pointer and size. No bytes
/// need no allocation: pointer and size are 0.
pub(super) fn give(
    guest: &mut Guest<'_>,
    bytes: &[u8],
    pointer_out: i32,
    size_out: i32,
) -> Outcome {
    let mut pointer = 0;
    if !bytes.is_empty() {
        let allocate = guest.data().allocate.clone().ok_or(BAD)?;
        guest.data_mut().allocating = true;
        let allocated = allocate.call(&mut *guest, guest_size(bytes.len()));
        guest.data_mut().allocating = false;
        pointer = match allocated {
            Ok(pointer) => pointer,
            Err(error) => return Err(trapped(guest, &error)),
        };
        if pointer == 0 {
            return Err(BAD);
        }
        write(guest, pointer, bytes)?;
    }
    write_u32(guest, pointer_out, pointer.cast_unsigned())?;
    write_u32(
        guest,
        size_out,
        u32::try_from(bytes.len()).map_err(|_| BAD)?,
    )
}

/// The allocator has trapped: the callback goes on with a status, and its VM has failed.
fn trapped(guest: &mut Guest<'_>, error: &wasmtime::Error) -> Status {
    let limit = guest.data().quota.callback;
    let Trapped(text) = describe("malloc", error, limit);
    if !std::mem::replace(&mut guest.data_mut().failed, true) {
        log::emit(guest, ::log::Level::Error, text);
    }
    BAD
}

/// A guest's pointer or size, which is unsigned.
fn address(n: i32) -> usize {
    n.cast_unsigned() as usize
}
