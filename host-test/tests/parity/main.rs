//! Our host held against the real Envoy: each test runs one guest on both.
//!
//! What a test expects is what Envoy 1.40 does; what it doesn't name must be equal nevertheless.

mod bodies;
mod callouts;
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
#[path = "../common/real_envoy.rs"]
mod real_envoy;
mod scene;
