//! Our host held against the real Envoy: each test runs one guest on both, where `$ENVOY_BIN` is
//! set, and on ours alone where it isn't.
//!
//! What a test expects is what Envoy 1.40 does; what it doesn't name must be equal nevertheless.

mod bodies;
mod faults;
mod headers;
mod lifecycle;
mod local_reply;
mod metrics;
mod properties;
mod shared_data;

#[path = "../common/fixture.rs"]
mod fixture;
#[path = "../common/frame.rs"]
mod frame;
mod guest;
mod scene;
