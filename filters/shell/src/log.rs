//! The host's log. Lines are `key=value`; the host prefixes the plugin's name.
//!
//! A line below the host's level costs a hostcall all the same: log on rare paths alone. What the
//! host answers is ignored, since there is nowhere left to complain.

use crate::host;

/// Logs at level debug.
pub fn debug(line: &str) {
    let _ = host::log(1, line);
}

/// Logs at level warn: the filter works, but not as it should.
pub fn warn(line: &str) {
    let _ = host::log(3, line);
}

/// Logs at level error: the filter doesn't work.
pub fn error(line: &str) {
    let _ = host::log(4, line);
}

/// Logs at level critical: the filter is about to trap.
pub fn critical(line: &str) {
    let _ = host::log(5, line);
}
