//! Shared data and shared queues.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, memory, strict};
use crate::abi::Status;
use crate::queues::QueueTarget;
use crate::vm::VmState;

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcall!(linker, "proxy_get_shared_data", get, key: i32, size: i32, out: i32, out_size: i32, out_cas: i32);
    hostcall!(linker, "proxy_set_shared_data", set, key: i32, size: i32, value: i32, value_size: i32, cas: i32);
    hostcall!(linker, "proxy_register_shared_queue", register, name: i32, size: i32, out: i32);
    hostcall!(linker, "proxy_resolve_shared_queue", resolve, vm: i32, vm_size: i32, name: i32, size: i32, out: i32);
    hostcall!(linker, "proxy_enqueue_shared_queue", enqueue, token: i32, item: i32, size: i32);
    hostcall!(linker, "proxy_dequeue_shared_queue", dequeue, token: i32, out: i32, out_size: i32);
    Ok(())
}

fn get(
    guest: &mut Guest<'_>,
    key: i32,
    size: i32,
    out: i32,
    out_size: i32,
    out_cas: i32,
) -> Outcome {
    let (key, state) = memory::slice(guest, key, size)?;
    let shared = state.worker.borrow().env.shared.clone();
    let (value, cas) = {
        let data = shared.data();
        let (value, cas) = data.get(&state.vm_id, key).ok_or(Status::NotFound)?;
        (value.to_vec(), cas)
    };
    memory::give(guest, &value, out, out_size)?;
    memory::write_u32(guest, out_cas, cas)
}

fn set(
    guest: &mut Guest<'_>,
    key: i32,
    size: i32,
    value: i32,
    value_size: i32,
    cas: i32,
) -> Outcome {
    let key = memory::bytes(guest, key, size)?;
    let (value, state) = memory::slice(guest, value, value_size)?;
    let shared = state.worker.borrow().env.shared.clone();
    let (status, outgrown) = {
        let mut data = shared.data();
        let status = data.set(&state.vm_id, &key, value, cas.cast_unsigned());
        (status, data.take_outgrown())
    };
    strict::report(guest, outgrown);
    match status {
        Status::Ok => Ok(()),
        status => Err(status),
    }
}

fn register(guest: &mut Guest<'_>, name: i32, size: i32, out: i32) -> Outcome {
    let (name, state) = memory::slice(guest, name, size)?;
    let root = state.root_context();
    let (shared, target) = {
        let worker = state.worker.borrow();
        let (vm, _) = worker.calling;
        let target = root
            .zip(worker.number)
            .map(|(root, worker)| QueueTarget { worker, vm, root });
        (worker.env.shared.clone(), target)
    };
    let token = shared.queues().register(&state.vm_id, name, target);
    memory::write_u32(guest, out, token)
}

fn resolve(
    guest: &mut Guest<'_>,
    vm: i32,
    vm_size: i32,
    name: i32,
    size: i32,
    out: i32,
) -> Outcome {
    let vm_id = memory::text(guest, vm, vm_size)?;
    let (name, state) = memory::slice(guest, name, size)?;
    let vm_id = if vm_id.is_empty() {
        &state.vm_id
    } else {
        &vm_id
    };
    let shared = state.worker.borrow().env.shared.clone();
    let token = shared
        .queues()
        .resolve(vm_id, name)
        .ok_or(Status::NotFound)?;
    memory::write_u32(guest, out, token)
}

fn enqueue(guest: &mut Guest<'_>, token: i32, item: i32, size: i32) -> Outcome {
    let (item, state) = memory::slice(guest, item, size)?;
    let shared = state.worker.borrow().env.shared.clone();
    shared.enqueue(token.cast_unsigned(), item)
}

fn dequeue(guest: &mut Guest<'_>, token: i32, out: i32, out_size: i32) -> Outcome {
    let shared = guest.data().worker.borrow().env.shared.clone();
    let item = shared.queues().dequeue(token.cast_unsigned())?;
    memory::give(guest, &item, out, out_size)
}
