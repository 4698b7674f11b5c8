//! One request through the library: its time, by host-test's own bench program, and its hostcalls and
//! instructions, by `host-test bench`.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{print_header, print_row};
use crate::gateway::{self, Purpose};
use crate::process;
use crate::workspace::Workspace;

/// The scenarios of the guests.
const FOLDER: &str = "host-test/bench-guest/scenarios";

/// A guest, what it shows, and the microseconds that a request may take.
const ROWS: [(&str, &str, Option<f64>); 4] = [
    ("no-op", "a request, no hostcall", Some(1.0)),
    ("two-headers", "a request, two header calls", Some(1.3)),
    ("eleven-hostcalls", "a request, eleven hostcalls", Some(4.5)),
    ("rate-limit", "a request, rate-limit", None),
];

/// Milliseconds that a fresh host and its first request may take, the module being compiled.
const FRESH: f64 = 0.5;

/// Measures and prints the table's rows.
pub(crate) fn measure(workspace: &Workspace) -> Result<Value> {
    let times = library(workspace)?;
    print_header("Library, one worker, epochs and strict mode on, microseconds");
    let mut rows = Vec::new();
    for (name, what, target) in ROWS {
        let row = times.iter().find(|row| row["name"] == name);
        let row = row.with_context(|| format!("the bench program says nothing of {name}"))?;
        let request = Spread::read(&row["request"], 1_000.0)?;
        let shown = target.map_or_else(String::new, |target| format!("{target:.1}"));
        let met = target.map(|target| request.median <= target);
        print_row(what, &shown, &request.to_string(), met);
        let (hostcalls, instructions) = counts(workspace, name)?;
        println!("    {hostcalls} hostcalls, {instructions} wasm instructions, as counted twice");
        let fresh = Spread::read(&row["fresh_host_and_request"], 1_000_000.0)?;
        rows.push(json!({
            "guest": name, "target_microseconds": target, "microseconds": request.json(),
            "hostcalls": hostcalls, "instructions": instructions,
            "fresh_host_and_request_ms": fresh.json(),
        }));
        if name == "rate-limit" {
            let what = "a fresh host and its first request, rate-limit, ms";
            let met = Some(fresh.median <= FRESH);
            print_row(what, &format!("{FRESH:.1}"), &fresh.to_string(), met);
        }
    }
    Ok(rows.into())
}

/// Runs the bench program.
fn library(workspace: &Workspace) -> Result<Vec<Value>> {
    let mut cargo = workspace.cargo();
    cargo
        .args([
            "--config",
            Purpose::Speed.setting(),
            "bench",
            "--quiet",
            "--profile",
            "host",
        ])
        .args(["--package", "host-test", "--bench", "library"])
        .env("PENSTOCK_WASM_DIR", workspace.target("wasm"));
    let text = process::capture(&mut cargo)?;
    serde_json::from_str(&text).context("the bench program doesn't print JSON")
}

/// Hostcalls and instructions of a scenario's request. Two runs must agree.
fn counts(workspace: &Workspace, scenario: &str) -> Result<(u64, u64)> {
    let once = || -> Result<[u64; 2]> {
        let mut command = Command::new(gateway::host_test(workspace));
        command
            .current_dir(&workspace.root)
            .env("PENSTOCK_WASM_DIR", workspace.target("wasm"))
            .args(["bench", "--json", "--seconds", "1"])
            .arg(format!("{FOLDER}/{scenario}.yaml"));
        let document: Value = serde_json::from_str(&process::capture(&mut command)?)?;
        let request = &document["requests"][0];
        let count = |name: &str| {
            let figure = request[name]["median"].as_u64();
            figure.with_context(|| format!("`host-test bench` doesn't tell the {name}"))
        };
        Ok([count("hostcalls")?, count("instructions")?])
    };
    let (first, second) = (once()?, once()?);
    if first != second {
        bail!("{scenario}: hostcalls and instructions were {first:?}, then {second:?}");
    }
    let [hostcalls, instructions] = first;
    Ok((hostcalls, instructions))
}

/// A median, and between which eight tenths of the rounds lie.
#[derive(Clone, Copy, Debug)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn read(value: &Value, nanoseconds: f64) -> Result<Self> {
        let number = |name: &str| {
            let number = value[name].as_f64().map(|number| number / nanoseconds);
            number.with_context(|| format!("the bench program's {value} has no {name}"))
        };
        Ok(Self {
            low: number("low")?,
            median: number("median")?,
            high: number("high")?,
        })
    }

    fn json(self) -> Value {
        json!({ "low": self.low, "median": self.median, "high": self.high })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.2} ({:.2} to {:.2})",
            self.median, self.low, self.high
        )
    }
}
