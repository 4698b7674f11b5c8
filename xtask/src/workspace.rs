//! What cargo knows about this workspace: its folders, its packages, and which of them are modules.
//!
//! A package becomes a module by its `[package.metadata.penstock]`: the size budget and the
//! callbacks that it implements.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::process;

/// The checked-out workspace.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo puts native artifacts.
    pub(crate) cargo_target: PathBuf,
    /// The oldest compiler that the packages accept, `MAJOR.MINOR`.
    pub(crate) rust_version: String,
    /// The version of all packages.
    pub(crate) version: String,
    /// Packages that become modules, sorted by name.
    pub(crate) modules: Vec<Module>,
    /// Names of all packages.
    pub(crate) packages: Vec<String>,
}

/// A package that becomes a module.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Module {
    /// Name of the package, `rate-limit`.
    pub(crate) package: String,
    /// Name of the target, `rate_limit`; the file is `rate_limit.wasm`.
    pub(crate) name: String,
    /// Upper bounds on its size.
    pub(crate) budget: Budget,
    /// The `proxy_on_*` exports that it implements; all others are cut.
    pub(crate) callbacks: Vec<String>,
}

/// Upper bounds on the size of a module, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Budget {
    /// Of the file.
    pub(crate) wasm: u64,
    /// Of the file after `gzip -9`.
    pub(crate) gzip: u64,
}

impl Workspace {
    /// Asks cargo about the workspace that this program was built from.
    pub(crate) fn discover() -> Result<Self> {
        // Set by `cargo run`; the compile-time value is for a binary that is started directly.
        let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = xtask
            .parent()
            .context("xtask has no parent folder")?
            .to_path_buf();
        let arguments = [
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ];
        let text = process::capture(Command::new(cargo()).args(arguments).current_dir(&root))
            .context("can't read the workspace")?;
        let metadata: Value = serde_json::from_str(&text).context("cargo metadata isn't JSON")?;
        Self::from_metadata(&metadata)
    }

    /// Returns the workspace with these modules alone, by the names of their packages.
    ///
    /// # Errors
    ///
    /// When there is no such module.
    pub(crate) fn with_modules(&self, packages: &[&str]) -> Result<Self> {
        let find = |package: &&str| {
            let mut modules = self.modules.iter();
            let found = modules.find(|module| module.package == *package).cloned();
            found.with_context(|| {
                let names = self.modules.iter().map(|module| &*module.package);
                let names = names.collect::<Vec<_>>().join(", ");
                format!("there is no module `{package}`; the modules are {names}")
            })
        };
        Ok(Self {
            modules: packages.iter().map(find).collect::<Result<_>>()?,
            ..self.clone()
        })
    }

    fn from_metadata(metadata: &Value) -> Result<Self> {
        let folder = |name: &str| {
            let path = metadata[name].as_str().map(PathBuf::from);
            path.ok_or_else(|| anyhow!("cargo metadata has no `{name}`"))
        };
        let packages = metadata["packages"]
            .as_array()
            .context("cargo metadata has no packages")?;
        let mut modules = Vec::new();
        for package in packages {
            modules.extend(Module::from_package(package)?);
        }
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        let mut versions = packages
            .iter()
            .filter_map(|package| package["rust_version"].as_str());
        Ok(Self {
            root: folder("workspace_root")?,
            cargo_target: folder("target_directory")?,
            version: packages
                .iter()
                .find_map(|package| package["version"].as_str())
                .context("cargo metadata has no version")?
                .to_owned(),
            rust_version: versions.next().unwrap_or("1.0").to_owned(),
            modules,
            packages: packages
                .iter()
                .filter_map(|package| package["name"].as_str().map(str::to_owned))
                .collect(),
        })
    }

    /// Returns a path below the root's `target`, where the commands keep what they make.
    pub(crate) fn target(&self, path: &str) -> PathBuf {
        self.root.join("target").join(path)
    }

    /// Returns where the finished module of this name is.
    pub(crate) fn wasm(&self, name: &str) -> PathBuf {
        self.target("wasm").join(format!("{name}.wasm"))
    }

    /// Returns cargo, to be run in the root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root);
        command
    }

    /// Returns a path as a user in the root would write it.
    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root)
            .unwrap_or(path)
            .display()
            .to_string()
    }
}

impl Module {
    /// Reads `[package.metadata.penstock]`; `None` for a package that isn't a module.
    fn from_package(package: &Value) -> Result<Option<Self>> {
        let manifest = package["manifest_path"].as_str().unwrap_or("Cargo.toml");
        let settings = &package["metadata"]["penstock"];
        let wrong = |what: &str| anyhow!("{manifest}: [package.metadata.penstock] {what}");
        if settings.is_null() {
            // A filter that nobody builds would look like one that works.
            if manifest.contains("/filters/") && binary(package).is_some() {
                return Err(wrong(
                    "is missing: it holds the filter's `budget` and `callbacks`",
                ));
            }
            return Ok(None);
        }
        let size = |name: &str| {
            settings["budget"][name]
                .as_u64()
                .ok_or_else(|| wrong(&format!("needs `budget.{name}`, a number of bytes")))
        };
        let callbacks = settings["callbacks"]
            .as_array()
            .ok_or_else(|| wrong("needs `callbacks`, a list of proxy_on_* names"))?;
        let callback = |value: &Value| match value.as_str() {
            Some(name) if name.starts_with("proxy_on_") => Ok(name.to_owned()),
            _ => Err(wrong(&format!(
                "names the callback {value}, which isn't proxy_on_*"
            ))),
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Some(Self {
            package: text(&package["name"]),
            name: binary(package)
                .ok_or_else(|| wrong("is for packages with one [[bin]], or a cdylib"))?,
            budget: Budget {
                wasm: size("wasm")?,
                gzip: size("gzip")?,
            },
            callbacks: callbacks.iter().map(callback).collect::<Result<_>>()?,
        }))
    }
}

/// Returns the name of a package's only target that becomes a file of its own: a binary, as our
/// filters are, or a cdylib, as the SDK's examples are.
fn binary(package: &Value) -> Option<String> {
    let becomes_a_file =
        |target: &&Value| target["kind"][0] == "bin" || target["kind"][0] == "cdylib";
    let mut files = package["targets"].as_array()?.iter().filter(becomes_a_file);
    // cargo shows the package's name, and writes a file with underscores.
    let name = files.next()?["name"].as_str()?.replace('-', "_");
    files.next().is_none().then_some(name)
}

/// Returns the cargo that runs this program, else the one on PATH.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Returns whether version `found` (`1.96.0`, `1.96`) is `wanted` or newer.
pub(crate) fn at_least(found: &str, wanted: &str) -> Result<bool> {
    let numbers = |version: &str| -> Result<Vec<u32>> {
        let release = version.split(['-', '+']).next().unwrap_or_default();
        let part = |part: &str| part.parse::<u32>().ok();
        match release.split('.').map(part).collect::<Option<Vec<u32>>>() {
            Some(parts) => Ok(parts),
            None => bail!("`{version}` isn't a version number"),
        }
    };
    let (mut found, mut wanted) = (numbers(found)?, numbers(wanted)?);
    let length = found.len().max(wanted.len());
    found.resize(length, 0);
    wanted.resize(length, 0);
    Ok(found >= wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(settings: Value) -> Value {
        json!({
            "name": "rate-limit",
            "manifest_path": "/penstock/filters/rate-limit/Cargo.toml",
            "targets": [{"kind": ["lib"], "name": "rate_limit_lib"},
                        {"kind": ["bin"], "name": "rate_limit"}],
            "metadata": {"penstock": settings},
            "rust_version": "1.95",
        })
    }

    fn mistake(settings: Value) -> String {
        Module::from_package(&package(settings))
            .expect_err("the settings are wrong")
            .to_string()
    }

    #[test]
    fn a_module_is_read_from_its_manifest() {
        let callbacks = ["proxy_on_configure", "proxy_on_request_headers"];
        let settings =
            json!({"budget": {"wasm": 250_000, "gzip": 100_000}, "callbacks": callbacks});
        let module = Module::from_package(&package(settings)).expect("the settings are right");
        let expected = Module {
            package: "rate-limit".to_owned(),
            name: "rate_limit".to_owned(),
            budget: Budget {
                wasm: 250_000,
                gzip: 100_000,
            },
            callbacks: callbacks.map(str::to_owned).to_vec(),
        };
        assert_eq!(module, Some(expected));
    }

    #[test]
    fn a_package_without_settings_is_no_module() {
        let mut tool = package(Value::Null);
        tool["manifest_path"] = "/penstock/xtask/Cargo.toml".into();
        assert_eq!(Module::from_package(&tool).expect("it is ordinary"), None);
    }

    #[test]
    fn a_filter_without_settings_is_a_mistake() {
        assert_eq!(
            mistake(Value::Null),
            "/penstock/filters/rate-limit/Cargo.toml: [package.metadata.penstock] is missing: it \
             holds the filter's `budget` and `callbacks`"
        );
    }

    #[test]
    fn a_cdylib_is_a_module_as_well() {
        let settings = json!({"budget": {"wasm": 1, "gzip": 1}, "callbacks": []});
        let mut package = package(settings);
        package["targets"] = json!([
            {"kind": ["cdylib"], "name": "your_first_filter"},
            {"kind": ["test"], "name": "needs_a_key"},
        ]);
        let module = Module::from_package(&package).expect("the settings are right");
        assert_eq!(module.expect("it is one").name, "your_first_filter");
    }

    #[test]
    fn a_missing_budget_is_named_with_its_file() {
        assert_eq!(
            mistake(json!({"budget": {"wasm": 1}, "callbacks": []})),
            "/penstock/filters/rate-limit/Cargo.toml: [package.metadata.penstock] needs \
             `budget.gzip`, a number of bytes"
        );
    }

    #[test]
    fn a_callback_must_be_an_export_of_the_abi() {
        let message = mistake(json!({"budget": {"wasm": 1, "gzip": 1}, "callbacks": ["on_tick"]}));
        assert!(message.ends_with("names the callback \"on_tick\", which isn't proxy_on_*"));
    }

    #[test]
    fn versions_compare_by_number() {
        for (found, wanted, expected) in [
            ("1.96.0", "1.95", true),
            ("1.95", "1.95.0", true),
            ("1.100.0", "1.95", true),
            ("1.63.0", "1.95", false),
            ("1.97.0-nightly", "1.95", true),
        ] {
            assert_eq!(
                at_least(found, wanted).expect("they are versions"),
                expected,
                "{found}"
            );
        }
        assert!(at_least("version_132", "1").is_err());
    }
}
