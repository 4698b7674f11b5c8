//! `host-test run`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use host_test::envoy::{NO_ENVOY, find_envoy};
use host_test::inspector::Mask;
use host_test::plugin_tester::{LogLevel, Overrides, is_suite};
use host_test::scenario::report::{Format, Summary, html, render};
use host_test::scenario::{
    HostKind, Hosts, Rechunk, RunOptions, SourceError, list_files, run_files_with, scenario_files,
};

use super::{BAD_USAGE, print};

/// Run scenario files, on our host, on the real Envoy, or on both and compare; and suites of
/// Google's plugin tester.
#[derive(Args, Debug)]
pub(super) struct RunArguments {
    /// Where to run them.
    #[arg(long, value_enum, default_value = "wasmtime")]
    host: HostArgument,
    /// How to report.
    #[arg(long, value_enum, default_value = "pretty")]
    format: FormatArgument,
    /// Write the snapshots that scenarios are held against, where they are missing or differ.
    #[arg(long)]
    update: bool,
    /// Carry each scenario out so many times more with its bodies in other pieces; any difference
    /// is a failure.
    #[arg(long, value_name = "N")]
    rechunk: Option<u64>,
    /// Decides where --rechunk cuts.
    #[arg(long, default_value_t = 0, requires = "rechunk")]
    seed: u64,
    /// Write a page that shows what filters did to each request on our host: one file, which needs
    /// nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Show credentials in it (authorization, cookies, tokens) instead of masking them.
    #[arg(long, requires = "html")]
    html_secrets: bool,
    /// Only show the names of what would be run.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    suites: SuiteArguments,
    /// Scenario files, plugin-tester suites, or folders with such files.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
}

/// What concerns the suites of Google's plugin tester.
#[derive(Args, Debug)]
#[command(next_help_heading = "Of plugin-tester suites")]
struct SuiteArguments {
    /// The module, instead of the suite's `wasm_path`.
    #[arg(long, value_name = "MODULE")]
    plugin: Option<PathBuf>,
    /// The plugin's configuration, instead of the suite's `config_path`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where log lines are appended, instead of the suite's `log_path`.
    #[arg(long, alias = "logfile", value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// The least severe log lines that count, instead of the suite's `log_level`.
    #[arg(
        long,
        alias = "loglevel",
        value_enum,
        ignore_case = true,
        value_name = "LEVEL"
    )]
    log_level: Option<LevelArgument>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelArgument {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

impl SuiteArguments {
    fn overrides(&self) -> Overrides {
        Overrides {
            plugin: self.plugin.clone(),
            config: self.config.clone(),
            log_file: self.log_file.clone(),
            log_level: self.log_level.map(|level| match level {
                LevelArgument::Trace => LogLevel::Trace,
                LevelArgument::Debug => LogLevel::Debug,
                LevelArgument::Info => LogLevel::Info,
                LevelArgument::Warn => LogLevel::Warn,
                LevelArgument::Error => LogLevel::Error,
                LevelArgument::Critical => LogLevel::Critical,
            }),
        }
    }
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
        let files = scenario_files(&self.paths)?;
        let overrides = self.suites.overrides();
        if overrides != Overrides::default() && !files.iter().any(|file| is_suite(file)) {
            bail!("--plugin, --config, --log-file and --log-level are for plugin-tester suites");
        }
        if self.list {
            let listed = list_files(&files, &overrides).map(|names| {
                for (path, name) in names {
                    print(&format!("{}: {name}\n", path.display()));
                }
                ExitCode::SUCCESS
            });
            return Ok(listed.unwrap_or_else(|errors| refused(&errors)));
        }
        if self.rechunk.is_some() && hosts == Hosts::One(HostKind::Envoy) {
            bail!("--rechunk is for our own host: say --host wasmtime or both");
        }
        if self.update && hosts == Hosts::One(HostKind::Envoy) {
            bail!("snapshots are written by our own host: say --host wasmtime or both");
        }
        if self.html.is_some() && hosts == Hosts::One(HostKind::Envoy) {
            bail!("--html is about our own host: say --host wasmtime or both");
        }
        let mask = if self.html_secrets {
            Mask::Off
        } else {
            Mask::On
        };
        let options = RunOptions {
            report: self.html.as_ref().map(|_| mask),
            hosts,
            overrides,
            update: self.update,
            rechunk: self.rechunk.map(|rounds| Rechunk {
                rounds,
                seed: self.seed,
            }),
        };
        let runs = match run_files_with(&files, &options) {
            Ok(runs) => runs,
            Err(errors) => return Ok(refused(&errors)),
        };
        if let Some(path) = &self.html {
            std::fs::write(path, html(&runs, mask))
                .with_context(|| format!("{} can't be written", path.display()))?;
        }
        print(&render(format, &runs));
        Ok(if Summary::of(&runs).failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn refused(errors: &[SourceError]) -> ExitCode {
    for error in errors {
        eprintln!("{error}");
    }
    ExitCode::from(BAD_USAGE)
}
