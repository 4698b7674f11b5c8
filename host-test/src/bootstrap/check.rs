//! `host-test check ENVOY.yaml`: everything that can be known before serving.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use log::LevelFilter;

use super::{LoadError, load};
use crate::clock::Clock;
use crate::serve::{log_level, plugins, to_stderr};
use crate::shared::Shared;
use crate::worker::Environment;

/// Arguments of `host-test check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Envoy bootstrap file (YAML).
    #[arg(value_name = "ENVOY.yaml")]
    pub file: PathBuf,
    /// Warn about fields that the gateway doesn't support instead of refusing them.
    #[arg(long)]
    pub lenient: bool,
    /// Least severe level of plugins' log lines: off, error, warn, info, debug, trace.
    #[arg(long, default_value = "error", value_name = "LEVEL", value_parser = log_level)]
    pub log_level: LevelFilter,
}

/// Validates a bootstrap and, in a throw-away VM each, the configuration of its plugins: 0 if all is
/// well, 1 if something is wrong, 2 if the file can't be read.
pub fn check(args: &CheckArgs) -> ExitCode {
    let loaded = match load(&args.file, args.lenient) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprint!("{error}");
            return match error {
                LoadError::Unreadable(_) => ExitCode::from(2),
                LoadError::Invalid(_) => ExitCode::FAILURE,
            };
        }
    };
    if !loaded.warnings.is_empty() {
        eprintln!("passed over because of --lenient:\n{}", loaded.warnings);
    }
    let environment = Environment {
        shared: Arc::new(Shared::default()),
        clock: Clock::real(),
        log: to_stderr(),
        log_level: args.log_level,
        seed: 0,
        observe: Default::default(),
    };
    let mut report = loaded.report;
    let plugins = plugins::load(&loaded.bootstrap, &environment, &mut report);
    if !report.is_empty() {
        eprint!("{report}");
        return ExitCode::FAILURE;
    }
    let sentence = format!(
        "{} is valid: {}, {}, {}",
        args.file.display(),
        count(loaded.bootstrap.listeners.len(), "listener"),
        count(loaded.bootstrap.clusters.len(), "cluster"),
        count(plugins.all.len(), "plugin"),
    );
    // Whoever started this may not care to read it.
    let _ = writeln!(io::stdout(), "{sentence}");
    ExitCode::SUCCESS
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
