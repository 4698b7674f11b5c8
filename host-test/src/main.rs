//! The `host-test` command.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Arguments::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("host-test: {error:#}");
            ExitCode::from(cli::BAD_USAGE)
        }
    }
}
