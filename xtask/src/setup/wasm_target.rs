//! The compiler for wasm32-unknown-unknown.
//!
//! Three ways, in this order: the active toolchain's own standard library for the target;
//! `rustup target add`, which makes it so; and on Debian-like systems the packages `rustc-web` and
//! `rust-web-src`, with which cargo builds the standard library itself. The third needs settings
//! (another compiler, unstable features, a linker) that belong to the wasm build alone: they are
//! put on that child process and never into the user's environment.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use crate::process;
use crate::setup::{Search, Tool, apt};
use crate::workspace::{Workspace, at_least};

/// The target of the modules.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler, which can build the standard library from `rust-web-src`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// clippy of that same compiler.
const DEBIAN_CLIPPY: &str = "/usr/bin/clippy-driver";

/// Where Debian keeps the standard library's source, which panic locations name.
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust";

/// The packages that bring all three.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "rust-web-clippy"];

/// Enough for the 30 MB of the target on a slow line.
const RUSTUP_LIMIT: Duration = Duration::from_secs(300);

/// The tool as `setup` sees it.
pub(crate) const TOOL: Tool = Tool {
    name: "wasm target",
    purpose: "to compile the filters",
    optional: false,
    find: search,
    install,
};

/// A compiler for the modules.
#[derive(Debug, PartialEq)]
pub(crate) enum Toolchain {
    /// The active toolchain has the target's standard library.
    Own {
        /// Where that library is.
        library: PathBuf,
    },
    /// Debian's compiler; cargo builds the standard library.
    Debian {
        /// Version of the compiler.
        version: String,
        /// A linker that can make wasm.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// Looks for a compiler. The error says what each way lacks.
    pub(crate) fn find(workspace: &Workspace) -> Result<Self> {
        let own = match own_library(workspace) {
            Ok(library) => return Ok(Self::Own { library }),
            Err(why) => why,
        };
        match debian(workspace) {
            Ok(toolchain) => Ok(toolchain),
            Err(why) => bail!("{own}, and {why}"),
        }
    }

    /// Puts the settings of a wasm build on a cargo command.
    pub(crate) fn apply(&self, workspace: &Workspace, cargo: &mut Command) {
        cargo
            .args(["--target", TARGET])
            .arg("--target-dir")
            .arg(workspace.target("wasm-build"));
        cargo.env("CARGO_ENCODED_RUSTFLAGS", rust_flags(workspace));
        if let Self::Debian { linker, .. } = self {
            cargo
                .arg("-Zbuild-std=std,panic_abort")
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                // rustup puts its own compiler's libraries here.
                .env_remove("LD_LIBRARY_PATH");
        }
    }

    /// Returns the cargo command that runs clippy on packages, warnings being errors.
    pub(crate) fn clippy(&self, workspace: &Workspace, packages: &[&str]) -> Result<Command> {
        let mut cargo = workspace.cargo();
        let own = matches!(self, Self::Own { .. });
        cargo
            .arg(if own { "clippy" } else { "check" })
            .args(["--quiet", "--release"]);
        for package in packages {
            cargo.args(["--package", package]);
        }
        self.apply(workspace, &mut cargo);
        // What a module must not use, tests may: that is another configuration.
        cargo.env("CLIPPY_CONF_DIR", workspace.root.join(".cargo/clippy-wasm"));
        if own {
            cargo.args(["--", "-D", "warnings"]);
        } else {
            if !process::is_executable(Path::new(DEBIAN_CLIPPY)) {
                bail!("{DEBIAN_CLIPPY} is missing: the package rust-web-clippy brings it");
            }
            // What `cargo clippy -- -D warnings` does, without the `cargo` that Debian's clippy
            // would want beside it.
            cargo.env("RUSTC_WORKSPACE_WRAPPER", DEBIAN_CLIPPY);
            let separator = "__CLIPPY_HACKERY__";
            cargo.env("CLIPPY_ARGS", format!("-D{separator}warnings{separator}"));
        }
        Ok(cargo)
    }
}

/// Keeps this machine's paths out of the modules: panic locations carry source paths, and the same
/// sources should make the same module in any folder.
fn rust_flags(workspace: &Workspace) -> String {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let mut flags = vec![format!(
        "--remap-path-prefix={}=penstock",
        workspace.root.display()
    )];
    flags.push(format!("--remap-path-prefix={DEBIAN_SOURCE}=rust"));
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
    // The separator that cargo defines for this variable.
    flags.join("\u{1f}")
}

fn search(workspace: &Workspace) -> Result<Search> {
    Ok(match Toolchain::find(workspace) {
        Ok(Toolchain::Own { library }) => {
            Search::Found(format!("the active toolchain's own, {}", library.display()))
        }
        Ok(Toolchain::Debian { version, linker }) => Search::Found(format!(
            "Debian's rustc {version} and its standard library as source, linker {}",
            linker.display()
        )),
        Err(why) => Search::Missing(why.to_string()),
    })
}

fn install(workspace: &Workspace) -> Result<()> {
    let rustup = match rustup_target_add(workspace) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    println!("    {rustup:#}");
    println!("    trying the distribution's compiler instead");
    apt::install(&DEBIAN_PACKAGES).map_err(|apt| {
        anyhow!("no way to compile for {TARGET}: {rustup:#}, and {apt:#}; https://rustup.rs has it")
    })
}

fn rustup_target_add(workspace: &Workspace) -> Result<()> {
    if process::find_on_path("rustup").is_none() {
        bail!("rustup isn't on PATH");
    }
    let mut command = Command::new("rustup");
    command
        .args(["target", "add", TARGET])
        .current_dir(&workspace.root);
    // Offline or refused has to fail at once, not after minutes of retries.
    command
        .env("RUSTUP_MAX_RETRIES", "0")
        .env("RUSTUP_DOWNLOAD_TIMEOUT", "30");
    println!("    $ {}", process::shown(&command));
    let output = process::output_within(&mut command, RUSTUP_LIMIT)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let message = text
        .lines()
        .find_map(|line| line.strip_prefix("error: "))
        .unwrap_or(&text);
    bail!("`{}` failed: {message}", process::shown(&command))
}

fn own_library(workspace: &Workspace) -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(&workspace.root);
    let library = PathBuf::from(process::capture(&mut command)?.trim());
    let is_std = |name: &str| name.starts_with("libstd-") && name.ends_with(".rlib");
    let complete = std::fs::read_dir(&library).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| is_std(&entry.file_name().to_string_lossy()))
    });
    if complete {
        Ok(library)
    } else {
        bail!("the active toolchain has no standard library for {TARGET}")
    }
}

fn debian(workspace: &Workspace) -> Result<Toolchain> {
    if !process::is_executable(Path::new(DEBIAN_RUSTC)) {
        bail!("there is no {DEBIAN_RUSTC}");
    }
    // `rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)`
    let line = process::capture(Command::new(DEBIAN_RUSTC).arg("--version"))?;
    let version = line
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    if !at_least(&version, &workspace.rust_version)? {
        let wanted = &workspace.rust_version;
        bail!("{DEBIAN_RUSTC} is {version}, older than the {wanted} that the filters need");
    }
    let sysroot = process::capture(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]))?;
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std");
    if !source.is_dir() {
        bail!(
            "{DEBIAN_RUSTC} has no standard library source in {}",
            source.display()
        );
    }
    Ok(Toolchain::Debian {
        version,
        linker: linker()?,
    })
}

/// Returns a linker that makes wasm: the active toolchain's own rust-lld, else one on PATH.
fn linker() -> Result<PathBuf> {
    let sysroot = process::capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    let targets = Path::new(sysroot.trim()).join("lib/rustlib");
    let folders = std::fs::read_dir(targets).into_iter().flatten().flatten();
    let mut own = folders.map(|folder| folder.path().join("bin/rust-lld"));
    if let Some(linker) = own.find(|file| process::is_executable(file)) {
        return Ok(linker);
    }
    let on_path = ["rust-lld", "wasm-ld"]
        .into_iter()
        .find_map(process::find_on_path);
    on_path.ok_or_else(|| {
        anyhow!("no linker makes wasm: neither rust-lld nor wasm-ld (Debian package lld) is there")
    })
}
