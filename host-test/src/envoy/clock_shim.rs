//! A clock for another process: preloaded into Envoy, it answers the time from a shared page.
//!
//! `build.rs` compiles this file by itself into a small shared object without std, which the
//! `host-test` binary carries along. The dynamic linker puts its `clock_gettime`, `gettimeofday`
//! and `time` before libc's, so all of Envoy (its timers, V8, guests) lives on virtual time. It
//! allocates nothing and takes no lock: Envoy's allocator asks for the time while it starts, and a
//! clock that allocates then waits for itself for ever (libfaketime does).
//!
//! The page holds five u64: start of the wall clock, start of the monotonic clock, which of the
//! two slots is valid, and the slots with the nanoseconds that have passed. Writers fill the other
//! slot and then switch, so no reader sees half a value.

#![no_std]

use core::ffi::{c_char, c_int, c_long, c_void};
use core::panic::PanicInfo;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

const READ: c_int = 1;
const SHARED: c_int = 1;
const NANOS: u64 = 1_000_000_000;

#[cfg(target_arch = "x86_64")]
const SYS_CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const SYS_CLOCK_GETTIME: c_long = 113;

/// `struct timespec`.
#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanos: i64,
}

/// `struct timeval`.
#[repr(C)]
pub struct Timeval {
    seconds: i64,
    micros: i64,
}

unsafe extern "C" {
    fn close(fd: c_int) -> c_int;
    fn getenv(name: *const c_char) -> *const c_char;
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

static PAGE: AtomicPtr<[AtomicU64; 5]> = AtomicPtr::new(null_mut());

fn page() -> Option<&'static [AtomicU64; 5]> {
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        page = map()?;
        // Two threads may both map it; both pages show the same file.
        PAGE.store(page, Ordering::Release);
    }
    // SAFETY: the mapping is never undone, is as long as the array, and is only read atomically.
    Some(unsafe { &*page })
}

fn map() -> Option<*mut [AtomicU64; 5]> {
    // SAFETY: plain libc calls with valid arguments; none of them allocates.
    unsafe {
        let path = getenv(c"PENSTOCK_CLOCK".as_ptr());
        if path.is_null() {
            return None;
        }
        let fd = open(path, 0);
        if fd < 0 {
            return None;
        }
        let page = mmap(null_mut(), 40, READ, SHARED, fd, 0);
        close(fd);
        (page as isize != -1).then_some(page.cast())
    }
}

/// Nanoseconds on a clock that is virtual; `None` for the others (CPU time) and while there is no
/// page.
fn virtual_now(clock: c_int) -> Option<u64> {
    // Linux: REALTIME 0, MONOTONIC 1, MONOTONIC_RAW 4, REALTIME_COARSE 5, MONOTONIC_COARSE 6,
    // BOOTTIME 7.
    let start = match clock {
        0 | 5 => 0,
        1 | 4 | 6 | 7 => 1,
        _ => return None,
    };
    let [wall, monotonic, which, first, second] = page()?;
    let slot = if which.load(Ordering::Acquire) & 1 == 0 {
        first
    } else {
        second
    };
    let start = if start == 0 { wall } else { monotonic };
    Some(
        start
            .load(Ordering::Relaxed)
            .wrapping_add(slot.load(Ordering::Acquire)),
    )
}

/// Replaces libc's.
///
/// # Safety
///
/// `time` is valid for a write, as for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    match virtual_now(clock) {
        Some(now) => {
            let now = Timespec {
                seconds: (now / NANOS) as i64,
                nanos: (now % NANOS) as i64,
            };
            // SAFETY: the caller's promise.
            unsafe { time.write(now) };
            0
        }
        // SAFETY: the system call that libc's function makes, with the caller's arguments.
        None => unsafe { syscall(SYS_CLOCK_GETTIME, clock as c_long, time) as c_int },
    }
}

/// Replaces libc's.
///
/// # Safety
///
/// `time` is null or valid for a write, as for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut Timeval, _zone: *mut c_void) -> c_int {
    let mut now = Timespec {
        seconds: 0,
        nanos: 0,
    };
    // SAFETY: `now` is valid for a write; `time` is by the caller's promise.
    unsafe {
        let status = clock_gettime(0, &mut now);
        if !time.is_null() {
            time.write(Timeval {
                seconds: now.seconds,
                micros: now.nanos / 1_000,
            });
        }
        status
    }
}

/// Replaces libc's.
///
/// # Safety
///
/// `time` is null or valid for a write, as for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(time: *mut i64) -> i64 {
    let mut now = Timespec {
        seconds: 0,
        nanos: 0,
    };
    // SAFETY: `now` is valid for a write; `time` is by the caller's promise.
    unsafe {
        clock_gettime(0, &mut now);
        if !time.is_null() {
            time.write(now.seconds);
        }
    }
    now.seconds
}
