//! What a guest is given besides functions, and the trial of its start section.

use wasmtime::{
    Engine, ExternType, Func, Instance, Linker, Memory, Module, Ref, Store, Table, Trap,
};

use crate::limits::{Limits, Quota};
use crate::vm::VmState;

/// Epochs that a start section may run.
const START_EPOCHS: u64 = 200;

/// Instantiates a module that imports memories or tables: Envoy makes them for the guest, by the
/// type that the guest wants, whatever their names are.
pub(super) fn instantiate(
    mut linker: Linker<VmState>,
    store: &mut Store<VmState>,
    module: &Module,
    provided: &[(String, String)],
) -> wasmtime::Result<(Instance, Option<Memory>)> {
    let mut last_memory = None;
    linker.allow_shadowing(true);
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        if !provided
            .iter()
            .any(|(module, import)| module == from && import == name)
        {
            continue;
        }
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
    let instance = linker.instantiate(&mut *store, module)?;
    Ok((instance, last_memory))
}

/// Runs a start section in a throw-away instance whose host can't be called: Envoy crashes on one
/// that does. Without the host nothing can make it run otherwise the next time.
pub(super) fn try_start(module: &Module) -> Result<(), String> {
    let engine: &Engine = module.engine();
    let mut store = Store::new(engine, Quota::new(Limits::default()));
    store.limiter(|quota| quota);
    store.set_epoch_deadline(START_EPOCHS);
    let mut linker: Linker<Quota> = Linker::new(engine);
    linker.allow_shadowing(true);
    let failed = |e: wasmtime::Error| match (e.downcast_ref::<Called>(), e.downcast_ref::<Trap>()) {
        (Some(Called(name)), _) => {
            format!("its start section calls {name}: Envoy 1.40 crashes on it")
        }
        (None, Some(Trap::Interrupt)) => {
            "Failed to create new Wasm instance: its start section does not end".to_owned()
        }
        (None, _) => format!("Failed to create new Wasm instance: {}", e.root_cause()),
    };
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let defined = match import.ty() {
            ExternType::Func(_) if name == "pthread_equal" => linker
                .func_wrap(from, name, |a: i32, b: i32| i32::from(a == b))
                .map(drop),
            ExternType::Func(_) if name == "emscripten_notify_memory_growth" => {
                linker.func_wrap(from, name, |_: i32| {}).map(drop)
            }
            ExternType::Func(ty) => {
                let call = format!("{from}.{name}");
                let refuse = move |_: wasmtime::Caller<'_, Quota>,
                                   _: &[wasmtime::Val],
                                   _: &mut [wasmtime::Val]| {
                    Err(wasmtime::Error::new(Called(call.clone())))
                };
                let refuse = Func::new(&mut store, ty, refuse);
                linker.define(&mut store, from, name, refuse).map(drop)
            }
            ExternType::Memory(ty) => Memory::new(&mut store, ty)
                .and_then(|memory| linker.define(&mut store, from, name, memory).map(drop)),
            ExternType::Table(ty) => {
                let nothing = Ref::null(ty.element().heap_type());
                Table::new(&mut store, ty, nothing)
                    .and_then(|table| linker.define(&mut store, from, name, table).map(drop))
            }
            _ => Ok(()),
        };
        defined.map_err(failed)?;
    }
    linker
        .instantiate(&mut store, module)
        .map(drop)
        .map_err(failed)
}

/// The start section has called this.
#[derive(Debug)]
struct Called(String);

impl std::fmt::Display for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Called {}
