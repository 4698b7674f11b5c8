//! The module `rate_limit.wasm`; natively a hint how to build it.

#![cfg_attr(target_arch = "wasm32", no_main)]

#[cfg(target_arch = "wasm32")]
filter_shell::module!(rate_limit::shell::Root);

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    eprintln!("rate_limit is a proxy-wasm module; `cargo xtask build` makes it");
    std::process::exit(2);
}
