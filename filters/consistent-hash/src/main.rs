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
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Error);
    proxy_wasm::set_root_context(|_| Box::new(consistent_hash::shell::Root));
}}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    println!(
        "This is a filter for a proxy; `cargo xtask build` makes target/wasm/consistent_hash.wasm."
    );
}
