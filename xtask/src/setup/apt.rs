//! Packages of a Debian-like distribution, where root may install them.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Result, bail};

use crate::process;
use crate::setup::Search;

/// Looks for programs on PATH, each with the package that brings it.
pub(crate) fn search(programs: &[(&str, &str)]) -> Result<Search> {
    let mut places = Vec::new();
    for (program, _) in programs {
        match process::find_on_path(program) {
            Some(place) => places.push(place.display().to_string()),
            None => return Ok(Search::Missing(format!("no {program} on PATH"))),
        }
    }
    Ok(Search::Found(places.join(", ")))
}

/// Installs packages, refreshing the package lists first (once per run of xtask).
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let Some(privilege) = privilege() else {
        bail!("{}", refusal(packages))
    };
    static LISTS: OnceLock<()> = OnceLock::new();
    if LISTS.get().is_none() {
        process::show_and_run(apt_get(privilege).arg("update"))?;
        let _ = LISTS.set(());
    }
    let options = [
        "install",
        "-y",
        "--no-install-recommends",
        "-o",
        "Dpkg::Use-Pty=0",
    ];
    process::show_and_run(apt_get(privilege).args(options).args(packages))
}

/// Stops services that a package has just brought and started, for good: we run our own.
pub(crate) fn stop_services(services: &[&str]) -> Result<()> {
    if !Path::new("/run/systemd/system").is_dir() {
        // Nobody starts services then.
        return Ok(());
    }
    let Some(privilege) = privilege() else {
        return Ok(());
    };
    let mut command = as_root(privilege);
    process::show_and_run(
        command
            .args(["systemctl", "disable", "--now"])
            .args(services),
    )
}

/// Returns the sentence that says what a user without root, or without apt, can do.
fn refusal(packages: &[&str]) -> String {
    let packages = packages.join(" ");
    if process::find_on_path("apt-get").is_some() {
        format!(
            "installing {packages} needs root or sudo: run `apt-get install {packages}` as root"
        )
    } else {
        format!("this system has no apt-get to install {packages} with")
    }
}

/// How this process may run apt-get.
#[derive(Clone, Copy)]
enum Privilege {
    Root,
    /// sudo may ask for a password.
    Sudo,
    /// Nobody is there to be asked: sudo has to work without.
    SilentSudo,
}

fn privilege() -> Option<Privilege> {
    process::find_on_path("apt-get")?;
    let root = process::capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if root {
        return Some(Privilege::Root);
    }
    process::find_on_path("sudo")?;
    if std::io::stdin().is_terminal() {
        Some(Privilege::Sudo)
    } else {
        Some(Privilege::SilentSudo)
    }
}

fn apt_get(privilege: Privilege) -> Command {
    let mut command = as_root(privilege);
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
    command
}

/// The beginning of a command that root runs, with settings of its environment first.
fn as_root(privilege: Privilege) -> Command {
    let words: &[&str] = match privilege {
        Privilege::Root => &["env"],
        Privilege::Sudo => &["sudo", "env"],
        Privilege::SilentSudo => &["sudo", "-n", "env"],
    };
    let mut command = Command::new(words.first().copied().unwrap_or("env"));
    command.args(words.iter().skip(1));
    command
}
