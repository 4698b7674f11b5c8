//! `bench_guest.wasm`: what `cargo xtask bench host` measures a request with.
//!
//! Its configuration is the number of hostcalls that it makes for a request without `x-…` headers
//! but eight in all: `0`, `2` (reads a header, adds one) or `11` (reads all headers and logs each,
//! as the Rust SDK's example `http_headers` does).

#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg_attr(
    target_arch = "wasm32",
    expect(
        missing_docs,
        reason = "the SDK's macro exports a function without a comment"
    )
)]

#[cfg(target_arch = "wasm32")]
mod filter;

#[cfg(target_arch = "wasm32")]
proxy_wasm::main! {{
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(filter::Root::default()));
}}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    println!(
        "This is a filter for a proxy; `cargo xtask build` makes target/wasm/bench_guest.wasm."
    );
}
