//! `consistent_hash.wasm`.

#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg_attr(
    target_arch = "wasm32",
    expect(
        missing_docs,
        reason = "the SDK's macro exports a function without a comment"
    )
)]

#[cfg(target_arch = "wasm32")]
proxy_wasm::main! {{
    consistent_hash::shell::start();
}}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    println!(
        "This is a filter for a proxy; `cargo xtask build` makes target/wasm/consistent_hash.wasm."
    );
}
