//! What Envoy's foreign functions compute, without a guest: bytes in, bytes out.
//!
//! Arguments and results of most are protobuf messages of `source/extensions/common/wasm/ext` in
//! Envoy; results are written as its serializer does, with default values left out.

pub(crate) mod filter_state;
mod keys;
pub(crate) mod protobuf;
pub(crate) mod signature;
pub(crate) mod zlib;

pub(crate) use protobuf::Message;
