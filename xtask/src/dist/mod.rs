//! `dist`: what a release is made of, in `target/dist`.
//!
//! For each filter its module, its JSON Schema, an OCI image layout for registries, and the metadata
//! that Kong and Higress read. `SHA256SUMS` covers all of them. Nothing in them depends on the day,
//! the machine or the folder: the same modules make the same bytes.

mod archive;
mod oci;
mod schema;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::build;
use crate::workspace::{Module, Workspace};

/// What a gateway finds the module by inside an image.
const MODULE_IN_IMAGE: &str = "plugin.wasm";

/// Where a filter belongs in a mesh's chain: Istio's and Higress's phases, and the order in one. Higher
/// numbers come first.
const PLACES: [(&str, &str, i64); 4] = [
    ("jwt-auth", "AUTHN", 400),
    ("rate-limit", "AUTHZ", 300),
    ("cache-lookup", "STATS", 200),
    ("consistent-hash", "STATS", 100),
];

/// What is known of one filter.
struct Filter<'a> {
    module: &'a Module,
    version: &'a str,
    wasm: Vec<u8>,
    readme: Vec<u8>,
    schema: Value,
}

/// Builds the modules and writes all artifacts.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    build::run(workspace)?;
    let folder = workspace.target("dist");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("can't empty {}", workspace.relative(&folder)))?;
    }
    let mut files = Files::new(folder.clone());
    for module in workspace
        .modules
        .iter()
        .filter(|it| is_filter(workspace, it))
    {
        let filter = Filter::read(workspace, module).context(module.package.clone())?;
        filter.write(&mut files).context(module.package.clone())?;
    }
    ensure!(!files.sums.is_empty(), "there is no filter to pack");
    let sums = files.sums();
    files.write("SHA256SUMS", sums.as_bytes())?;
    println!(
        "\n{} files in {}:",
        files.sums.len(),
        workspace.relative(&folder)
    );
    print!("{sums}");
    Ok(())
}

fn is_filter(workspace: &Workspace, module: &Module) -> bool {
    source(workspace, module).join("Cargo.toml").exists()
}

fn source(workspace: &Workspace, module: &Module) -> PathBuf {
    workspace.root.join("filters").join(&module.package)
}

impl<'a> Filter<'a> {
    fn read(workspace: &'a Workspace, module: &'a Module) -> Result<Self> {
        let read = |path: &Path| {
            std::fs::read(path).with_context(|| format!("can't read {}", workspace.relative(path)))
        };
        let source = source(workspace, module);
        let schema = read(&source.join("schema.json"))?;
        Ok(Self {
            module,
            version: &workspace.version,
            wasm: read(&workspace.wasm(&module.name))?,
            readme: read(&source.join("README.md"))?,
            schema: serde_json::from_slice(&schema).context("schema.json isn't JSON")?,
        })
    }

    fn write(&self, files: &mut Files) -> Result<()> {
        let package = &self.module.package;
        let schema = pretty(&self.schema);
        files.write(&format!("{}.wasm", self.module.name), &self.wasm)?;
        files.write(&format!("{package}.schema.json"), schema.as_bytes())?;
        let kong = pretty(&json!({ "config_schema": schema::inlined(&self.schema) }));
        files.write(
            &format!("kong/{}.meta.json", self.module.name),
            kong.as_bytes(),
        )?;
        let spec = pretty(&self.higress()?);
        let documents = archive::tar(&[
            ("README.md", &self.readme),
            ("schema.json", schema.as_bytes()),
            ("spec.yaml", spec.as_bytes()),
        ])?;
        let module = archive::tar(&[(MODULE_IN_IMAGE, &self.wasm)])?;
        // Istio and Envoy Gateway take the last layer.
        let image = oci::Image::new(&[&documents, &module], &self.annotations())?;
        image.write(&format!("oci/{package}"), self.version, files)
    }

    fn annotations(&self) -> [(&str, &str); 4] {
        [
            ("module.wasm.image/variant", "compat"),
            ("org.opencontainers.image.licenses", "Apache-2.0"),
            ("org.opencontainers.image.title", &self.module.package),
            ("org.opencontainers.image.version", self.version),
        ]
    }

    /// Returns what Higress's console reads of a plugin. JSON is YAML.
    fn higress(&self) -> Result<Value> {
        let package = &self.module.package;
        let (_, phase, priority) = PLACES
            .into_iter()
            .find(|(name, _, _)| name == package)
            .context("it has no place in `PLACES`")?;
        Ok(json!({
            "apiVersion": "1.0.0",
            "info": {
                "category": "custom",
                "name": package,
                "title": package,
                "description": self.schema["description"],
                "version": self.version,
            },
            "spec": {
                "phase": phase,
                "priority": priority,
                "configSchema": { "openAPIV3Schema": schema::inlined(&self.schema) },
            },
        }))
    }
}

/// The folder that is filled, and the sums of what is in it.
struct Files {
    folder: PathBuf,
    sums: Vec<(String, String)>,
}

impl Files {
    fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            sums: Vec::new(),
        }
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("can't make {}", parent.display()))?;
        }
        std::fs::write(&path, bytes).with_context(|| format!("can't write {}", path.display()))?;
        self.sums.push((name.to_owned(), sha256(bytes)));
        Ok(())
    }

    /// Returns the text that `sha256sum --check` reads.
    fn sums(&self) -> String {
        let mut sorted: Vec<_> = self.sums.iter().collect();
        sorted.sort();
        let line = |(name, sum): &(String, String)| format!("{sum}  {name}\n");
        sorted.into_iter().map(line).collect()
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_sha256sum_sorted_by_name() {
        let folder = std::env::temp_dir().join(format!("penstock-dist-{}", std::process::id()));
        let mut files = Files::new(folder.clone());
        files.write("b/c.txt", b"abc").expect("written");
        files.write("a.txt", b"").expect("written");
        std::fs::remove_dir_all(folder).expect("removed");
        assert_eq!(
            files.sums(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a.txt\n\
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b/c.txt\n"
        );
    }
}
