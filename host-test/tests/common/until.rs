//! Waiting for something that another process does.

use std::time::{Duration, Instant};

/// Looks again and again until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    // A gateway that never comes to it is to fail the test, not to hang it.
    let limit = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < limit, "never: {what}");
        // Other processes have to do what is waited for.
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
