//! A filter's configuration out of a file: by itself, or in an Envoy bootstrap.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

/// Reads the configuration of the plugin that loads a module of this name: the file is that
/// configuration, as JSON or YAML, or a bootstrap with the plugin in it. `plugin` tells which, where
/// there are several.
pub(super) fn read(path: &Path, module: &str, plugin: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("{shown} can't be read"))?;
    let document: Value =
        serde_saphyr::from_str(&text).map_err(|cause| anyhow!("{shown}: {cause}"))?;
    within(&document, module, plugin).with_context(|| shown.to_string())
}

fn within(document: &Value, module: &str, plugin: Option<&str>) -> anyhow::Result<Vec<u8>> {
    if document.get("static_resources").is_none() {
        return Ok(document.to_string().into_bytes());
    }
    let mut plugins = Vec::new();
    find(document, module, &mut plugins);
    plugins.retain(|found| plugin.is_none_or(|name| found["name"] == name));
    // The same plugin in several listeners is one.
    plugins.dedup_by(|one, other| one["configuration"] == other["configuration"]);
    let [found] = plugins.as_slice() else {
        if plugins.is_empty() {
            bail!("no plugin of the bootstrap loads {module} under that name");
        }
        let names: Vec<String> = plugins
            .iter()
            .map(|found| found["name"].to_string())
            .collect();
        bail!(
            "name one of its plugins with --plugin: {}",
            names.join(", ")
        );
    };
    let value = &found["configuration"]["value"];
    Ok(match value {
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    })
}

/// Collects the configurations of plugins whose module is called as ours.
fn find<'d>(value: &'d Value, module: &str, plugins: &mut Vec<&'d Value>) {
    match value {
        Value::Object(fields) => {
            let file = value["vm_config"]["code"]["local"]["filename"].as_str();
            if file.is_some_and(|file| file.ends_with(module)) {
                plugins.push(value);
            } else {
                let inner = fields.values();
                inner.for_each(|value| find(value, module, plugins));
            }
        }
        Value::Array(values) => {
            let inner = values.iter();
            inner.for_each(|value| find(value, module, plugins));
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}
