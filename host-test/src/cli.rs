//! The command line: what there is to say, and which part of the library does it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use host_test::envoy::{NO_ENVOY, find_envoy};
use host_test::inspect::{self, inspect};
use host_test::scenario::report::{Format, Summary, render};
use host_test::scenario::{HostKind, Hosts, run_files, scenario_files};

/// Exit code of a bad usage or file, as clap's own.
pub(crate) const BAD_USAGE: u8 = 2;

/// A proxy-wasm host as faithful as Envoy 1.40, for tests and for a laptop.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(InspectArguments),
    Run(RunArguments),
}

/// Show what a module is and what Envoy would refuse in it. Exit code 1 if it would refuse it.
#[derive(Args, Debug)]
struct InspectArguments {
    /// How to show it.
    #[arg(long, value_enum, default_value = "pretty")]
    format: InspectFormat,
    /// The module.
    module: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum InspectFormat {
    /// Text.
    Pretty,
    /// One JSON document.
    Json,
}

/// Run scenario files, on our host, on the real Envoy, or on both and compare.
#[derive(Args, Debug)]
struct RunArguments {
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

impl Arguments {
    /// Does what was asked for. An error is one sentence about a bad usage or file.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Inspect(arguments) => arguments.run(),
            Command::Run(arguments) => arguments.run(),
        }
    }
}

impl InspectArguments {
    fn run(self) -> anyhow::Result<ExitCode> {
        let path = self.module.as_path();
        let shown = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("{shown} can't be read"))?;
        let inspection = inspect(path, &bytes).map_err(|cause| anyhow!("{shown}: {cause}"))?;
        print(&match self.format {
            InspectFormat::Pretty => inspect::pretty(path, &inspection),
            InspectFormat::Json => inspect::json(path, &inspection),
        });
        Ok(if inspection.problems.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

impl RunArguments {
    fn run(self) -> anyhow::Result<ExitCode> {
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

/// Prints to standard output; a reader that has left is no error.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
