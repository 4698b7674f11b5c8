//! `placement_guest.wasm`: what a look-up and a table cost within a module, for `cargo xtask bench hash`.
//!
//! It answers `/ALGORITHM/HOSTS` or `/ALGORITHM/HOSTS/WEIGHTS` with nanoseconds, the best of some runs:
//! building the placement, finding a key's host, finding its first three. Hosts have so many different
//! weights, 1 by default.

#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg_attr(
    target_arch = "wasm32",
    expect(
        missing_docs,
        reason = "the SDK's macro exports a function without a comment"
    )
)]

#[cfg(target_arch = "wasm32")]
mod measure;

#[cfg(target_arch = "wasm32")]
proxy_wasm::main! {{
    filter_shell::start();
    proxy_wasm::set_root_context(|_| Box::new(measure::Root));
}}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    println!(
        "This is a filter for a proxy; `cargo xtask build` makes target/wasm/placement_guest.wasm."
    );
}
