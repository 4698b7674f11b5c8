//! Cuts exports that a filter doesn't implement.
//!
//! The proxy-wasm SDK exports every callback of the ABI, and a gateway calls each one that it finds
//! once or more per stream. What isn't in a package's `callbacks` list is cut; wasm-opt then drops
//! the code that only served it.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::build::section::{self, EXPORT, Malformed, Reader, START, Section};

/// The version of the ABI that the filters speak, as the marker that hosts look for.
const ABI: &str = "proxy_abi_version_0_2_1";

/// Exports that aren't callbacks, and that every host needs: without an exported memory Envoy 1.40
/// crashes at the first call instead of refusing the module.
const NEEDED: [&str; 3] = [ABI, "malloc", "memory"];

/// An export: its name, kind and index.
#[derive(Debug, PartialEq)]
struct Export<'a> {
    name: &'a str,
    kind: u8,
    index: usize,
}

/// Returns the module without the callbacks that aren't listed.
///
/// # Errors
///
/// For malformed bytes, and for a listed callback that the module doesn't export.
pub(crate) fn cut(module: &[u8], callbacks: &[String]) -> Result<Vec<u8>> {
    let mut sections = section::split(module)?;
    let Some(exports) = sections.iter_mut().find(|section| section.id == EXPORT) else {
        bail!("it exports nothing");
    };
    let all = read(&exports.payload)?;
    let missing: Vec<&str> = callbacks
        .iter()
        .map(String::as_str)
        .filter(|callback| !all.iter().any(|export| export.name == *callback))
        .collect();
    if !missing.is_empty() {
        bail!(
            "it doesn't export {}, which its `callbacks` list",
            missing.join(", ")
        );
    }
    let kept = all.iter().filter(|export| {
        // The allocator has a callback's name, but it isn't one.
        !export.name.starts_with("proxy_on_")
            || export.name == "proxy_on_memory_allocate"
            || callbacks.iter().any(|callback| callback == export.name)
    });
    let payload = write(&kept.collect::<Vec<_>>());
    exports.payload = payload.into();
    Ok(section::join(&sections))
}

/// Checks what a host needs besides callbacks: ABI marker, memory, allocator, no start function.
pub(crate) fn check(module: &[u8]) -> Result<()> {
    let sections = section::split(module)?;
    // Envoy 1.40 crashes when a start function makes a hostcall.
    if sections.iter().any(|section| section.id == START) {
        bail!("it has a start function");
    }
    let names = names(&sections)?;
    if let Some(missing) = NEEDED.iter().find(|name| !names.contains(**name)) {
        bail!("it doesn't export `{missing}`");
    }
    Ok(())
}

fn names(sections: &[Section<'_>]) -> Result<BTreeSet<String>, Malformed> {
    let Some(exports) = sections.iter().find(|section| section.id == EXPORT) else {
        return Ok(BTreeSet::new());
    };
    Ok(read(&exports.payload)?
        .iter()
        .map(|export| export.name.to_owned())
        .collect())
}

fn read(payload: &[u8]) -> Result<Vec<Export<'_>>, Malformed> {
    let mut reader = Reader::new(payload);
    let count = reader.number()?;
    (0..count)
        .map(|_| {
            let name = reader.name()?;
            Ok(Export {
                name,
                kind: reader.byte()?,
                index: reader.number()?,
            })
        })
        .collect()
}

fn write(exports: &[&Export<'_>]) -> Vec<u8> {
    let mut payload = Vec::new();
    section::write_number(&mut payload, exports.len());
    for export in exports {
        section::write_name(&mut payload, export.name);
        payload.push(export.kind);
        section::write_number(&mut payload, export.index);
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module of one custom section and these exported functions.
    fn module(names: &[&str]) -> Vec<u8> {
        let exports: Vec<Export<'_>> = names
            .iter()
            .enumerate()
            .map(|(index, name)| Export {
                name,
                kind: 0,
                index: index + 200,
            })
            .collect();
        let payload = write(&exports.iter().collect::<Vec<_>>());
        section::join(&[
            Section {
                id: 0,
                payload: vec![4, b'n', b'a', b'm', b'e'].into(),
            },
            Section {
                id: EXPORT,
                payload: payload.into(),
            },
        ])
    }

    fn listed(names: &[&str]) -> Vec<String> {
        names.iter().copied().map(str::to_owned).collect()
    }

    fn exported(module: &[u8]) -> Vec<String> {
        let sections = section::split(module).expect("it is well formed");
        let exports = sections
            .iter()
            .find(|section| section.id == EXPORT)
            .expect("it exports");
        let exports = read(&exports.payload).expect("it is well formed");
        exports
            .iter()
            .map(|export| format!("{} {}", export.name, export.index))
            .collect()
    }

    #[test]
    fn callbacks_that_are_not_listed_are_cut_and_the_others_keep_their_functions() {
        let bytes = module(&[
            "memory",
            "proxy_on_tick",
            "proxy_on_configure",
            "proxy_on_log",
        ]);
        let kept = cut(&bytes, &listed(&["proxy_on_configure"])).expect("it can be cut");
        assert_eq!(exported(&kept), ["memory 200", "proxy_on_configure 202"]);
        assert_eq!(kept, {
            let sections = section::split(&bytes).expect("it is well formed");
            let payload = write(&[
                &Export {
                    name: "memory",
                    kind: 0,
                    index: 200,
                },
                &Export {
                    name: "proxy_on_configure",
                    kind: 0,
                    index: 202,
                },
            ]);
            section::join(&[
                sections[0].clone(),
                Section {
                    id: EXPORT,
                    payload: payload.into(),
                },
            ])
        });
    }

    #[test]
    fn the_allocator_is_no_callback() {
        let kept = cut(&module(&["proxy_on_memory_allocate"]), &[]).expect("it can be cut");
        assert_eq!(exported(&kept), ["proxy_on_memory_allocate 200"]);
    }

    #[test]
    fn a_listed_callback_that_is_missing_is_an_error() {
        let listed = listed(&["proxy_on_log", "proxy_on_tick", "proxy_on_done"]);
        let error = cut(&module(&["proxy_on_tick"]), &listed).expect_err("two are missing");
        let expected = "it doesn't export proxy_on_log, proxy_on_done, which its `callbacks` list";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_module_without_exports_is_refused() {
        let error = cut(&section::join(&[]), &[]).expect_err("nothing is exported");
        assert_eq!(error.to_string(), "it exports nothing");
    }

    #[test]
    fn a_cut_off_export_section_is_malformed() {
        let exports = Section {
            id: EXPORT,
            payload: vec![2, 1, b'f', 0, 0].into(),
        };
        let error = cut(&section::join(&[exports]), &[]).expect_err("the second is missing");
        let expected = "malformed WebAssembly: an unexpected end at byte 5";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_host_needs_marker_allocator_and_memory() {
        check(&module(&[ABI, "malloc", "memory"])).expect("all is there");
        for (names, missing) in [
            (["malloc", "memory"], ABI),
            ([ABI, "memory"], "malloc"),
            ([ABI, "malloc"], "memory"),
        ] {
            let error = check(&module(&names)).expect_err("one is missing");
            assert_eq!(error.to_string(), format!("it doesn't export `{missing}`"));
        }
    }

    #[test]
    fn a_start_function_is_refused() {
        let start = Section {
            id: START,
            payload: vec![0].into(),
        };
        let error = check(&section::join(&[start])).expect_err("it starts by itself");
        assert_eq!(error.to_string(), "it has a start function");
    }
}
