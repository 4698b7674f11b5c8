//! The module `rate_limit.wasm`; natively a hint how to build it.

#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg_attr(
    target_arch = "wasm32",
    expect(missing_docs, reason = "the SDK's macro makes a public function")
)]

#[cfg(target_arch = "wasm32")]
proxy_wasm::main! {{ rate_limit::shell::start() }}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    eprintln!("rate_limit is a proxy-wasm module; `cargo xtask build` makes it");
    std::process::exit(2);
}
