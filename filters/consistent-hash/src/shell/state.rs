//! The filter state that Envoy's own hash policies read.

use filter_shell::host::{self, Status};

/// Sets it for the rest of the request.
pub(super) fn set(value: &[u8]) -> Result<(), Status> {
    const PATH: &[u8] = b"envoy.hashable_string";
    // `envoy.source.extensions.common.wasm.SetEnvoyFilterStateArguments`: path, value, span.
    let mut message = Vec::new();
    for (tag, text) in [(0x0a, PATH), (0x12, value)] {
        message.push(tag);
        // A varint of two bytes at most: values are at most 256 bytes long.
        let low = u8::try_from(text.len() & 0x7f).unwrap_or(0);
        match u8::try_from(text.len() >> 7) {
            Ok(0) => message.push(low),
            Ok(high) => message.extend_from_slice(&[low | 0x80, high]),
            Err(_) => return Err(Status::NOT_FOUND),
        }
        message.extend_from_slice(text);
    }
    const REQUEST: [u8; 2] = [0x18, 1];
    message.extend_from_slice(&REQUEST);
    host::call_foreign("set_envoy_filter_state", &message).map(drop)
}
