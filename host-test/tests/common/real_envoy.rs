//! Whether tests have the real Envoy to hold our host against.

use std::ffi::OsString;

/// `$ENVOY_BIN`; `None` only where `$PENSTOCK_NO_ENVOY` says so, as `cargo xtask test --no-envoy`
/// does. A test that has neither fails: what was not compared must not look as if it had been.
pub(crate) fn real_envoy() -> Option<OsString> {
    if let Some(envoy) = std::env::var_os("ENVOY_BIN") {
        return Some(envoy);
    }
    assert!(
        std::env::var_os("PENSTOCK_NO_ENVOY").is_some(),
        "set ENVOY_BIN to an Envoy 1.40, or PENSTOCK_NO_ENVOY=1 to go without; \
         `cargo xtask test` does the one, with --no-envoy the other"
    );
    eprintln!("without Envoy, as $PENSTOCK_NO_ENVOY asks: this test runs on our host only");
    None
}
