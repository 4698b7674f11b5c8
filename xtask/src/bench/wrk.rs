//! wrk, the load generator of the speed measurements: a client in C that costs the gateway's cores
//! less than any other at hand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

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

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// The same request over and over, with this header.
    Header(&'static str, String),
    /// What a script of wrk makes.
    Script(PathBuf),
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answers {
    /// 200, each time. A refused request does less work: its time would say nothing.
    Served,
    /// A refusal, each time.
    Refused,
}

/// Loads an address for some seconds over 16 kept connections.
pub(crate) fn run(address: SocketAddr, seconds: u32, load: &Load, answers: Answers) -> Result<Run> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c16", &format!("-d{seconds}s")]);
    match load {
        Load::Header(name, value) => command.arg("-H").arg(format!("{name}: {value}")),
        Load::Script(script) => command.arg("-s").arg(script),
    };
    command.arg(format!("http://{address}/"));
    let text = process::capture(&mut command)?;
    let run = parse(&text).with_context(|| format!("wrk printed no result: {text}"))?;
    let refused = refused(&text);
    let expected = match answers {
        Answers::Served => 0,
        Answers::Refused => run.requests,
    };
    if refused != expected || text.contains("Socket errors") {
        bail!(
            "{refused} of {} requests to {address} were refused, {expected} should have been: {text}",
            run.requests
        );
    }
    Ok(run)
}

/// Reads `Non-2xx or 3xx responses: 12`.
fn refused(text: &str) -> u64 {
    let line = text.lines().find(|line| line.contains("Non-2xx"));
    let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    number.unwrap_or(0)
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
        assert_eq!(refused(text), 0);
        assert_eq!(refused("  Non-2xx or 3xx responses: 24322\n"), 24_322);
    }
}
