//! `host-test bench`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use host_test::scenario::bench;

use super::print;

/// Measure what the requests of a scenario cost: time, hostcalls, wasm instructions.
#[derive(Args, Debug)]
pub(super) struct BenchArguments {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// About how many seconds to measure for.
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u16).range(1..=3_600))]
    seconds: u16,
    /// The scenario file.
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
}

impl BenchArguments {
    /// Measures; an error is one sentence about the file.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let time = Duration::from_secs(self.seconds.into());
        let measured = bench::bench(&self.scenario, time).map_err(|cause| anyhow!(cause))?;
        print(&match self.json {
            true => bench::json(&measured),
            false => bench::pretty(&measured),
        });
        Ok(ExitCode::SUCCESS)
    }
}
