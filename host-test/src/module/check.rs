//! What Envoy says of a module before it runs it: the same refusals in the same words, and what the
//! host has to provide besides functions.

use std::ops::Range;

use wasmparser::{ExternalKind, FuncType, Parser, Payload, TypeRef, ValType};

use crate::abi::AbiVersion;
use crate::hostcalls;
use crate::inspect::callbacks;

/// Bit of a memory's flags that says that threads share it.
const SHARED: u8 = 0x02;

/// What is known of a module that Envoy would load.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// It imports memories or tables, which Envoy makes for the guest.
    pub(super) is_provided_for: bool,
    /// Name of the memory that hostcalls work on: Envoy takes the last exported one.
    pub(super) memory: Option<String>,
    /// It has a start section.
    pub(super) has_start: bool,
    /// Where the flags of shared memories are in the bytes.
    pub(super) shared_memories: Vec<usize>,
}

/// Refuses what Envoy refuses (or crashes on) before the engine sees it.
pub(super) fn check(bytes: &[u8]) -> Result<Checked, String> {
    let parts = Parts::read(bytes)
        .map_err(|error| format!("Failed to load Wasm code: {error}"))?
        .ok_or("Failed to load Wasm code: it is a component, not a module")?;
    let declared = |version: &AbiVersion| parts.exported(version.export()).is_some();
    let Some(abi) = AbiVersion::ALL.into_iter().find(declared) else {
        return Err("Missing or unknown Proxy-Wasm ABI version".into());
    };
    parts.check_imports(abi)?;
    parts.check_exports(abi)?;
    if parts.exported("malloc").is_none() && parts.exported("proxy_on_memory_allocate").is_none() {
        return Err("Wasm module is missing malloc function.".into());
    }
    let checked = parts.checked;
    if checked.memory.is_none() && !parts.imports_memory {
        return Err("exports no memory; Envoy crashes on its first use".into());
    }
    Ok(checked)
}

/// The sections that matter here.
#[derive(Default)]
struct Parts {
    types: Vec<Option<FuncType>>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    imports: Vec<Import>,
    /// Exported functions and their indices.
    exports: Vec<(String, u32)>,
    imports_memory: bool,
    checked: Checked,
}

/// An import that is not a memory or a table: of a function, or of something that Envoy lacks.
struct Import {
    module: String,
    name: String,
    function: Option<u32>,
}

impl Parts {
    /// Takes a module apart; `None` if the bytes are a component.
    fn read(bytes: &[u8]) -> wasmparser::Result<Option<Self>> {
        let mut parts = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { encoding, .. } if encoding != wasmparser::Encoding::Module => {
                    return Ok(None);
                }
                payload => parts.add(payload)?,
            }
        }
        Ok(Some(parts))
    }

    fn add(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for sub_type in group?.into_types() {
                        let function = match sub_type.composite_type.inner {
                            wasmparser::CompositeInnerType::Func(function) => Some(function),
                            _ => None,
                        };
                        self.types.push(function);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let (module, name) = (import.module.to_owned(), import.name.to_owned());
                    let function = match import.ty {
                        TypeRef::Func(index) => {
                            self.functions.push(index);
                            Some(index)
                        }
                        TypeRef::Memory(_) | TypeRef::Table(_) => {
                            self.imports_memory |= matches!(import.ty, TypeRef::Memory(_));
                            self.checked.is_provided_for = true;
                            continue;
                        }
                        _ => None,
                    };
                    self.imports.push(Import {
                        module,
                        name,
                        function,
                    });
                }
            }
            Payload::FunctionSection(section) => {
                for index in section {
                    self.functions.push(index?);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.into_iter_with_offsets() {
                    let (offset, memory) = memory?;
                    if memory.shared {
                        self.checked.shared_memories.push(offset);
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let name = export.name.to_owned();
                    match export.kind {
                        ExternalKind::Memory => self.checked.memory = Some(name),
                        ExternalKind::Func => self.exports.push((name, export.index)),
                        _ => {}
                    }
                }
            }
            Payload::StartSection { .. } => self.checked.has_start = true,
            _ => {}
        }
        Ok(())
    }

    fn check_imports(&self, abi: AbiVersion) -> Result<(), String> {
        for Import {
            module,
            name,
            function,
        } in &self.imports
        {
            let function = function.filter(|_| hostcalls::provides(abi, module, name));
            let Some(function) = function else {
                return Err(format!(
                    "Failed to load Wasm module due to a missing import: {module}.{name}"
                ));
            };
            let Some((params, results)) = callbacks::hostcall_type(module, name) else {
                continue;
            };
            let (host, guest) = (signature(&params, &results), self.signature(function));
            if host != guest {
                return Err(format!(
                    "Failed to load Wasm module due to an import type mismatch: {module}.{name}, \
                     want: {guest}, but host exports: {host}"
                ));
            }
        }
        Ok(())
    }

    fn check_exports(&self, abi: AbiVersion) -> Result<(), String> {
        for (name, index) in &self.exports {
            let Some(callback) = callbacks::find(name) else {
                continue;
            };
            let (params, results) = callback.types(abi);
            let wanted = signature(&params, &results);
            let function = usize::try_from(*index)
                .ok()
                .and_then(|index| self.functions.get(index));
            let exported = function.map_or_else(String::new, |index| self.signature(*index));
            if wanted != exported {
                return Err(format!(
                    "Bad function signature for: {name}, want: {wanted}, but the module exports: \
                     {exported}"
                ));
            }
        }
        Ok(())
    }

    fn exported(&self, name: &str) -> Option<u32> {
        let mut exports = self.exports.iter();
        exports
            .find(|(known, _)| known == name)
            .map(|(_, index)| *index)
    }

    fn signature(&self, index: u32) -> String {
        let function = usize::try_from(index)
            .ok()
            .and_then(|index| self.types.get(index)?.as_ref());
        function.map_or_else(String::new, |function| {
            signature(function.params(), function.results())
        })
    }
}

/// A function type as Envoy words it.
fn signature(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| {
        if types.is_empty() {
            return "void".to_owned();
        }
        let types: Vec<String> = types.iter().map(ValType::to_string).collect();
        types.join(" ")
    };
    format!("{} -> {}", list(params), list(results))
}

/// The bytes with memories that threads share made the guest's own: here as in Envoy a VM has one
/// thread, and hostcalls can only work on memory that nobody else writes.
pub(super) fn unshared(bytes: &[u8], flags: &[usize]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for &at in flags {
        let place: Range<usize> = at..at.saturating_add(1);
        for flag in bytes.get_mut(place).into_iter().flatten() {
            *flag &= !SHARED;
        }
    }
    bytes
}
