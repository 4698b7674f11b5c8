//! `test`: every test there is.
//!
//! First the crates that are quick to compile, each on its own so that one without tests is
//! noticed; then host-test, which links wasmtime; then the scenarios, in our host and in the real
//! Envoy. A failed suite doesn't stop the ones after it. The last line is the sum.

mod counts;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::cli::{Host, TestOptions};
use crate::gateway::{self, Purpose};
use crate::process;
use crate::setup::envoy::Envoy;
use crate::setup::{self, assembly_script, browser, envoy, identity_provider, openssl, redis};
use crate::test::counts::Counts;
use crate::workspace::Workspace;

/// Packages that have no tests of their own.
const WITHOUT_TESTS: [&str; 5] = [
    "filter-shell",
    "bench-guest",
    "placement-guest",
    "rls-server",
    "sdk-guest",
];

/// Packages whose tests need wasmtime: not run with the dev profile.
const HEAVY: [&str; 2] = ["host-test", "your-first-filter"];

/// The folders of scenarios.
const SCENARIOS: [&str; 2] = ["examples/scenarios", "examples/your-first-filter/scenarios"];

/// Reads counts from a line of output, if it holds any.
type Counter = fn(&str) -> Option<Counts>;

/// One line of the report.
struct Suite {
    name: String,
    counts: Counts,
    /// Tests that were left out, with the reason they give.
    left_out: Vec<String>,
    /// Why it failed, other than by a failed test.
    trouble: Option<String>,
    seconds: f32,
}

/// Runs everything.
pub(crate) fn run(workspace: &Workspace, options: &TestOptions) -> Result<()> {
    if !options.no_envoy {
        setup::ensure(workspace, &[&envoy::TOOL]).context(
            "the scenarios need the real Envoy; `cargo xtask test --no-envoy` leaves it out",
        )?;
    }
    setup::ensure(
        workspace,
        &[
            &identity_provider::TOOL,
            &redis::TOOL,
            &openssl::TOOL,
            &browser::TOOL,
        ],
    )?;
    build::run(workspace)?;
    setup::ensure(workspace, &[&assembly_script::TOOL])?;
    let assembly_script = assembly_script::compile(workspace)?;
    let mut cargo = workspace.cargo();
    process::run(cargo.args(["build", "--package", "rls-server"]))?;
    let environment = Environment::find(workspace, options, assembly_script)?;

    let mut suites = Vec::new();
    for package in &workspace.packages {
        let package = package.as_str();
        if !HEAVY.contains(&package) && !WITHOUT_TESTS.contains(&package) {
            let mut cargo = workspace.cargo();
            environment.equip(cargo.args(["test", "--no-fail-fast", "--package", package]));
            suites.push(suite(package, &mut cargo, counts::of_cargo));
        }
    }

    for package in HEAVY {
        let mut cargo = workspace.cargo();
        cargo.args(["--config", Purpose::Tests.setting(), "test"]);
        cargo.args(["--no-fail-fast", "--profile", "host"]);
        environment.equip(cargo.args(["--package", package]));
        suites.push(suite(package, &mut cargo, counts::of_cargo));
    }

    let host = if options.no_envoy { "wasmtime" } else { "both" };
    let name = format!("scenarios ({host})");
    suites.push(
        match gateway::prepare(workspace, Host::Wasmtime, Purpose::Tests) {
            Ok(()) => {
                let mut command = Command::new(gateway::host_test(workspace));
                command
                    .current_dir(&workspace.root)
                    .args(["run", "--host", host])
                    .args(SCENARIOS);
                environment.equip(&mut command);
                suite(&name, &mut command, counts::of_host_test)
            }
            Err(error) => Suite::not_run(&name, error),
        },
    );
    report(&suites, options)
}

/// What the tests are told about this machine.
struct Environment {
    modules: PathBuf,
    /// The example server, for the global limits.
    rls_server: PathBuf,
    envoy: Option<PathBuf>,
    /// Whether there is a guest of the AssemblyScript SDK.
    assembly_script: bool,
}

impl Environment {
    fn find(workspace: &Workspace, options: &TestOptions, assembly_script: bool) -> Result<Self> {
        let envoy = if options.no_envoy {
            None
        } else {
            Some(Envoy::find(workspace)?.program)
        };
        Ok(Self {
            modules: workspace.target("wasm"),
            rls_server: workspace.target("debug/rls-server"),
            envoy,
            assembly_script,
        })
    }

    fn equip(&self, command: &mut Command) {
        command.env("PENSTOCK_WASM_DIR", &self.modules);
        command.env("PENSTOCK_RLS_SERVER", &self.rls_server);
        if !self.assembly_script {
            command.env("PENSTOCK_NO_ASSEMBLYSCRIPT", "1");
        }
        match &self.envoy {
            Some(program) => command.env("ENVOY_BIN", program),
            // The user may have one set; tests take it for leave to use it.
            None => command
                .env_remove("ENVOY_BIN")
                .env("PENSTOCK_NO_ENVOY", "1"),
        };
    }
}

impl Suite {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            counts: Counts::default(),
            left_out: Vec::new(),
            trouble: None,
            seconds: 0.0,
        }
    }

    fn not_run(name: &str, error: anyhow::Error) -> Self {
        Self {
            trouble: Some(format!("{error:#}")),
            ..Self::new(name)
        }
    }

    fn is_good(&self) -> bool {
        self.trouble.is_none() && self.counts.failed == 0
    }

    /// Reads a program's output to its end, passing it through.
    fn follow(&mut self, command: &mut Command, count: Counter) -> Result<()> {
        let shown = process::shown(command);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start `{shown}`"))?;
        for line in child
            .stdout
            .take()
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines())
        {
            let line = line?;
            println!("{line}");
            self.counts += count(&line).unwrap_or_default();
            self.left_out
                .extend(counts::left_out(&line).map(str::to_owned));
        }
        let status = child.wait()?;
        // A suite that says that tests failed has said enough.
        if !status.success() && self.counts.failed == 0 {
            bail!("`{shown}` failed with {status}");
        }
        if self.counts.passed == 0 && self.counts.failed == 0 {
            bail!("it ran no test");
        }
        Ok(())
    }
}

/// Runs one suite and adds up what it counts.
fn suite(name: &str, command: &mut Command, count: Counter) -> Suite {
    println!("\n== {name} ==");
    let started = Instant::now();
    let mut suite = Suite::new(name);
    if let Err(error) = suite.follow(command, count) {
        suite.trouble = Some(format!("{error:#}"));
    }
    suite.seconds = started.elapsed().as_secs_f32();
    suite
}

fn report(suites: &[Suite], options: &TestOptions) -> Result<()> {
    let mut sum = Counts::default();
    println!(
        "\n{:<24} {:>7} {:>7} {:>8} {:>7}",
        "suite", "passed", "failed", "ignored", "s"
    );
    for suite in suites {
        let Counts {
            passed,
            failed,
            ignored,
        } = suite.counts;
        println!(
            "{:<24} {passed:>7} {failed:>7} {ignored:>8} {:>7.1}",
            suite.name, suite.seconds
        );
        sum += suite.counts;
    }
    for suite in suites {
        if let Some(trouble) = &suite.trouble {
            println!("FAILED: {}: {trouble}", suite.name);
        }
    }
    for left_out in suites.iter().flat_map(|suite| &suite.left_out) {
        println!("SKIPPED: {left_out}");
    }
    if options.no_envoy {
        println!("SKIPPED: every scenario and parity test in the real Envoy (--no-envoy).");
    }
    println!("\n{} passed, {} failed", sum.passed, sum.failed);
    let bad: Vec<&str> = suites
        .iter()
        .filter(|suite| !suite.is_good())
        .map(|suite| suite.name.as_str())
        .collect();
    if !bad.is_empty() {
        bail!("failed: {}", bad.join(", "));
    }
    Ok(())
}
