//! A gateway as a child process: the real Envoy or `host-test serve`, started on a bootstrap and
//! ended with this process, whatever way this process ends.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cli::Host;
use crate::http;
use crate::process;
use crate::setup::envoy::Envoy;
use crate::setup::{self, envoy};
use crate::workspace::Workspace;

/// Longest time from start to readiness: wasm compilation on a busy machine is in it.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Lines of the gateway's log that an error quotes.
const QUOTED_LINES: usize = 8;

/// How to start a gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    /// The program.
    pub(crate) host: Host,
    /// Its bootstrap.
    pub(crate) bootstrap: &'a Path,
    /// Names of the listeners that the bootstrap defines.
    pub(crate) listeners: &'a [&'a str],
    /// The admin address that the bootstrap defines.
    pub(crate) admin: SocketAddr,
    /// Worker threads.
    pub(crate) workers: u32,
    /// File for what it writes to standard error.
    pub(crate) log: &'a Path,
}

/// A running gateway. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    /// Lines of its standard output, where access logs go.
    lines: Receiver<String>,
    log: PathBuf,
}

/// What host-test is compiled for. Its dependencies, wasmtime above all, are the same in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Benchmarks: all that the optimizer can do.
    Speed,
    /// Tests and the demo: compiled in half the time.
    Tests,
}

impl Purpose {
    /// The setting of the profile `host`, for cargo's `--config`.
    pub(crate) const fn setting(self) -> &'static str {
        match self {
            Self::Speed => "profile.host.package.host-test.codegen-units=1",
            Self::Tests => "profile.host.package.host-test.opt-level=1",
        }
    }
}

/// Makes sure that the program of a host is there: installs Envoy, or compiles host-test.
pub(crate) fn prepare(workspace: &Workspace, host: Host, purpose: Purpose) -> Result<()> {
    match host {
        Host::Envoy => setup::ensure(workspace, &[&envoy::TOOL]),
        Host::Wasmtime => {
            let mut cargo = workspace.cargo();
            cargo.args(["--config", purpose.setting(), "build"]);
            cargo.args(["--profile", "host", "--package", "host-test"]);
            process::run(&mut cargo).context("host-test doesn't compile")
        }
    }
}

/// Returns the compiled `host-test`.
pub(crate) fn host_test(workspace: &Workspace) -> PathBuf {
    workspace.cargo_target.join("host/host-test")
}

/// Returns the command that starts a gateway, to be run in the root.
pub(crate) fn command(workspace: &Workspace, plan: &Plan<'_>) -> Result<Command> {
    let mut command = dies_with_us(&program(workspace, plan.host)?);
    match plan.host {
        Host::Envoy => {
            command.arg("-c").arg(plan.bootstrap);
            // Access logs reach a reader at once; Envoy would keep them for 10 s.
            command.args(["--file-flush-interval-msec", "20", "--log-level", "warn"]);
            // Two Envoys on a machine would otherwise fight over shared memory for hot restart.
            command.arg("--disable-hot-restart");
        }
        Host::Wasmtime => {
            command
                .arg("serve")
                .arg(plan.bootstrap)
                .args(["--log-level", "warn"]);
        }
    }
    command.args(["--concurrency", &plan.workers.to_string()]);
    command.current_dir(&workspace.root);
    Ok(command)
}

impl Gateway {
    /// Starts a gateway and waits until it is ready to serve.
    pub(crate) fn start(workspace: &Workspace, plan: Plan<'_>) -> Result<Self> {
        Self::start_with(workspace, plan, &[])
    }

    /// The same with more flags, which are the program's own.
    pub(crate) fn start_with(
        workspace: &Workspace,
        plan: Plan<'_>,
        flags: &[&str],
    ) -> Result<Self> {
        let mut command = command(workspace, &plan)?;
        command.args(flags);
        let log = File::create(plan.log)
            .with_context(|| format!("can't write {}", plan.log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("can't start `{}`", process::shown(&command)))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(Result::ok);
                // An error means that the gateway was dropped: nobody listens any more.
                lines.for_each(|line| drop(sender.send(line)));
            });
        }
        let mut gateway = Self {
            child,
            lines,
            log: plan.log.to_path_buf(),
        };
        match plan.host {
            Host::Envoy => gateway.wait_for_admin(plan.admin)?,
            Host::Wasmtime => gateway.wait_for_listeners(plan.listeners)?,
        }
        Ok(gateway)
    }

    /// Returns the id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the next line of standard output, at most waiting for `limit`.
    pub(crate) fn next_line(&self, limit: Duration) -> Option<String> {
        self.lines.recv_timeout(limit).ok()
    }

    /// Prints standard output until the gateway ends, which is an error unless it was told to.
    pub(crate) fn follow(mut self) -> Result<()> {
        for line in &self.lines {
            println!("{line}");
        }
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        bail!("the gateway ended ({status}): {}", self.last_words())
    }

    fn wait_for_admin(&mut self, admin: SocketAddr) -> Result<()> {
        let started = Instant::now();
        loop {
            self.expect_alive()?;
            if http::get(admin, "/ready").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if started.elapsed() > START_LIMIT {
                bail!(
                    "Envoy wasn't ready after {} s: {}",
                    START_LIMIT.as_secs(),
                    self.last_words()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a line `listening on ADDRESS (LISTENER)` of each listener.
    fn wait_for_listeners(&mut self, listeners: &[&str]) -> Result<()> {
        let started = Instant::now();
        let mut waiting: Vec<String> = listeners.iter().map(|name| format!("({name})")).collect();
        while !waiting.is_empty() {
            match self
                .lines
                .recv_timeout(START_LIMIT.saturating_sub(started.elapsed()))
            {
                Ok(line) if line.starts_with("listening on ") => {
                    waiting.retain(|name| !line.ends_with(name.as_str()));
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = START_LIMIT.as_secs();
                    bail!(
                        "host-test wasn't ready after {seconds} s: {}",
                        self.last_words()
                    );
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("the gateway didn't start ({status}): {}", self.last_words());
                }
            }
        }
        Ok(())
    }

    fn expect_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the gateway didn't start ({status}): {}", self.last_words());
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let words = process::tail(&String::from_utf8_lossy(&text), QUOTED_LINES);
        if words.is_empty() {
            "it said nothing".to_owned()
        } else {
            words
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        process::kill(&mut self.child);
    }
}

fn program(workspace: &Workspace, host: Host) -> Result<PathBuf> {
    match host {
        Host::Envoy => Ok(Envoy::find(workspace)?.program),
        Host::Wasmtime => Ok(host_test(workspace)),
    }
}

/// Returns a command whose process the kernel ends when this one is gone, even when this one is
/// killed and runs no destructor. Ctrl-C needs no such help: the terminal signals both.
fn dies_with_us(program: &Path) -> Command {
    // setpriv (util-linux) becomes the program, so the process id is the program's own.
    let Some(setpriv) = process::find_on_path("setpriv") else {
        return Command::new(program);
    };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Returns an error that names the role of a port that another process listens on.
pub(crate) fn expect_free(address: SocketAddr, role: &str) -> Result<()> {
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("port {} is in use, but {role} needs it", address.port())
        }
        Err(error) => Err(error).with_context(|| format!("can't use {address} for {role}")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_its_role() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("some port is free");
        let address = taken.local_addr().expect("it is bound");
        let error = expect_free(address, "the gateway").expect_err("it is taken");
        let port = address.port();
        assert_eq!(
            error.to_string(),
            format!("port {port} is in use, but the gateway needs it")
        );
        drop(taken);
        expect_free(address, "the gateway").expect("it is free again");
    }
}
