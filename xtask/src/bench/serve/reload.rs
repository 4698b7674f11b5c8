//! A minute at full speed, while the configuration and all modules change every second.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Served;
use crate::bench::procfs;
use crate::bench::wrk::{self, Answers, Load};
use crate::process;
use crate::workspace::Workspace;

const SECONDS: u32 = 60;

/// The modules, to be written in two forms that differ in bytes alone.
pub(crate) struct Modules {
    folder: String,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Modules {
    /// Copies the modules into a folder of their own.
    pub(crate) fn copy(workspace: &Workspace) -> Result<Self> {
        let path = workspace.target("bench/modules");
        std::fs::create_dir_all(&path)?;
        let mut files = Vec::new();
        for module in &workspace.modules {
            let file = workspace.wasm(&module.name);
            let bytes = std::fs::read(&file)
                .with_context(|| format!("can't read {}", workspace.relative(&file)))?;
            files.push((path.join(format!("{}.wasm", module.name)), bytes));
        }
        let modules = Self {
            folder: workspace.relative(&path),
            files,
        };
        modules.write(false)?;
        Ok(modules)
    }

    /// The folder, as a bootstrap names it.
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// Writes all of them, in the other form with a custom section of their own.
    fn write(&self, other: bool) -> Result<()> {
        const CUSTOM_SECTION: &[u8] = b"\x00\x06\x05other";
        for (path, bytes) in &self.files {
            let tail = if other { CUSTOM_SECTION } else { &[] };
            std::fs::write(path, [bytes, tail].concat())?;
        }
        Ok(())
    }
}

/// Loads the gateway and reloads it; an answer other than 200 or a broken connection is an error.
pub(crate) fn measure(served: Served, modules: &Modules) -> Result<Value> {
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
        let is_other = !asked.is_multiple_of(2);
        let name = if is_other { "other" } else { "gateway" };
        let changed = text.replace(
            "stat_prefix: gateway",
            &format!("stat_prefix: gateway\n          server_name: {name}"),
        );
        std::fs::write(&file, changed)?;
        modules.write(is_other)?;
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
        "\n{done} of {asked} reloads of configuration and modules in {SECONDS} s under load: {} requests, none failed, \
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
