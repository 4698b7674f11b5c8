//! wrk, the load generator of the speed measurements: a client in C that costs the gateway's cores
//! less than any other at hand.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bench::bootstrap::KEY_HEADER;
use crate::process;

/// One run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Requests answered in a second.
    pub(crate) per_second: f64,
}

/// Returns an error unless wrk is there.
pub(crate) fn expect_installed() -> Result<()> {
    if process::find_on_path("wrk").is_none() {
        bail!("the speed measurement needs wrk on PATH: `apt-get install wrk`");
    }
    Ok(())
}

/// Loads an address for some seconds over 16 kept connections, all with one key.
pub(crate) fn run(address: SocketAddr, seconds: u32) -> Result<Run> {
    let mut command = Command::new("wrk");
    command.args([
        "-t1",
        "-c16",
        &format!("-d{seconds}s"),
        "-H",
        &format!("{KEY_HEADER}: ana"),
    ]);
    command.arg(format!("http://{address}/"));
    let text = process::capture(&mut command)?;
    let run = parse(&text).with_context(|| format!("wrk printed no result: {text}"))?;
    // A refused request does less work: its time would say nothing.
    if let Some(line) = text.lines().find(|line| {
        let line = line.trim_start();
        line.starts_with("Non-2xx") || line.starts_with("Socket errors")
    }) {
        bail!(
            "not every request to {address} was answered 200: {}",
            line.trim()
        );
    }
    Ok(run)
}

fn parse(text: &str) -> Option<Run> {
    let line = |what: &str| text.lines().find(|line| line.contains(what));
    let requests = line(" requests in ")?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    let per_second = line("Requests/sec:")?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()?;
    Some(Run {
        requests,
        per_second,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_wrk_is_read() {
        let text = "Running 1s test @ http://127.0.0.1:8080/\n  1 threads and 16 connections\n  \
                    Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   350.10us\n  \
                    24322 requests in 1.00s, 3.20MB read\nRequests/sec:  24317.11\n\
                    Transfer/sec:      3.20MB\n";
        assert_eq!(
            parse(text),
            Some(Run {
                requests: 24_322,
                per_second: 24_317.11
            })
        );
        assert_eq!(parse("unable to connect"), None);
    }
}
