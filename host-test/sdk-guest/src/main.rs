//! `sdk_guest.wasm`: a filter as authors write it with the Rust SDK, through the SDK's own wrappers
//! of hostcalls, which panic on any status that they don't expect.
//!
//! Its configuration names the kind of filter that it is: `headers`, `body`, `auth`, `parts` or
//! `store`.

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
    println!("This is a filter for a proxy; `cargo xtask build` makes target/wasm/sdk_guest.wasm.");
}
