//! Modules as SDKs and compilers make them: each loads and does the same in our host and in Envoy.

mod assembly_script;
#[path = "../common/real_envoy.rs"]
mod real_envoy;
mod rust_sdk;
mod scenario;
mod shapes;
