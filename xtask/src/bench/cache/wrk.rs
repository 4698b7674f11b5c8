//! Loads of wrk whose slowest answers count as well.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::workspace::Workspace;

/// One run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) p99_millis: f64,
}

/// Writes a script that puts a number behind the path, another one for each request.
pub(crate) fn counting(workspace: &Workspace) -> Result<PathBuf> {
    let script = workspace.target("bench/cache-count.lua");
    let text = "local n = 0\nrequest = function()\n  n = n + 1\n  \
                return wrk.format(nil, wrk.path .. n)\nend\n";
    std::fs::write(&script, text).with_context(|| format!("can't write {}", script.display()))?;
    Ok(script)
}

/// Loads a path for some seconds over 32 kept connections.
pub(crate) fn run(
    address: SocketAddr,
    path: &str,
    script: Option<&Path>,
    seconds: u32,
) -> Result<Run> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c32", "--latency", &format!("-d{seconds}s")]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    command.arg(format!("http://{address}{path}"));
    let text = process::capture(&mut command)?;
    ensure!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "not every answer was good: {text}"
    );
    parse(&text).with_context(|| format!("wrk printed no result: {text}"))
}

fn parse(text: &str) -> Option<Run> {
    let line = |what: &str| text.lines().find(|line| line.contains(what));
    let word = |what: &str, at: usize| line(what)?.split_whitespace().nth(at);
    Some(Run {
        requests: word(" requests in ", 0)?.parse().ok()?,
        per_second: word("Requests/sec:", 1)?.parse().ok()?,
        p99_millis: millis(word("99%", 1)?)?,
    })
}

fn millis(text: &str) -> Option<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0)];
    let (unit, scale) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(number * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_wrk_is_read() {
        let text = "  Latency Distribution\n     50%  350.10us\n     99%    1.25ms\n  \
                    24322 requests in 1.00s, 3.20MB read\nRequests/sec:  24317.11\n";
        let run = parse(text).expect("a result");
        assert_eq!(
            (run.requests, run.per_second, run.p99_millis),
            (24_322, 24_317.11, 1.25)
        );
        assert_eq!(millis("500us"), Some(0.5));
        assert_eq!(millis("2s"), Some(2000.0));
    }
}
