//! Manifests and compose files, held to the schemas of those who read them, and the configurations in
//! them to the filters themselves. Nothing is deployed.

use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, Schemas};
use serde_json::Value;

/// Which schema a resource is held to.
const KINDS: [(&str, &str, &str); 8] = [
    (
        "extensions.istio.io/v1alpha1",
        "TrafficExtension",
        "istio-traffic-extension",
    ),
    (
        "extensions.istio.io/v1alpha1",
        "WasmPlugin",
        "istio-wasm-plugin",
    ),
    (
        "networking.istio.io/v1",
        "DestinationRule",
        "istio-destination-rule",
    ),
    (
        "networking.istio.io/v1",
        "ServiceEntry",
        "istio-service-entry",
    ),
    (
        "gateway.envoyproxy.io/v1alpha1",
        "EnvoyExtensionPolicy",
        "envoy-gateway-extension-policy",
    ),
    (
        "gateway.envoyproxy.io/v1alpha1",
        "BackendTrafficPolicy",
        "envoy-gateway-backend-traffic-policy",
    ),
    (
        "extensions.higress.io/v1alpha1",
        "WasmPlugin",
        "higress-wasm-plugin",
    ),
    (
        "kustomize.config.k8s.io/v1beta1",
        "Kustomization",
        "kustomization",
    ),
];

const FILTERS: [&str; 4] = ["jwt-auth", "rate-limit", "cache-lookup", "consistent-hash"];

#[test]
fn every_manifest_is_what_its_control_plane_accepts() {
    let mut seen = Vec::new();
    for (file, resource) in resources() {
        let name = |field: &str| resource[field].as_str().unwrap_or_default().to_owned();
        let (api, kind) = (name("apiVersion"), name("kind"));
        let (_, _, schema) = KINDS
            .iter()
            .find(|it| it.0 == api && it.1 == kind)
            .unwrap_or_else(|| panic!("{}: no schema for {api} {kind}", file.display()));
        hold(&file, &resource, schema);
        seen.push(*schema);
    }
    for (_, kind, schema) in KINDS {
        assert!(seen.contains(&schema), "no example is a {kind} ({schema})");
    }
}

#[test]
fn the_filters_accept_their_configurations_in_every_manifest() {
    let mut seen = Vec::new();
    for (file, resource) in resources() {
        for (filter, configuration) in configurations(&resource) {
            let text = configuration.to_string();
            if let Err(mistakes) = read(&filter, text.as_bytes()) {
                panic!("{}: {filter}: {mistakes}", file.display());
            }
            let folder = file.parent().and_then(Path::file_name).expect("a folder");
            seen.push(format!("{} {filter}", folder.display()));
        }
    }
    for plane in ["istio", "envoy-gateway", "higress"] {
        for filter in FILTERS {
            let expected = format!("{plane} {filter}");
            assert!(seen.contains(&expected), "no configuration for {expected}");
        }
    }
}

#[test]
fn what_the_schemas_do_not_know_is_refused() {
    let folder = root().join("examples/istio/traffic-extension.yaml");
    let (_, mut resource) = documents(&folder).swap_remove(0);
    resource["spec"]["wasm"]["pluginConfg"] = resource["spec"]["wasm"]["pluginConfig"].take();
    assert!(mistakes(&resource, "istio-traffic-extension").is_some());
}

#[test]
fn the_compose_file_follows_the_compose_specification_and_its_files_exist() {
    let file = root().join("envoy/compose/docker-compose.yaml");
    let (_, compose) = documents(&file).swap_remove(0);
    hold(&file, &compose, "compose");
    let services = compose["services"].as_object().expect("services");
    let volumes = services
        .values()
        .flat_map(|service| service["volumes"].as_array().into_iter().flatten());
    let mut seen = 0;
    for volume in volumes {
        let volume = volume.as_str().expect("a volume in short form");
        let source = volume.split(':').next().unwrap_or_default();
        let path = root().join("envoy/compose").join(source);
        // Modules are built, not kept.
        assert!(path.exists() || source.ends_with("target/wasm"), "{volume}");
        seen += 1;
    }
    assert!(seen > 0, "no service has a volume");
}

#[test]
fn every_metric_of_dashboard_and_alerts_is_documented_by_its_filter() {
    let folder = root().join("envoy/compose");
    let documented: String = FILTERS
        .iter()
        .map(|filter| text(&root().join("filters").join(filter).join("README.md")))
        .collect();
    let mut seen = 0;
    for file in ["grafana/dashboards/penstock.json", "alerts.yml"] {
        let source = text(&folder.join(file));
        for word in source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let ours = FILTERS
                .iter()
                .any(|filter| word.starts_with(&filter.replace('-', "_")));
            if ours && word.ends_with("_total") {
                assert!(documented.contains(word), "{file}: {word} is in no README");
                seen += 1;
            }
        }
    }
    assert!(seen > FILTERS.len(), "{seen} metrics");
}

/// Reads a configuration as the module does.
fn read(filter: &str, text: &[u8]) -> Result<(), String> {
    let mistakes = match filter {
        "cache-lookup" => cache_lookup::config::Config::read(text).err(),
        "consistent-hash" => consistent_hash::config::Config::read(text).err(),
        "jwt-auth" => jwt_auth::config::Config::read(text).err(),
        "rate-limit" => rate_limit::config::Config::read(text).err(),
        other => return Err(format!("there is no filter {other}")),
    };
    mistakes.map_or(Ok(()), |mistakes| Err(mistakes.one_line()))
}

/// Returns the filters that a resource configures, by the name of the image.
fn configurations(resource: &Value) -> Vec<(String, Value)> {
    let spec = &resource["spec"];
    let image = |url: &Value| {
        let url = url.as_str()?.rsplit('/').next()?;
        Some(url.split(':').next()?.to_owned())
    };
    let mut found = Vec::new();
    for wasm in spec["wasm"].as_array().into_iter().flatten() {
        found.push((image(&wasm["code"]["image"]["url"]), wasm["config"].clone()));
    }
    for wasm in [spec, &spec["wasm"]] {
        if wasm.get("url").is_some() {
            let configuration = ["pluginConfig", "defaultConfig"]
                .iter()
                .find_map(|name| wasm.get(name));
            found.push((
                image(&wasm["url"]),
                configuration.cloned().unwrap_or_default(),
            ));
        }
    }
    let named = found.into_iter();
    named
        .map(|(name, configuration)| (name.expect("an image's name"), configuration))
        .collect()
}

/// Returns all resources of the examples.
fn resources() -> Vec<(PathBuf, Value)> {
    let folders = [
        "istio",
        "envoy-gateway",
        "higress",
        "kustomize/istio",
        "kustomize/envoy-gateway",
        "kustomize/higress",
    ];
    let mut found = Vec::new();
    for folder in folders {
        let folder = root().join("examples").join(folder);
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
            .collect();
        files.sort();
        found.extend(files.iter().flat_map(|file| documents(file)));
    }
    found
}

fn documents(file: &Path) -> Vec<(PathBuf, Value)> {
    text(file)
        .split("\n---\n")
        .map(|document| {
            let value = serde_saphyr::from_str(document)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            (file.to_owned(), value)
        })
        .collect()
}

fn hold(file: &Path, value: &Value, schema: &str) {
    if let Some(mistakes) = mistakes(value, schema) {
        panic!("{} against {schema}:\n{mistakes}", file.display());
    }
}

fn mistakes(value: &Value, schema: &str) -> Option<String> {
    let path = root().join(format!("xtask/tests/schemas/{schema}.json"));
    let mut schemas = Schemas::new();
    let index = Compiler::new()
        .compile(&path.display().to_string(), &mut schemas)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let result = schemas.validate(value, index);
    result.err().map(|error| format!("{error:#}"))
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("a workspace").to_owned()
}
