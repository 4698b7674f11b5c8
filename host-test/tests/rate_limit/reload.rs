//! New configurations and new modules under load: no request fails, and no bucket is lost but those
//! of a rule that changed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::client::Client;
use crate::listeners::{Folder, await_updates};
use crate::process::Gateway;
use crate::{envoys, flood, listener, module, served};

/// Requests of a client without limit, each over a connection of its own, until it is told to stop.
/// Returns how many were sent.
fn load(address: SocketAddr, stop: &AtomicBool, sent: &AtomicUsize) {
    while !stop.load(Ordering::SeqCst) {
        let response = Client::connect(address).get("/load", "x-user: load\r\n");
        assert_eq!(response.status, 200, "{response:?}");
        sent.fetch_add(1, Ordering::SeqCst);
    }
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
        let gateway = Gateway::start(&kind, &folder.bootstrap(&[]));
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
        let module = folder.upgraded(&module(), 1);
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
