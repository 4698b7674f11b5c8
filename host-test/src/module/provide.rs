//! What a guest is given besides functions, and the trial of its start section.

use std::fmt;

use wasmtime::{Engine, ExternType, Func, Linker, Memory, Module, Ref, Store, Table, Trap, Val};

use crate::plugin::Limits;
use crate::quota::Quota;

/// Epochs that a start section may run: 2 s.
const START_EPOCHS: u64 = 200;

/// Makes the memories and tables that a module imports, as Envoy does: by the type that the guest
/// wants, whatever their names are. Returns the last memory.
pub(super) fn provide<T: 'static>(
    linker: &mut Linker<T>,
    store: &mut Store<T>,
    module: &Module,
) -> wasmtime::Result<Option<Memory>> {
    let mut last_memory = None;
    linker.allow_shadowing(true);
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        match import.ty() {
            ExternType::Memory(ty) => {
                let memory = Memory::new(&mut *store, ty)?;
                last_memory = Some(memory);
                linker.define(&mut *store, from, name, memory)?;
            }
            ExternType::Table(ty) => {
                let nothing = Ref::null(ty.element().heap_type());
                let table = Table::new(&mut *store, ty, nothing)?;
                linker.define(&mut *store, from, name, table)?;
            }
            _ => {}
        }
    }
    Ok(last_memory)
}

/// Runs a start section in a throw-away instance whose host can't be called: Envoy crashes on one
/// that does. Without the host nothing can make it run otherwise the next time.
pub(super) fn try_start(engine: &Engine, module: &Module) -> Result<(), String> {
    let mut store = Store::new(engine, Quota::new(&Limits::default()));
    store.limiter(|quota| quota);
    store.set_epoch_deadline(START_EPOCHS);
    let mut linker = Linker::new(engine);
    let outcome = provide(&mut linker, &mut store, module)
        .and_then(|_| forbid(&mut linker, &mut store, module))
        .and_then(|()| linker.instantiate(&mut store, module));
    let Err(error) = outcome else { return Ok(()) };
    if let Some(Called(name)) = error.downcast_ref() {
        return Err(format!(
            "its start section calls {name}: Envoy 1.40 crashes on it"
        ));
    }
    let cause = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => "its start section does not end".to_owned(),
        _ => error.root_cause().to_string(),
    };
    Err(format!("Failed to create new Wasm instance: {cause}"))
}

/// Puts functions that fail in the place of the host's, but for the two that need no context.
fn forbid(
    linker: &mut Linker<Quota>,
    store: &mut Store<Quota>,
    module: &Module,
) -> wasmtime::Result<()> {
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let ExternType::Func(ty) = import.ty() else {
            continue;
        };
        match (from, name) {
            ("env", "pthread_equal") => {
                linker.func_wrap(from, name, |a: i32, b: i32| i32::from(a == b))?;
            }
            ("env", "emscripten_notify_memory_growth") => {
                linker.func_wrap(from, name, |_: i32| {})?;
            }
            _ => {
                let call = format!("{from}.{name}");
                let refuse = Func::new(&mut *store, ty, move |_, _: &[Val], _: &mut [Val]| {
                    Err(wasmtime::Error::new(Called(call.clone())))
                });
                linker.define(&mut *store, from, name, refuse)?;
            }
        }
    }
    Ok(())
}

/// The start section has called this.
#[derive(Debug)]
struct Called(String);

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Called {}
