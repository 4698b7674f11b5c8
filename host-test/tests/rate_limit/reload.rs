//! New configurations and new modules under load: no request fails, and no bucket is lost but those
//! of a rule that changed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::client::Client;
use crate::process::Gateway;
use crate::{address, envoys, flood, listener, module, served};

/// A folder from which Envoy takes its listener.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("penstock-reload-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Self(folder)
    }

    /// Puts a listener there in one move, which is what Envoy watches for.
    fn put(&self, version: &str, mut listener: Value) {
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        let text = json!({"version_info": version, "resources": [listener]}).to_string();
        let (new, path) = (self.0.join("new.json"), self.path());
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, path).expect("moved");
    }

    fn path(&self) -> PathBuf {
        self.0.join("listeners.json")
    }

    fn bootstrap(&self) -> String {
        let path = self.path();
        json!({
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": address(0)},
            "dynamic_resources": {"lds_config": {"path_config_source": {
                "path": path, "watched_directory": {"path": self.0},
            }}},
        })
        .to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until Envoy has taken that many listeners in.
fn await_updates(gateway: &Gateway, name: &str, count: u64) {
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

/// Requests of a client without limit, each over a connection of its own, until it is told to stop.
/// Returns how many were sent.
fn load(address: SocketAddr, stop: &AtomicBool, sent: &AtomicUsize) {
    while !stop.load(Ordering::SeqCst) {
        let response = Client::connect(address).get("/load", "x-user: load\r\n");
        assert_eq!(response.status, 200, "{response:?}");
        sent.fetch_add(1, Ordering::SeqCst);
    }
}

/// The same module, and yet another one: with a section that means nothing at its end.
fn upgraded(folder: &Path) -> String {
    let mut bytes = std::fs::read(module()).expect("the module is built");
    // Id 0, six bytes: a name of five.
    bytes.extend(b"\0\x06\x05other");
    let path = folder.join("upgraded.wasm");
    std::fs::write(&path, bytes).expect("written");
    path.to_str().expect("text").to_owned()
}

#[test]
fn a_reload_under_load_keeps_every_bucket_but_those_of_the_rule_that_changed() {
    for kind in envoys() {
        let folder = Folder::new();
        let config = |requests: u64| {
            let rule = |name: &str, requests: u64| {
                json!({
                    "name": name, "key": [{"header": "x-user"}],
                    "limits": [{"requests": requests, "per": "182d"}],
                    "match": {"headers": {"x-rule": {"exact": name}}},
                })
            };
            json!({"rules": [rule("kept", 100), rule("changed", requests)]})
        };
        folder.put("1", listener(&module(), &config(100), served()));
        let gateway = Gateway::start(&kind, &folder.bootstrap());
        let address = gateway.address("main");
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (stop, sent) = (stop.clone(), sent.clone());
                thread::spawn(move || load(address, &stop, &sent))
            })
            .collect();
        let (kept, changed) = (
            "x-user: alice\r\nx-rule: kept\r\n",
            "x-user: alice\r\nx-rule: changed\r\n",
        );
        assert_eq!(flood(address, 64, kept), 64);
        assert_eq!(flood(address, 64, changed), 64);
        // A new configuration in the same VM.
        folder.put("2", listener(&module(), &config(101), served()));
        await_updates(&gateway, "listener_manager.lds.update_success", 2);
        await_updates(&gateway, "listener_manager.listener_in_place_updated", 1);
        assert_eq!(flood(address, 16, kept), 16);
        assert_eq!(flood(address, 160, changed), 101);
        // A new module: new VMs, the same shared data.
        let module = upgraded(&folder.0);
        folder.put("3", listener(&module, &config(101), served()));
        await_updates(&gateway, "listener_manager.lds.update_success", 3);
        await_updates(&gateway, "listener_manager.listener_in_place_updated", 2);
        assert_eq!(flood(address, 40, kept), 20);
        assert_eq!(flood(address, 16, changed), 0);
        // One that is refused: the old one goes on.
        folder.put("4", listener(&module, &json!({"rulez": []}), served()));
        await_updates(&gateway, "listener_manager.lds.update_rejected", 1);
        assert_eq!(flood(address, 16, kept), 0);
        let before = sent.load(Ordering::SeqCst);
        while sent.load(Ordering::SeqCst) < before + 20 {
            thread::yield_now();
        }
        stop.store(true, Ordering::SeqCst);
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no request failed"));
    }
}
