//! A load whose every answer is counted.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};

use crate::bench::rate_limit::limiter::KEY_HEADER;
use crate::http::Connection;

/// What came of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tally {
    /// Answered 200.
    pub(crate) passed: u64,
    /// Answered 429.
    pub(crate) denied: u64,
    /// From before the first request to after the last answer.
    pub(crate) seconds: f64,
}

/// Sends `total` requests over so many connections, the n-th with the key `key(n)`.
///
/// # Errors
///
/// For an answer that is neither 200 nor 429.
pub(crate) fn send(
    address: SocketAddr,
    connections: u64,
    total: u64,
    key: impl Fn(u64) -> String + Sync,
) -> Result<Tally> {
    let started = Instant::now();
    let key = &key;
    let parts: Vec<Result<(u64, u64)>> = thread::scope(|scope| {
        let part = |first: u64| {
            let numbers = (first..total).step_by(usize::try_from(connections).unwrap_or(1));
            scope.spawn(move || one_connection(address, numbers, key))
        };
        let threads: Vec<_> = (0..connections).map(part).collect();
        let panicked = || anyhow!("a load thread panicked");
        threads
            .into_iter()
            .map(|it| it.join().map_err(|_| panicked())?)
            .collect()
    });
    let mut tally = Tally {
        passed: 0,
        denied: 0,
        seconds: started.elapsed().as_secs_f64(),
    };
    for part in parts {
        let (passed, denied) = part?;
        tally.passed += passed;
        tally.denied += denied;
    }
    Ok(tally)
}

fn one_connection(
    address: SocketAddr,
    numbers: impl Iterator<Item = u64>,
    key: &impl Fn(u64) -> String,
) -> Result<(u64, u64)> {
    let mut connection = Connection::open(address)?;
    let (mut passed, mut denied) = (0, 0);
    for number in numbers {
        match connection.get("/", &[(KEY_HEADER, &key(number))])?.status {
            200 => passed += 1,
            429 => denied += 1,
            other => bail!("request {number} was answered {other}, neither 200 nor 429"),
        }
    }
    Ok((passed, denied))
}
