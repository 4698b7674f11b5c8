//! Our host held against the real Envoy: each test runs one guest on both.
//!
//! What a test expects is what Envoy 1.40 does; what it doesn't name must be equal nevertheless.

mod bodies;
mod callouts;
mod capabilities;
mod crashes;
mod facts;
mod faults;
mod grpc;
mod headers;
mod lifecycle;
mod limits;
mod local_reply;
mod metrics;
mod modules;
mod properties;
mod shared_data;
mod trailers;
mod vm_settings;
mod vms;
mod wire;

#[path = "../common/fixture.rs"]
mod fixture;
#[path = "../common/frame.rs"]
mod frame;
mod guest;
#[path = "../common/ports.rs"]
mod ports;
#[path = "../common/real_envoy.rs"]
mod real_envoy;
mod scene;
