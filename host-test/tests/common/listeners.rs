//! A listener that Envoy takes from a folder, so that a test can give it another one while it serves.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::client::Client;
use crate::process::Gateway;

/// The folder. Dropping it removes it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("penstock-listeners-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Self(folder)
    }

    /// Puts a listener there in one move, which is what Envoy watches for.
    pub(crate) fn put(&self, version: &str, mut listener: Value) {
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        let text = json!({"version_info": version, "resources": [listener]}).to_string();
        let (new, path) = (self.0.join("new.json"), self.path());
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, path).expect("moved");
    }

    fn path(&self) -> PathBuf {
        self.0.join("listeners.json")
    }

    /// An Envoy's configuration with the folder's listener and these clusters.
    pub(crate) fn bootstrap(&self, clusters: &[Value]) -> String {
        let path = self.path();
        json!({
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {"clusters": clusters},
            "dynamic_resources": {"lds_config": {"path_config_source": {
                "path": path, "watched_directory": {"path": self.0},
            }}},
        })
        .to_string()
    }

    /// A module that does the same, and is yet another one: with a section that means nothing at its end.
    pub(crate) fn upgraded(&self, module: &str, number: u64) -> String {
        let mut bytes = std::fs::read(module).expect("the module is built");
        let name = format!("other{number:04}");
        // Id 0, ten bytes: a name of nine.
        bytes.extend(b"\0\x0a\x09");
        bytes.extend(name.as_bytes());
        let path = self.0.join(format!("{name}.wasm"));
        std::fs::write(&path, bytes).expect("written");
        path.to_str().expect("text").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until one of Envoy's counters has come that far.
pub(crate) fn await_updates(gateway: &Gateway, name: &str, count: u64) {
    let mut admin = Client::connect(gateway.address("admin"));
    loop {
        let stats = admin.get(&format!("/stats?filter={name}"), "").body;
        let value = stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        if value.is_some_and(|value| value.parse::<u64>().expect("a number") >= count) {
            return;
        }
        thread::yield_now();
    }
}
