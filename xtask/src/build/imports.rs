//! What a module may import: hostcalls of the ABI and two functions of WASI, nothing else.
//!
//! A filter that imports more would be refused by some gateway. The two of WASI are the monotonic
//! clock and the random seed, which the ABI itself lacks.

use anyhow::{Result, bail};

use crate::build::section::{self, IMPORT, Malformed, Reader};

/// The module name of WASI preview 1.
const WASI: &str = "wasi_snapshot_preview1";

/// Functions of WASI that a filter may import.
const WASI_ALLOWED: [&str; 2] = ["clock_time_get", "random_get"];

/// Returns an error that names every import that isn't allowed.
pub(crate) fn check(module: &[u8]) -> Result<()> {
    let sections = section::split(module)?;
    let mut foreign = Vec::new();
    for section in sections.iter().filter(|section| section.id == IMPORT) {
        foreign.extend(read_foreign(&section.payload)?);
    }
    if foreign.is_empty() {
        return Ok(());
    }
    let allowed = WASI_ALLOWED.join(", ");
    bail!(
        "it imports {}; allowed are functions env.proxy_* and {WASI}.{{{allowed}}}",
        foreign.join(", ")
    )
}

/// Reads an import section up to the first import that isn't a function: none of those is allowed.
fn read_foreign(payload: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut reader = Reader::new(payload);
    let mut foreign = Vec::new();
    for _ in 0..reader.number()? {
        let (module, name) = (reader.name()?, reader.name()?);
        let kind = reader.byte()?;
        if kind != 0 {
            let kind = ["function", "table", "memory", "global", "tag"].get(usize::from(kind));
            foreign.push(format!(
                "the {} {module}.{name}",
                kind.unwrap_or(&"unknown thing")
            ));
            break;
        }
        // The function's type.
        reader.number()?;
        let allowed = match module {
            "env" => name.starts_with("proxy_"),
            WASI => WASI_ALLOWED.contains(&name),
            _ => false,
        };
        if !allowed {
            foreign.push(format!("{module}.{name}"));
        }
    }
    Ok(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::section::Section;

    fn module(imports: &[(&str, &str, &[u8])]) -> Vec<u8> {
        let mut payload = Vec::new();
        section::write_number(&mut payload, imports.len());
        for (module, name, description) in imports {
            section::write_name(&mut payload, module);
            section::write_name(&mut payload, name);
            payload.extend_from_slice(description);
        }
        section::join(&[Section {
            id: IMPORT,
            payload: payload.into(),
        }])
    }

    const FUNCTION: &[u8] = &[0, 5];

    #[test]
    fn hostcalls_clock_and_random_are_allowed() {
        let imports = [
            ("env", "proxy_log", FUNCTION),
            (WASI, "clock_time_get", FUNCTION),
            (WASI, "random_get", FUNCTION),
        ];
        check(&module(&imports)).expect("all three are allowed");
    }

    #[test]
    fn a_module_without_imports_is_fine() {
        check(&section::join(&[])).expect("it imports nothing");
    }

    #[test]
    fn every_foreign_function_is_named() {
        let imports = [
            (WASI, "fd_write", FUNCTION),
            ("env", "proxy_log", FUNCTION),
            ("env", "memcpy", FUNCTION),
            ("__wbindgen_placeholder__", "__wbindgen_throw", FUNCTION),
        ];
        let error = check(&module(&imports)).expect_err("three are foreign");
        assert_eq!(
            error.to_string(),
            "it imports wasi_snapshot_preview1.fd_write, env.memcpy, \
             __wbindgen_placeholder__.__wbindgen_throw; allowed are functions env.proxy_* and \
             wasi_snapshot_preview1.{clock_time_get, random_get}"
        );
    }

    #[test]
    fn only_functions_may_be_imported() {
        let imports = [("env", "memory", &[2, 0, 1][..])];
        let error = check(&module(&imports)).expect_err("a memory is foreign");
        assert!(
            error
                .to_string()
                .starts_with("it imports the memory env.memory;"),
            "{error}"
        );
    }

    #[test]
    fn a_cut_off_import_section_is_malformed() {
        let error = read_foreign(&[1, 3, b'e', b'n']).expect_err("the name goes on");
        assert_eq!(
            error.to_string(),
            "malformed WebAssembly: an unexpected end at byte 2"
        );
    }
}
