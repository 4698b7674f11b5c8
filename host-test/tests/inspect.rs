//! What `inspect` says of modules, held against the real Envoy.

#[path = "common/real_envoy.rs"]
mod real_envoy;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use host_test::inspect::{self, Inspection, inspect};
use host_test::scenario::{Backend, StartFailure};

use real_envoy::real_envoy;

const ABI: &str = r#"(func (export "proxy_abi_version_0_2_1"))"#;
const MALLOC: &str = r#"(func (export "malloc") (param i32) (result i32) (i32.const 1024))"#;
const MEMORY: &str = r#"(memory (export "memory") 1)"#;

fn of(module: &str) -> Inspection {
    let bytes = wat::parse_str(module).unwrap();
    inspect(Path::new("guest.wasm"), &bytes).unwrap()
}

/// Whether Envoy starts with a module; `None` without Envoy.
fn envoy_loads(module: &str) -> Option<bool> {
    real_envoy()?;
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("host-test-inspect-{}-{count}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("guest.wasm"), wat::parse_str(module).unwrap()).unwrap();
    let file = host_test::scenario::ScenarioFile::parse(
        &folder.join("a.yaml"),
        "name: a\nplugins: [{module: guest.wasm}]\nsteps: [{request: GET /}]\n",
    )
    .unwrap();
    let started = host_test::envoy::EnvoyBackend::start(&file);
    let loads = match started {
        Ok(mut envoy) => envoy.metrics().is_ok(),
        Err(StartFailure::Refused { .. }) => false,
        Err(StartFailure::Broken(broken)) => panic!("{broken:?}"),
    };
    let _ = std::fs::remove_dir_all(&folder);
    Some(loads)
}

#[test]
fn every_reason_to_refuse_a_module_is_one_of_envoys() {
    let import = |import: &str| format!("(module {import} {ABI} {MALLOC} {MEMORY})");
    let table = [
        (
            format!("(module {MALLOC} {MEMORY})"),
            "Missing or unknown Proxy-Wasm ABI version",
        ),
        (
            format!(r#"(module (func (export "proxy_abi_version_0_3_0")) {MALLOC} {MEMORY})"#),
            "Missing or unknown Proxy-Wasm ABI version",
        ),
        (
            format!("(module {ABI} {MEMORY})"),
            "neither malloc nor proxy_on_memory_allocate",
        ),
        (
            import(r#"(import "env" "proxy_list_keys" (func (param i32) (result i32)))"#),
            "missing import: Envoy has no env.proxy_list_keys",
        ),
        (
            import(
                r#"(import "env" "proxy_get_configuration" (func (param i32 i32) (result i32)))"#,
            ),
            "missing import: Envoy has no env.proxy_get_configuration",
        ),
        (
            import(r#"(import "env" "proxy_log" (func (param i32 i32) (result i32)))"#),
            "import type mismatch: env.proxy_log is (i32, i32) -> (i32), Envoy's is (i32, i32, i32) \
             -> (i32)",
        ),
        (
            import(r#"(import "wasi_snapshot_preview1" "random_get" (func (param i32)))"#),
            "random_get",
        ),
        (
            import(
                r#"(func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 0))"#,
            ),
            "export type mismatch: proxy_on_request_headers is (i32, i32) -> (i32), Envoy calls it \
             as (i32, i32, i32) -> (i32)",
        ),
        (
            format!(r#"(module {ABI} {MALLOC} (memory (export "memory") 20000))"#),
            "20000 pages of memory; Envoy gives at most 16384",
        ),
    ];
    for (module, reason) in table {
        let problems = of(&module).problems;
        assert!(
            problems.iter().any(|problem| problem.contains(reason)),
            "{module}\n{problems:?}"
        );
        assert_ne!(envoy_loads(&module), Some(true), "{module}");
    }
}

#[test]
fn all_problems_are_found_at_once() {
    let inspection = of(r#"(module (import "env" "a" (func)) (import "env" "b" (func)))"#);
    assert_eq!(inspection.problems.len(), 5, "{:?}", inspection.problems);
}

#[test]
fn a_module_that_envoy_loads_has_no_problems() {
    for abi in ["0_1_0", "0_2_0", "0_2_1"] {
        let headers = if abi == "0_1_0" {
            "i32 i32"
        } else {
            "i32 i32 i32"
        };
        let module = format!(
            r#"(module
              (import "wasi_unstable" "random_get" (func (param i32 i32) (result i32)))
              {MALLOC} {MEMORY}
              (func (export "proxy_abi_version_{abi}"))
              (func (export "proxy_on_request_headers") (param {headers}) (result i32)
                (i32.const 0)))"#
        );
        let inspection = of(&module);
        assert_eq!(inspection.problems, Vec::<String>::new(), "{abi}");
        assert_eq!(inspection.abi.len(), 1);
        assert_ne!(envoy_loads(&module), Some(false), "{abi}");
    }
}

#[test]
fn what_a_module_needs_and_lacks_is_noted() {
    let inspection = of(&format!(
        r#"(module
          (import "wasi_unstable" "random_get" (func (param i32 i32) (result i32)))
          {ABI} {MALLOC} {MEMORY}
          (func (export "_start")) (func (export "_initialize")))"#
    ));
    assert_eq!(
        inspection.notes,
        [
            "it needs WASI: random_get",
            "no function names: Envoy's backtrace of a trap will say nothing",
            "_start is not called, because there is _initialize",
        ]
    );
    assert_eq!(inspection.memory, Some((1, None)));
}

#[test]
fn reports_hold_imports_exports_sections_and_the_verdict() {
    let inspection = of(&format!(
        r#"(module (import "env" "nothing" (func)) {ABI} {MALLOC} {MEMORY}
           (func (export "proxy_on_tick") (param i32)))"#
    ));
    let path = Path::new("guest.wasm");
    let text = inspect::pretty(path, &inspection);
    for part in [
        "ABI: 0.2.1\n",
        "  env.nothing () -> ()\n",
        "  proxy_on_tick (i32) -> ()\n",
        "other exports: proxy_abi_version_0_2_1, memory\n",
        "\nEnvoy 1.40 would refuse it: missing import: Envoy has no env.nothing\n",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let document: serde_json::Value =
        serde_json::from_str(&inspect::json(path, &inspection)).unwrap();
    assert_eq!(document["abi"][0], "0.2.1");
    assert_eq!(document["imports"][0]["name"], "nothing");
    assert_eq!(document["exports"][3]["callback"], true);
    assert_eq!(document["problems"].as_array().unwrap().len(), 1);
}

#[test]
fn bytes_that_are_no_module_are_refused_with_the_place() {
    let error = inspect(Path::new("a.wasm"), b"\0asm\x01\0\0\0\xff").unwrap_err();
    assert!(error.starts_with("not a WebAssembly module: "), "{error}");
    assert!(error.contains(" at byte "), "{error}");
}
