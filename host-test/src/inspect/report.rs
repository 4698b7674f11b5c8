//! Shows an inspection: to a person and to a program.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::abi::AbiVersion;

use super::Inspection;

/// What a module is, as text; ends with the verdict.
pub fn pretty(path: &Path, inspection: &Inspection) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{} ({} bytes)", path.display(), inspection.size);
    let abi: Vec<&str> = inspection
        .abi
        .iter()
        .map(|version| number(*version))
        .collect();
    let abi = if abi.is_empty() {
        "none".to_owned()
    } else {
        abi.join(", ")
    };
    let _ = writeln!(out, "ABI: {abi}");
    if let Some((initial, maximum)) = inspection.memory {
        let maximum = maximum.map_or_else(
            || "no maximum".to_owned(),
            |pages| format!("at most {pages}"),
        );
        let _ = writeln!(out, "memory: {initial} pages of 64 KiB, {maximum}");
    }
    let _ = writeln!(out, "\nsections:");
    for (name, size) in &inspection.sections {
        let _ = writeln!(out, "  {size:>9}  {name}");
    }
    let _ = writeln!(out, "\nimports ({}):", inspection.imports.len());
    for import in &inspection.imports {
        let _ = writeln!(
            out,
            "  {}.{} {}",
            import.module, import.name, import.signature
        );
    }
    let callbacks = inspection
        .exports
        .iter()
        .filter(|export| export.is_callback);
    let _ = writeln!(
        out,
        "\nexports that Envoy calls ({}):",
        callbacks.clone().count()
    );
    for export in callbacks {
        let _ = writeln!(out, "  {} {}", export.name, export.signature);
    }
    let others = inspection
        .exports
        .iter()
        .filter(|export| !export.is_callback);
    let others: Vec<&str> = others.map(|export| export.name.as_str()).collect();
    if !others.is_empty() {
        let _ = writeln!(out, "\nother exports: {}", others.join(", "));
    }
    for note in &inspection.notes {
        let _ = writeln!(out, "\nnote: {note}");
    }
    out.push('\n');
    for problem in &inspection.problems {
        let _ = writeln!(out, "Envoy 1.40 would refuse it: {problem}");
    }
    if inspection.problems.is_empty() {
        out.push_str("Envoy 1.40 would load it.\n");
    }
    out
}

/// The same as one JSON document.
pub fn json(path: &Path, inspection: &Inspection) -> String {
    let sections = inspection
        .sections
        .iter()
        .map(|(name, size)| json!({"name": name, "size": size}));
    let imports = inspection.imports.iter().map(|import| {
        json!({"module": import.module, "name": import.name, "signature": import.signature})
    });
    let exports = inspection.exports.iter().map(|export| {
        json!({
            "name": export.name,
            "signature": export.signature,
            "callback": export.is_callback,
        })
    });
    let document = json!({
        "file": path.to_string_lossy(),
        "size": inspection.size,
        "abi": inspection.abi.iter().map(|version| number(*version)).collect::<Vec<_>>(),
        "memory_pages": inspection.memory.map(|(initial, maximum)| {
            json!({"initial": initial, "maximum": maximum})
        }),
        "sections": sections.collect::<Value>(),
        "imports": imports.collect::<Value>(),
        "exports": exports.collect::<Value>(),
        "problems": inspection.problems,
        "notes": inspection.notes,
    });
    format!("{document:#}\n")
}

fn number(version: AbiVersion) -> &'static str {
    match version {
        AbiVersion::V0_1_0 => "0.1.0",
        AbiVersion::V0_2_0 => "0.2.0",
        AbiVersion::V0_2_1 => "0.2.1",
    }
}
