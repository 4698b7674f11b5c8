//! Looks at a module without running it: what it is, and what Envoy 1.40 would say of it.
//!
//! Everything that is wrong is found at once. What the tables here can't know (a wasm feature that
//! the engine lacks, an import whose type is off) is left to loading it, which is done last.

pub(crate) mod callbacks;
mod report;

use std::collections::BTreeMap;
use std::path::Path;

use wasmparser::{ExternalKind, FuncType, KnownCustom, Name, Parser, Payload, TypeRef, ValType};

use crate::abi::AbiVersion;
use crate::hostcalls;
use crate::module::Module;

pub use report::{json, pretty};

/// Envoy's ceiling for a VM's memory, in pages of 64 KiB.
const MOST_PAGES: u64 = 16_384;

/// What there is to know of a module.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Bytes of the file.
    pub size: usize,
    /// Versions of the ABI that it declares, the newest first.
    pub abi: Vec<AbiVersion>,
    /// What it imports, in its order.
    pub imports: Vec<Import>,
    /// What it exports, in its order.
    pub exports: Vec<Export>,
    /// Bytes of its sections by name, in its order.
    pub sections: Vec<(String, usize)>,
    /// Initial and largest size of its memory in pages of 64 KiB.
    pub memory: Option<(u64, Option<u64>)>,
    /// Why Envoy would refuse it or crash on it; empty if it would not.
    pub problems: Vec<String>,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The module it is to come from.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// Its type, as WebAssembly text.
    pub signature: String,
}

/// An export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// Its type, as WebAssembly text.
    pub signature: String,
    /// Whether Envoy calls it.
    pub is_callback: bool,
}

/// Inspects a module. `path` is the name used in messages.
///
/// # Errors
///
/// The bytes are no module; the sentence says where they stop making sense.
pub fn inspect(path: &Path, bytes: &[u8]) -> Result<Inspection, String> {
    let parsed = Parsed::read(bytes).map_err(|error| {
        format!(
            "not a WebAssembly module: {} at byte {}",
            error.message(),
            error.offset()
        )
    })?;
    let mut inspection = Inspection {
        size: bytes.len(),
        sections: parsed.sections.clone(),
        memory: parsed.memory,
        imports: parsed
            .imports
            .iter()
            .map(|(import, _)| import.clone())
            .collect(),
        ..Inspection::default()
    };
    for (name, signature, kind) in &parsed.exports {
        inspection.exports.push(Export {
            name: name.clone(),
            signature: signature.clone(),
            is_callback: *kind == ExternalKind::Func && callbacks::find(name).is_some(),
        });
    }
    let exports_function = |wanted: &str| {
        let is_it = |(name, _, kind): &(String, String, ExternalKind)| {
            name == wanted && *kind == ExternalKind::Func
        };
        parsed.exports.iter().any(is_it)
    };
    let declared = AbiVersion::ALL.into_iter();
    inspection.abi = declared
        .filter(|version| exports_function(version.export()))
        .collect();
    parsed.judge(&mut inspection, exports_function);
    if inspection.problems.is_empty()
        && let Err(error) = Module::from_bytes(path, bytes)
    {
        inspection.problems.push(error.cause);
    }
    Ok(inspection)
}

/// A module taken apart.
#[derive(Default)]
struct Parsed {
    types: Vec<FuncType>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    /// Imports, and whether they are functions.
    imports: Vec<(Import, bool)>,
    exports: Vec<(String, String, ExternalKind)>,
    sections: Vec<(String, usize)>,
    memory: Option<(u64, Option<u64>)>,
    exports_memory: bool,
    imports_memory: bool,
    has_start: bool,
    has_names: bool,
    has_dwarf: bool,
}

impl Parsed {
    fn read(bytes: &[u8]) -> wasmparser::Result<Self> {
        let mut parsed = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            parsed.add_section(&payload);
            parsed.add(payload)?;
        }
        Ok(parsed)
    }

    fn add_section(&mut self, payload: &Payload<'_>) {
        let name = match payload {
            Payload::CustomSection(section) => format!("custom {}", section.name()),
            Payload::CodeSectionStart { .. } => "code".to_owned(),
            Payload::DataSection(_) => "data".to_owned(),
            Payload::ElementSection(_) => "element".to_owned(),
            Payload::ExportSection(_) => "export".to_owned(),
            Payload::FunctionSection(_) => "function".to_owned(),
            Payload::GlobalSection(_) => "global".to_owned(),
            Payload::ImportSection(_) => "import".to_owned(),
            Payload::MemorySection(_) => "memory".to_owned(),
            Payload::StartSection { .. } => "start".to_owned(),
            Payload::TableSection(_) => "table".to_owned(),
            Payload::TypeSection(_) => "type".to_owned(),
            _ => return,
        };
        if let Some((_, range)) = payload.as_section() {
            self.sections.push((name, range.len()));
        }
    }

    fn add(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for func_type in section.into_iter_err_on_gc_types() {
                    self.types.push(func_type?);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let (signature, is_function) = match import.ty {
                        TypeRef::Func(index) => {
                            self.functions.push(index);
                            (self.signature(index), true)
                        }
                        TypeRef::Memory(_) => {
                            self.imports_memory = true;
                            ("(memory)".to_owned(), false)
                        }
                        TypeRef::Table(_) => ("(table)".to_owned(), false),
                        _ => ("(not a function)".to_owned(), false),
                    };
                    let import = Import {
                        module: import.module.to_owned(),
                        name: import.name.to_owned(),
                        signature,
                    };
                    self.imports.push((import, is_function));
                }
            }
            Payload::FunctionSection(section) => {
                for index in section {
                    self.functions.push(index?);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    self.memory = Some((memory.initial, memory.maximum));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let signature = match export.kind {
                        ExternalKind::Func => {
                            let index = usize::try_from(export.index).unwrap_or(usize::MAX);
                            self.functions
                                .get(index)
                                .map_or_else(String::new, |index| self.signature(*index))
                        }
                        ExternalKind::Memory => "(memory)".to_owned(),
                        ExternalKind::Table => "(table)".to_owned(),
                        ExternalKind::Global => "(global)".to_owned(),
                        _ => String::new(),
                    };
                    self.exports_memory |= export.kind == ExternalKind::Memory;
                    self.exports
                        .push((export.name.to_owned(), signature, export.kind));
                }
            }
            Payload::StartSection { .. } => self.has_start = true,
            Payload::CustomSection(section) => {
                self.has_dwarf |= section.name().starts_with(".debug_");
                if let KnownCustom::Name(names) = section.as_known() {
                    self.has_names |= names
                        .into_iter()
                        .any(|name| matches!(name, Ok(Name::Function(_))));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn signature(&self, index: u32) -> String {
        let found = usize::try_from(index)
            .ok()
            .and_then(|index| self.types.get(index));
        found.map_or_else(String::new, |func| signature(func.params(), func.results()))
    }

    /// Finds what Envoy would refuse, and what else should be said.
    fn judge(&self, inspection: &mut Inspection, exports_function: impl Fn(&str) -> bool) {
        let problems = &mut inspection.problems;
        let notes = &mut inspection.notes;
        if inspection.abi.is_empty() {
            problems.push(
                "Missing or unknown Proxy-Wasm ABI version: none of proxy_abi_version_0_1_0, \
                 _0_2_0 and _0_2_1 is exported"
                    .to_owned(),
            );
        }
        if !exports_function("malloc") && !exports_function("proxy_on_memory_allocate") {
            problems.push("neither malloc nor proxy_on_memory_allocate is exported".to_owned());
        }
        if !self.exports_memory && !self.imports_memory {
            problems.push("no memory is exported; Envoy crashes on its first use".to_owned());
        }
        if self.has_start {
            notes.push("a start section runs; Envoy crashes on one that calls the host".to_owned());
        }
        if let Some((initial, _)) = self.memory.filter(|(initial, _)| *initial > MOST_PAGES) {
            problems.push(format!(
                "{initial} pages of memory; Envoy gives at most {MOST_PAGES}"
            ));
        }
        // Without a version the newest decides, so that other mistakes are still found.
        let abi = inspection
            .abi
            .first()
            .copied()
            .unwrap_or(AbiVersion::V0_2_1);
        let mut modules: BTreeMap<&str, usize> = BTreeMap::new();
        for (import, is_function) in &self.imports {
            let Import {
                module,
                name,
                signature,
            } = import;
            *modules.entry(module).or_default() += 1;
            // Envoy makes these for the guest, whatever they are called.
            if matches!(signature.as_str(), "(memory)" | "(table)") {
                continue;
            }
            if !is_function || !hostcalls::provides(abi, module, name) {
                problems.push(format!("missing import: Envoy has no {module}.{name}"));
            } else if let Some(expected) = callbacks::hostcall(module, name)
                && expected != *signature
            {
                problems.push(format!(
                    "import type mismatch: {module}.{name} is {signature}, Envoy's is {expected}"
                ));
            }
        }
        for (name, signature, kind) in &self.exports {
            if let Some(callback) = callbacks::find(name)
                && *kind == ExternalKind::Func
                && callback.signature(abi) != *signature
            {
                let expected = callback.signature(abi);
                problems.push(format!(
                    "export type mismatch: {name} is {signature}, Envoy calls it as {expected}"
                ));
            }
        }
        if modules.keys().any(|module| module.starts_with("wasi_")) {
            let names: Vec<&str> = self
                .imports
                .iter()
                .filter(|(import, _)| import.module.starts_with("wasi_"))
                .map(|(import, _)| import.name.as_str())
                .collect();
            notes.push(format!("it needs WASI: {}", names.join(", ")));
        }
        if !self.has_names {
            notes
                .push("no function names: Envoy's backtrace of a trap will say nothing".to_owned());
        }
        if self.has_dwarf {
            notes.push("it carries debug information, which Envoy does not use".to_owned());
        }
        if exports_function("_initialize") && exports_function("_start") {
            notes.push("_start is not called, because there is _initialize".to_owned());
        }
    }
}

/// A function type as WebAssembly text.
fn signature(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| {
        let types: Vec<String> = types.iter().map(ValType::to_string).collect();
        types.join(", ")
    };
    format!("({}) -> ({})", list(params), list(results))
}
