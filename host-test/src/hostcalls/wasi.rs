//! The part of WASI that SDK runtimes use, with Envoy's answers. Errors are WASI errno numbers.

mod files;

use wasmtime::Linker;

use super::{Guest, enter, log, memory, watch};
use crate::abi::{Status, hostcall_index};
use crate::vm::VmState;

pub(super) const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
pub(super) const NOTSUP: i32 = 58;

/// The functions provided, in both WASI module names, with the types of their parameters: `i` of 32
/// bits and `l` of 64. All but `proc_exit` return a number. `path_link` and `path_symlink` lack the
/// parameters that Envoy's lack.
pub(crate) const FUNCTIONS: [(&str, &str); 45] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "ili"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "ill"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// What start functions may not call in Envoy, besides the hostcalls.
const NOT_AT_START: [&str; 6] = [
    "fd_close",
    "fd_read",
    "fd_seek",
    "path_open",
    "proc_exit",
    "sched_yield",
];

/// Refuses a call that Envoy restricts while start functions or the allocator run.
pub(super) fn gate(guest: &Guest<'_>, name: &str) -> wasmtime::Result<()> {
    let state = guest.data();
    if state.starting && NOT_AT_START.contains(&name) {
        return Err(super::restricted(name, "a start function"));
    }
    if state.allocating {
        return Err(super::restricted(name, "the allocator"));
    }
    Ok(())
}

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        add_as(linker, module)?;
        files::add(linker, module)?;
    }
    Ok(())
}

fn add_as(linker: &mut Linker<VmState>, module: &str) -> wasmtime::Result<()> {
    linker.func_wrap(module, "args_get", |guest: Guest<'_>, _: i32, _: i32| {
        gate(&guest, "args_get").map(|()| 0)
    })?;
    linker.func_wrap(
        module,
        "args_sizes_get",
        |mut guest: Guest<'_>, count: i32, size: i32| -> wasmtime::Result<i32> {
            gate(&guest, "args_sizes_get")?;
            Ok({
                errno(
                    memory::write_u32(&mut guest, count, 0)
                        .and_then(|()| memory::write_u32(&mut guest, size, 0)),
                )
            })
        },
    )?;
    linker.func_wrap(
        module,
        "clock_res_get",
        |mut guest: Guest<'_>, _clock: i32, out: i32| -> wasmtime::Result<i32> {
            gate(&guest, "clock_res_get")?;
            Ok(errno(memory::write(&mut guest, out, &1_u64.to_le_bytes())))
        },
    )?;
    linker.func_wrap(
        module,
        "clock_time_get",
        |mut guest: Guest<'_>, clock: i32, precision: i64, out: i32| -> wasmtime::Result<i32> {
            let index = const { hostcall_index("clock_time_get") };
            if count(&guest, index)? {
                let raw = [i64::from(clock), precision, i64::from(out)];
                let call = &mut |guest: &mut Guest<'_>| clock_time(guest, clock, out);
                return watch::watched(&mut guest, index, &raw, call);
            }
            Ok(clock_time(&mut guest, clock, out))
        },
    )?;
    linker.func_wrap(
        module,
        "environ_get",
        |mut guest: Guest<'_>, pointers: i32, buffer: i32| -> wasmtime::Result<i32> {
            gate(&guest, "environ_get")?;
            Ok(errno(environ(&mut guest, pointers, buffer)))
        },
    )?;
    linker.func_wrap(
        module,
        "environ_sizes_get",
        |mut guest: Guest<'_>, count: i32, size: i32| -> wasmtime::Result<i32> {
            gate(&guest, "environ_sizes_get")?;
            Ok({
                let pairs = &guest.data().environment;
                let total: usize = pairs
                    .iter()
                    .map(|(key, value)| key.len() + value.len() + 2)
                    .sum();
                let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                let (len, total) = (number(pairs.len()), number(total));
                errno(
                    memory::write_u32(&mut guest, count, len)
                        .and_then(|()| memory::write_u32(&mut guest, size, total)),
                )
            })
        },
    )?;
    linker.func_wrap(
        module,
        "fd_fdstat_get",
        |mut guest: Guest<'_>, fd: i32, out: i32| -> wasmtime::Result<i32> {
            gate(&guest, "fd_fdstat_get")?;
            Ok({
                // 24 bytes: a character device with every right that writing needs.
                let mut stat = [0_u8; 24];
                stat[0] = 2;
                stat[8] = 64;
                if (0..=2).contains(&fd) {
                    errno(memory::write(&mut guest, out, &stat))
                } else {
                    BADF
                }
            })
        },
    )?;
    linker.func_wrap(
        module,
        "fd_write",
        |mut guest: Guest<'_>, fd: i32, vectors: i32, count: i32, out: i32| {
            let quota = &guest.data().quota;
            quota.spend_call().map_err(wasmtime::Error::msg)?;
            wasmtime::Result::Ok(fd_write(&mut guest, fd, vectors, count, out))
        },
    )?;
    // Envoy returns to the guest here.
    linker.func_wrap(module, "proc_exit", |guest: Guest<'_>, _: i32| {
        gate(&guest, "proc_exit")
    })?;
    linker.func_wrap(
        module,
        "random_get",
        |mut guest: Guest<'_>, out: i32, size: i32| -> wasmtime::Result<i32> {
            let index = const { hostcall_index("random_get") };
            if count(&guest, index)? {
                let raw = [i64::from(out), i64::from(size)];
                let call = &mut |guest: &mut Guest<'_>| random(guest, out, size);
                return watch::watched(&mut guest, index, &raw, call);
            }
            Ok(random(&mut guest, out, size))
        },
    )?;
    linker.func_wrap(module, "sched_yield", |guest: Guest<'_>| {
        gate(&guest, "sched_yield").map(|()| 0)
    })?;
    Ok(())
}

/// Counts a WASI call with the hostcalls, as [`enter`] does; start functions may make it.
fn count(guest: &Guest<'_>, index: usize) -> wasmtime::Result<bool> {
    if guest.data().starting {
        return Ok(false);
    }
    enter(guest, index)
}

pub(super) fn errno(outcome: Result<(), Status>) -> i32 {
    if outcome.is_ok() { 0 } else { FAULT }
}

fn clock_time(guest: &mut Guest<'_>, clock: i32, out: i32) -> i32 {
    let now = {
        let worker = guest.data().worker.borrow();
        match clock {
            0 => worker.env.clock.wall_nanos(),
            1 => worker.env.clock.monotonic_nanos(),
            _ => return NOTSUP,
        }
    };
    errno(memory::write(guest, out, &now.to_le_bytes()))
}

fn random(guest: &mut Guest<'_>, out: i32, size: i32) -> i32 {
    let Ok(size @ 0..=65_536) = usize::try_from(size) else {
        return INVAL;
    };
    let state = guest.data_mut();
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&next_random(&mut state.random).to_le_bytes());
    }
    bytes.truncate(size);
    errno(memory::write(guest, out, &bytes))
}

/// SplitMix64 (Steele, Lea, Flood 2014): same seed, same numbers.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn environ(guest: &mut Guest<'_>, mut pointers: i32, mut buffer: i32) -> Result<(), Status> {
    for (key, value) in guest.data().environment.clone() {
        let entry = format!("{key}={value}\0");
        memory::write_u32(guest, pointers, buffer.cast_unsigned())?;
        memory::write(guest, buffer, entry.as_bytes())?;
        pointers = pointers.wrapping_add(4);
        buffer = buffer.wrapping_add(crate::vm::guest_size(entry.len()));
    }
    Ok(())
}

/// Parts of one `fd_write`, as many as Linux takes.
const MOST_PARTS: i32 = 1_024;

/// Standard output is logged at info, standard error at error.
fn fd_write(guest: &mut Guest<'_>, fd: i32, vectors: i32, count: i32, out: i32) -> i32 {
    let level = match fd {
        1 => ::log::Level::Info,
        2 => ::log::Level::Error,
        _ => return BADF,
    };
    if !(0..=MOST_PARTS).contains(&count) {
        return INVAL;
    }
    let mut text = Vec::new();
    for index in 0..count {
        let at = vectors.wrapping_add(index.wrapping_mul(8));
        let Ok(vector) = memory::bytes(guest, at, 8) else {
            return FAULT;
        };
        let [a, b, c, d, e, f, g, h] = vector[..] else {
            return FAULT;
        };
        let pointer = i32::from_le_bytes([a, b, c, d]);
        let size = i32::from_le_bytes([e, f, g, h]);
        let Ok(part) = memory::bytes(guest, pointer, size) else {
            return FAULT;
        };
        text.extend(part);
    }
    let written = u32::try_from(text.len()).unwrap_or(u32::MAX);
    // Of nothing there is no line, of a line break an empty one.
    if !text.is_empty() {
        let message = text.strip_suffix(b"\n").unwrap_or(&text);
        let message = String::from_utf8_lossy(message).into_owned();
        log::emit(guest, level, message);
    }
    errno(memory::write_u32(guest, out, written))
}
