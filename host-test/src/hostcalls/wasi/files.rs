//! Files, directories and sockets: Envoy has none for guests, and answers each call with an error.

use std::time::Duration;

use wasmtime::Linker;

use super::{BADF, Guest, NOTSUP, errno, gate, memory};
use crate::clock::Clock;
use crate::vm::VmState;

/// No such file.
const NOENT: i32 = 44;
/// Function not there.
const NOSYS: i32 = 52;

/// Adds functions that answer one number, by the types of their parameters.
macro_rules! answering {
    ($linker:expr, $module:expr, $answer:expr; $($name:literal ($($ty:ty),*))*) => {
        $($linker.func_wrap($module, $name, |guest: Guest<'_>, $(_: $ty),*| {
            gate(&guest, $name).map(|()| $answer)
        })?;)*
    };
}

pub(super) fn add(linker: &mut Linker<VmState>, module: &str) -> wasmtime::Result<()> {
    answering!(linker, module, NOSYS;
        "fd_fdstat_set_flags" (i32, i32)
        "fd_pread" (i32, i32, i32, i64, i32)
        "fd_prestat_dir_name" (i32, i32, i32)
        "fd_read" (i32, i32, i32, i32)
    );
    answering!(linker, module, BADF;
        "fd_filestat_get" (i32, i32)
        "fd_prestat_get" (i32, i32)
    );
    answering!(linker, module, NOENT;
        "path_open" (i32, i32, i32, i32, i32, i64, i64, i32, i32)
    );
    answering!(linker, module, NOTSUP;
        "fd_advise" (i32, i64, i64, i32)
        "fd_allocate" (i32, i64, i64)
        "fd_close" (i32)
        "fd_datasync" (i32)
        "fd_fdstat_set_rights" (i32, i64, i64)
        "fd_filestat_set_size" (i32, i64)
        "fd_filestat_set_times" (i32, i64, i64, i32)
        "fd_pwrite" (i32, i32, i32, i64, i32)
        "fd_readdir" (i32, i32, i32, i64, i32)
        "fd_renumber" (i32, i32)
        "fd_seek" (i32, i64, i32, i32)
        "fd_sync" (i32)
        "fd_tell" (i32, i32)
        "path_create_directory" (i32, i32, i32)
        "path_filestat_get" (i32, i32, i32, i32, i32)
        "path_filestat_set_times" (i32, i32, i32, i32, i64, i64, i32)
        "path_link" (i32, i32, i32, i32, i32, i32)
        "path_readlink" (i32, i32, i32, i32, i32, i32)
        "path_remove_directory" (i32, i32, i32)
        "path_rename" (i32, i32, i32, i32, i32, i32)
        "path_symlink" (i32, i32, i32, i32)
        "path_unlink_file" (i32, i32, i32)
        "sock_accept" (i32, i32, i32)
        "sock_recv" (i32, i32, i32, i32, i32, i32)
        "sock_send" (i32, i32, i32, i32, i32)
        "sock_shutdown" (i32, i32)
    );
    linker.func_wrap(
        module,
        "poll_oneoff",
        |mut guest: Guest<'_>, subscriptions: i32, _: i32, count: i32, events: i32| {
            sleep(&mut guest, subscriptions, count);
            errno(memory::write_u32(&mut guest, events, 0))
        },
    )?;
    Ok(())
}

/// Bytes of a subscription.
const SUBSCRIPTION: i32 = 48;

/// Envoy reports no event and waits for none, so that a guest that sleeps looks at the clock again
/// and again until it is time. A virtual clock would stand still for ever: for a guest that does not
/// give up it is moved on, to the earliest time that is waited for.
fn sleep(guest: &mut Guest<'_>, subscriptions: i32, count: i32) {
    if guest.data().quota.count_poll() < PATIENT_POLLS {
        return;
    }
    let clock = guest.data().worker.borrow().env.clock.clone();
    let waits = (0..count.clamp(0, MOST_SUBSCRIPTIONS)).filter_map(|index| {
        let at = subscriptions.wrapping_add(index.wrapping_mul(SUBSCRIPTION));
        let (bytes, _) = memory::slice(guest, at, SUBSCRIPTION).ok()?;
        wait(bytes, &clock)
    });
    if let Some(wait) = waits.min() {
        clock.advance(wait.min(LONGEST_SLEEP));
    }
}

/// How often a guest polls in one callback until it is taken to be asleep. Runtimes also do it for a
/// pause of microseconds that they can do without.
const PATIENT_POLLS: u32 = 1_000;

const MOST_SUBSCRIPTIONS: i32 = 64;

/// A callback that wants to sleep for longer is a mistake, and not to be slept through.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How long a subscription waits for a clock: user data, tag 0, clock, time-out, precision, and
/// whether the time-out is a time of that clock.
fn wait(subscription: &[u8], clock: &Clock) -> Option<Duration> {
    let number = |at: usize| {
        let bytes = subscription.get(at..at + 8)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    };
    if subscription.get(8) != Some(&0) {
        return None;
    }
    let (which, timeout) = (subscription.get(16)?, number(24)?);
    let is_absolute = subscription.get(40)? & 1 != 0;
    let now = match (is_absolute, which) {
        (false, _) => 0,
        (true, 0) => clock.wall_nanos(),
        (true, _) => clock.monotonic_nanos(),
    };
    Some(Duration::from_nanos(timeout.saturating_sub(now)))
}
