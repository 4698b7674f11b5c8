//! `cargo xtask`: set-up, build, demo, tests and benchmarks of Penstock.
//!
//! One module per command. Everything here is the standard library and a few small crates, so
//! that the first `cargo xtask` of a fresh clone compiles in seconds. A user's mistake ends in one
//! sentence on standard error: exit code 2 for a wrong command line, 1 for everything else. For
//! Unix, as Envoy is.

mod bench;
mod build;
mod cli;
mod demo;
mod dist;
mod gateway;
mod http;
mod lint;
mod process;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use crate::cli::{Command, Invocation};
use crate::workspace::Workspace;

fn main() -> ExitCode {
    end_quietly_without_reader();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = match cli::parse(&arguments) {
        Ok(Invocation::Run(command)) => command,
        Ok(Invocation::Help(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("error: {mistake}");
            return ExitCode::from(2);
        }
    };
    match run(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    let workspace = Workspace::discover()?;
    match command {
        Command::Bench(options) => bench::run(&workspace, options),
        Command::Build(None) => build::run(&workspace),
        Command::Build(Some(module)) => build::run(&workspace.with_modules(&[module.as_str()])?),
        Command::Demo(options) => demo::run(&workspace, options),
        Command::Dist => dist::run(&workspace),
        Command::Lint => lint::run(&workspace),
        Command::Setup(options) => setup::run(&workspace, *options),
        Command::Test(options) => test::run(&workspace, options),
    }
}

/// Makes `cargo xtask … | head` end when `head` does, where the standard library would panic.
fn end_quietly_without_reader() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        if message.starts_with("failed printing to stdout") {
            std::process::exit(1);
        }
        default(panic);
    }));
}
