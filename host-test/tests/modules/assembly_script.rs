//! The AssemblyScript SDK (npm `@solo-io/proxy-runtime`): a start section, `proc_exit` from
//! `wasi_unstable`, its own `malloc`, and callbacks for all of ABI 0.2.0.

use crate::scenario::{assert_passes, module};

#[test]
fn a_filter_of_the_assembly_script_sdk_works() {
    if std::env::var_os("PENSTOCK_NO_ASSEMBLYSCRIPT").is_some() {
        eprintln!("without AssemblyScript, as $PENSTOCK_NO_ASSEMBLYSCRIPT asks");
        return;
    }
    let module = std::fs::read(module("assembly_script")).unwrap();
    assert_passes(
        &module,
        r#"
plugins:
- { module: guest.wasm, root_id: add_header, config: you }
steps:
- request: { path: /other, headers: { x-request-id: a } }
  expect: { status: 200, headers: { hello: world }, upstream: { headers: { x-added: 1 } } }
- request: { path: /hello, headers: { x-request-id: a } }
  expect: { status: 200, headers: { hello: world }, body: "Hello, World!\n", upstream: none, details: by_the_guest }
- expect_logs:
  - path /other of 6 headers
  - { level: warn, message: completed }
  - path /hello of 6 headers
  - { level: warn, message: completed }
"#,
    );
}
