//! One key, all workers, many connections: is exactly the limit admitted?

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::bench::load;
use crate::bench::rate_limit::limiter::{Limit, Per};
use crate::bench::rate_limit::start;
use crate::cli::Host;
use crate::workspace::Workspace;

const LIMIT: Limit = Limit {
    requests: 1_000,
    per: Per::Minute,
    burst: 1_000,
};
const REQUESTS: u64 = 200_000;
const CONNECTIONS: u64 = 16;
const WORKERS: u32 = 2;

/// Fewer than the bound by more than this is an inexact limiter. Whole requests refill, and the
/// load ends a moment after its last request was decided.
const HANDFUL: u64 = 5;

/// Sends the load and compares with what GCRA allows in the time that it took.
///
/// # Errors
///
/// When more was admitted than the limit allows, or fewer by more than a handful.
pub(crate) fn measure(workspace: &Workspace, host: Host) -> Result<Value> {
    let (gateway, address) = start(workspace, host, "exactness", LIMIT, WORKERS)?;
    println!(
        "\n{host}: {REQUESTS} requests with one key, {CONNECTIONS} connections, {WORKERS} workers, \
         {} a minute, burst {}",
        LIMIT.requests, LIMIT.burst
    );
    let tally = load::send(address, CONNECTIONS, REQUESTS, |_| "ana".to_owned())?;
    drop(gateway);
    let bound = allowed(tally.seconds);
    let (passed, seconds) = (tally.passed, tally.seconds);
    let difference = i128::from(passed) - i128::from(bound);
    println!("  admitted {passed}, allowed in {seconds:.1} s {bound}: {difference:+}");
    if passed > bound || bound - passed > HANDFUL {
        bail!("{host} admitted {passed} where the limit allows {bound}");
    }
    Ok(json!({
        "host": host.to_string(), "requests": REQUESTS, "connections": CONNECTIONS,
        "workers": WORKERS, "seconds": seconds, "admitted": passed, "allowed": bound,
    }))
}

/// Returns burst + elapsed × rate, in whole requests.
fn allowed(seconds: f64) -> u64 {
    // A load takes minutes at most: small and not negative.
    LIMIT.burst + (seconds * LIMIT.rate()).floor() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_burst_and_what_refills() {
        assert_eq!(allowed(0.0), 1_000);
        assert_eq!(allowed(0.059), 1_000);
        assert_eq!(allowed(0.061), 1_001);
        assert_eq!(allowed(6.0), 1_100);
    }
}
