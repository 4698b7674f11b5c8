//! `host-test run`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use host_test::envoy::{NO_ENVOY, find_envoy};
use host_test::scenario::report::{Format, Summary, render};
use host_test::scenario::{HostKind, Hosts, run_files, scenario_files};

use super::{BAD_USAGE, print};

/// Run scenario files, on our host, on the real Envoy, or on both and compare.
#[derive(Args, Debug)]
pub(super) struct RunArguments {
    /// Where to run them.
    #[arg(long, value_enum, default_value = "wasmtime")]
    host: HostArgument,
    /// How to report.
    #[arg(long, value_enum, default_value = "pretty")]
    format: FormatArgument,
    /// Scenario files, or folders with .yaml files.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum HostArgument {
    /// Our own.
    Wasmtime,
    /// The real one: $ENVOY_BIN, `envoy` on the PATH, or the one of `cargo xtask setup`.
    Envoy,
    /// Both; any difference in what is seen is a failure.
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArgument {
    /// Text; the last line is the count alone.
    Pretty,
    /// One JSON document.
    Json,
    /// JUnit's XML.
    Junit,
}

impl RunArguments {
    /// Runs the scenarios; an error is one sentence about the usage.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let hosts = match self.host {
            HostArgument::Wasmtime => Hosts::One(HostKind::Wasmtime),
            HostArgument::Envoy => Hosts::One(HostKind::Envoy),
            HostArgument::Both => Hosts::Both,
        };
        if hosts != Hosts::One(HostKind::Wasmtime) && find_envoy().is_none() {
            bail!(NO_ENVOY);
        }
        let format = match self.format {
            FormatArgument::Pretty => Format::Pretty,
            FormatArgument::Json => Format::Json,
            FormatArgument::Junit => Format::Junit,
        };
        let runs = match run_files(&scenario_files(&self.paths)?, hosts) {
            Ok(runs) => runs,
            Err(errors) => {
                for error in errors {
                    eprintln!("{error}");
                }
                return Ok(ExitCode::from(BAD_USAGE));
            }
        };
        print(&render(format, &runs));
        Ok(if Summary::of(&runs).failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
