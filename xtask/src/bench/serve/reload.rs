//! A minute at full speed, while the configuration and the module change every second.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Served;
use crate::bench::procfs;
use crate::bench::wrk::{self, Answers, Load};
use crate::process;

const SECONDS: u32 = 60;

/// Loads the gateway and reloads it; an answer other than 200 or a broken connection is an error.
pub(crate) fn measure(served: Served) -> Result<Value> {
    let Served {
        gateway,
        address,
        file,
    } = served;
    let load = thread::spawn(move || {
        let load = Load::Header("x-client", "ana".to_owned());
        wrk::run(address, SECONDS, &load, Answers::Served)
    });
    let text = std::fs::read_to_string(&file)?;
    let began = Instant::now();
    let mut asked = 0_u32;
    let mut done = 0_u32;
    let mut slowest = Duration::ZERO;
    while !load.is_finished() {
        asked += 1;
        let name = if asked.is_multiple_of(2) {
            "gateway"
        } else {
            "other"
        };
        let changed = text.replace(
            "stat_prefix: gateway",
            &format!("stat_prefix: gateway\n          server_name: {name}"),
        );
        std::fs::write(&file, changed)?;
        let sent = Instant::now();
        process::run(
            Command::new("kill")
                .arg("-HUP")
                .arg(gateway.pid().to_string()),
        )?;
        // Access-log lines come on the same way.
        while let Some(line) = gateway.next_line(Duration::from_secs(5)) {
            if line.starts_with("reloaded ") {
                done += 1;
                slowest = slowest.max(sent.elapsed());
                break;
            }
        }
        let next = Duration::from_secs(u64::from(asked));
        thread::sleep(next.saturating_sub(began.elapsed()));
    }
    let run = match load.join() {
        Ok(run) => run.context("a request has failed while the gateway reloaded")?,
        Err(_) => bail!("the load has ended with a panic"),
    };
    let resident = procfs::resident_kib(gateway.pid())? / 1_024;
    println!(
        "\n{done} of {asked} reloads in {SECONDS} s under load: {} requests, none failed, \
         {:.0} a second; the slowest reload took {:.1} ms, access log included; {resident} MiB \
         resident",
        run.requests,
        run.per_second,
        slowest.as_secs_f64() * 1_000.0,
    );
    Ok(json!({
        "reloads": done, "asked": asked, "requests": run.requests,
        "requests_per_second": run.per_second,
        "slowest_reload_ms": slowest.as_secs_f64() * 1_000.0,
        "resident_mib": resident,
    }))
}
