//! The example server of the Rate Limit Service protocol, for those who ask one.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::bench::rate_limit::limiter::DOMAIN;
use crate::process;
use crate::workspace::Workspace;

/// A running server. Dropping it ends the process; so does the end of this one, whose pipe it reads.
pub(crate) struct Service {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Service {
    /// Compiles and starts it, with a limit that no measurement reaches.
    pub(crate) fn start(workspace: &Workspace) -> Result<Self> {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--profile", "host", "--package", "rls-server"]);
        process::run(&mut cargo).context("rls-server doesn't compile")?;
        let mut child = Command::new(workspace.cargo_target.join("host/rls-server"))
            .args([DOMAIN, "1000000000", "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("can't start rls-server")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no pipe")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ");
        let address = address
            .and_then(|address| address.parse().ok())
            .with_context(|| format!("rls-server said {line:?}"))?;
        Ok(Self { child, address })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
