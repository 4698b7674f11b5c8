//! Calls that Envoy has and this host does not run yet. A module that imports them loads; one that
//! makes them gets `Unimplemented`, and strict mode says so.

use wasmtime::Linker;

use super::{Guest, Outcome, hostcall, restricted, violation, wasi};
use crate::abi::Status;
use crate::vm::VmState;

macro_rules! unsupported {
    ($linker:expr, $name:literal $(, $arg:ident)*) => {{
        #[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
        fn call(guest: &mut Guest<'_> $(, $arg: i32)*) -> Outcome {
            let _ = ($($arg,)*);
            refuse(guest, $name)
        }
        hostcall!($linker, $name, call $(, $arg: i32)*);
    }};
    (few $linker:expr, $name:literal $(, $arg:ident)*) => {{
        fn call(guest: &mut Guest<'_> $(, $arg: i32)*) -> Outcome {
            let _ = ($($arg,)*);
            refuse(guest, $name)
        }
        hostcall!($linker, $name, call $(, $arg: i32)*);
    }};
}

pub(super) fn add(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    unsupported!(
        linker,
        "proxy_grpc_call",
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        i,
        j,
        k,
        l
    );
    unsupported!(linker, "proxy_grpc_stream", a, b, c, d, e, f, g, h, i);
    unsupported!(few linker, "proxy_grpc_send", a, b, c, d);
    unsupported!(few linker, "proxy_grpc_cancel", a);
    unsupported!(few linker, "proxy_grpc_close", a);
    unsupported!(few linker, "envoy_resolve_dns", a, b, c);
    linker.func_wrap(
        "env",
        "pthread_equal",
        |guest: Guest<'_>, a: i32, b: i32| match guest.data() {
            state if state.starting => Err(restricted("pthread_equal", "a start function")),
            state if state.allocating => Err(restricted("pthread_equal", "the allocator")),
            _ => Ok(i32::from(a == b)),
        },
    )?;
    linker.func_wrap(
        "env",
        "emscripten_notify_memory_growth",
        |guest: Guest<'_>, _memory: i32| wasi::gate(&guest, "emscripten_notify_memory_growth"),
    )?;
    Ok(())
}

fn refuse(guest: &Guest<'_>, name: &str) -> Outcome {
    violation(
        guest,
        format!("{name} is not supported by host-test yet; the guest got Unimplemented (12)"),
    );
    Err(Status::Unimplemented)
}
