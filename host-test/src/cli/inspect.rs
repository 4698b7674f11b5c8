//! `host-test inspect`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use host_test::inspect::{self, inspect};

use super::print;

/// Show what a module is and what Envoy would refuse in it. Exit code 1 if it would refuse it.
#[derive(Args, Debug)]
pub(super) struct InspectArguments {
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

impl InspectArguments {
    /// Shows the module; an error is one sentence about the file.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
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
