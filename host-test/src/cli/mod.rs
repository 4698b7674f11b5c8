//! The command line: what there is to say, and which part of the library does it.

mod bench;
mod configuration;
mod explain_hash;
mod explain_token;
mod inspect;
mod run;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use host_test::bootstrap::{self, CheckArgs};
use host_test::plugin_tester::{check_suite, is_suite};
use host_test::serve::{self, ServeArgs};

use self::bench::BenchArguments;
use self::explain_hash::ExplainHashArguments;
use self::explain_token::ExplainTokenArguments;
use self::inspect::InspectArguments;
use self::run::RunArguments;

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
    Bench(BenchArguments),
    /// Validate an Envoy bootstrap and the configuration of each of its plugins, or a plugin-tester
    /// suite with the files that it names.
    Check(CheckArgs),
    ExplainHash(ExplainHashArguments),
    ExplainToken(ExplainTokenArguments),
    Inspect(InspectArguments),
    Run(RunArguments),
    /// Serve an Envoy bootstrap on this machine.
    Serve(ServeArgs),
}

impl Arguments {
    /// Does what was asked for. An error is one sentence about a bad usage or file.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Bench(arguments) => arguments.run(),
            Command::Check(arguments) if is_suite(&arguments.file) => {
                print(&check_suite(&arguments.file)?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Check(arguments) => Ok(bootstrap::check(&arguments)),
            Command::ExplainHash(arguments) => arguments.run(),
            Command::ExplainToken(arguments) => arguments.run(),
            Command::Inspect(arguments) => arguments.run(),
            Command::Run(arguments) => arguments.run(),
            Command::Serve(arguments) => Ok(serve::run(&arguments)),
        }
    }
}

/// Prints to standard output; a reader that has left is no error.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
