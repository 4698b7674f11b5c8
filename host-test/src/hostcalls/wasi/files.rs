//! Files, directories and sockets: Envoy has none for guests, and answers each call with an error.

use wasmtime::Linker;

use super::{BADF, Guest, NOTSUP, errno, memory};
use crate::vm::VmState;

/// No such file.
const NOENT: i32 = 44;
/// Function not there.
const NOSYS: i32 = 52;

/// Adds functions that answer one number, by the types of their parameters.
macro_rules! answering {
    ($linker:expr, $module:expr, $answer:expr; $($name:literal ($($ty:ty),*))*) => {
        $($linker.func_wrap($module, $name, |$(_: $ty),*| $answer)?;)*
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
        "path_link" (i32, i32, i32, i32, i32, i32, i32)
        "path_readlink" (i32, i32, i32, i32, i32, i32)
        "path_remove_directory" (i32, i32, i32)
        "path_rename" (i32, i32, i32, i32, i32, i32)
        "path_symlink" (i32, i32, i32, i32, i32)
        "path_unlink_file" (i32, i32, i32)
        "sock_accept" (i32, i32, i32)
        "sock_recv" (i32, i32, i32, i32, i32, i32)
        "sock_send" (i32, i32, i32, i32, i32)
        "sock_shutdown" (i32, i32)
    );
    // Nothing ever happens that could be waited for.
    linker.func_wrap(
        module,
        "poll_oneoff",
        |mut guest: Guest<'_>, _: i32, _: i32, _: i32, events: i32| {
            errno(memory::write_u32(&mut guest, events, 0))
        },
    )?;
    Ok(())
}
