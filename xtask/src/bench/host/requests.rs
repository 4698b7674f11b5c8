//! One request through the library: `host-test bench` on a scenario for each guest, in turn.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{print_header, print_row};
use crate::bench::median;
use crate::gateway;
use crate::process;
use crate::workspace::Workspace;

/// Rounds over all scenarios; the figure of a scenario is the median of its rounds' medians.
const ROUNDS: usize = 5;

const FOLDER: &str = "host-test/bench-guest/scenarios";

/// A scenario, what it shows, and the microseconds that a request may take.
const ROWS: [(&str, &str, Option<f64>); 4] = [
    ("no-op", "a request, no hostcall", Some(1.0)),
    ("two-headers", "a request, two header calls", Some(1.3)),
    ("eleven-hostcalls", "a request, eleven hostcalls", Some(4.5)),
    ("rate-limit", "a request, rate-limit", None),
];

/// Milliseconds that a fresh host may take to start, its module being loaded.
const START: f64 = 0.5;

#[derive(Default)]
struct Samples {
    microseconds: Vec<f64>,
    without_plugins: Vec<f64>,
    start_ms: Vec<f64>,
    /// Instructions and hostcalls: the same in every run.
    counts: Vec<(u64, u64)>,
}

/// Measures and prints the table's rows.
pub(crate) fn measure(workspace: &Workspace) -> Result<Value> {
    let mut samples: [Samples; ROWS.len()] = Default::default();
    for _ in 0..ROUNDS {
        for ((file, ..), samples) in ROWS.iter().zip(&mut samples) {
            samples.add(workspace, file)?;
        }
    }
    print_header("Library, one worker, epochs and strict mode on, microseconds");
    let mut rows = Vec::new();
    for ((file, what, target), samples) in ROWS.iter().zip(&mut samples) {
        let time = median(&mut samples.microseconds).context("no rounds")?;
        let empty = median(&mut samples.without_plugins).context("no rounds")?;
        let (instructions, hostcalls) = samples.counts.first().copied().unwrap_or_default();
        let same = samples
            .counts
            .iter()
            .all(|it| *it == (instructions, hostcalls));
        let shown = target.map_or_else(String::new, |target| format!("{target:.1}"));
        let met = target.map(|target| time <= target);
        print_row(what, &shown, &format!("{time:.2}"), met);
        println!(
            "    {hostcalls} hostcalls, {instructions} instructions{}, {empty:.2} us without plugins",
            if same {
                " in every run"
            } else {
                " IN SOME RUNS ONLY"
            }
        );
        rows.push(json!({
            "scenario": file, "microseconds": time, "target": target,
            "without_plugins": empty, "hostcalls": hostcalls, "instructions": instructions,
            "counts_are_the_same_in_every_run": same,
        }));
    }
    let [.., last] = &mut samples;
    let start = median(&mut last.start_ms).context("no rounds")?;
    print_row(
        "a fresh host of one worker, rate-limit, ms",
        &format!("{START:.1}"),
        &format!("{start:.2}"),
        Some(start <= START),
    );
    Ok(json!({ "rows": rows, "fresh_host_ms": start }))
}

impl Samples {
    fn add(&mut self, workspace: &Workspace, file: &str) -> Result<()> {
        let mut command = Command::new(gateway::host_test(workspace));
        command
            .current_dir(&workspace.root)
            .env("PENSTOCK_WASM_DIR", workspace.target("wasm"))
            .args(["bench", "--json", "--seconds", "1"])
            .arg(format!("{FOLDER}/{file}.yaml"));
        let text = process::capture(&mut command)?;
        let document: Value = serde_json::from_str(&text).context("it isn't JSON")?;
        let request = &document["requests"][0];
        let number = |value: &Value| value["median"].as_u64().context("a figure is missing");
        let nanoseconds = number(&request["nanoseconds"])?;
        let empty = number(&request["nanoseconds_without_plugins"])?;
        self.microseconds.push(nanoseconds as f64 / 1_000.0);
        self.without_plugins.push(empty as f64 / 1_000.0);
        let start = number(&document["start_nanoseconds"])?;
        self.start_ms.push(start as f64 / 1_000_000.0);
        let instructions = number(&request["instructions"])?;
        self.counts
            .push((instructions, number(&request["hostcalls"])?));
        Ok(())
    }
}
