//! A gateway that is inspected: two filters of ours, or guests of a test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::client::{Client, Response};
use crate::gateway::{Setup, scratch};
use crate::upstream::{Upstream, header};

/// The key `{"alg": "HS256", "k": …}` of the scenarios of jwt-auth.
const KEYS: &str = r#"{"keys":[{"kty":"oct","kid":"secret","k":"a-5I3rzLHtM7BLNjsJQ6d5ut_pzhYTrGcnU7y7URExhApLCsrikTt4j_7MxDJh6RlhEOKSEHWkXq4Mb7AUwHOw"}]}"#;

/// A token of ana's, valid until the year 2100.
pub(crate) const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6InNlY3JldCJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSIsInN1YiI6ImFuYSIsImF1ZCI6ImFwaSIsImV4cCI6NDEwMjQ0NDgwMH0.lBib_aGwcE6A7DYXoJAqNbi1NX6OQJmqOW16HfD7L78";

/// Adds a header to requests and responses, doubles response bodies, logs, calls a service for
/// `/ask`, and traps for `/trap`.
const BUSY: &str = r#"
    (global $stream (mut i32) (i32.const 0))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $define_metric (i32.const 0) str("seen_total") (i32.const 0)))
      (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (global.set $stream (local.get 0))
      (drop (call $increment (i32.const 4) (i64.const 1)))
      (drop (call $set_header (i32.const 0) str("x-busy") str("yes")))
      (drop (call $remove_header (i32.const 0) str("x-unwanted")))
      (drop (call $set_shared str("last seen") str("some value") (i32.const 0)))
      (drop (call $get_header (i32.const 0) str(":path") (i32.const 32) (i32.const 36)))
      (call $say_given)
      (if (i32.eq (i32.load8_u offset=1 (i32.load (i32.const 32))) (i32.const 116)) (then (unreachable)))
      (if (i32.ne (i32.load8_u offset=1 (i32.load (i32.const 32))) (i32.const 97)) (then (return (i32.const 0))))
      (i32.store (i32.const 256) (i32.const 3))
      (i32.store (i32.const 260) (i32.const 7)) (i32.store (i32.const 264) (i32.const 3))
      (i32.store (i32.const 268) (i32.const 5)) (i32.store (i32.const 272) (i32.const 4))
      (i32.store (i32.const 276) (i32.const 10)) (i32.store (i32.const 280) (i32.const 7))
      (memory.copy (i32.const 284) str(":method\00GET\00:path\00/ask\00:authority\00service\00"))
      (drop (call $http_call str("service") (i32.const 256) (i32.const 70) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 64)))
      (i32.const 1))
    (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
      (drop (call $effective (global.get $stream)))
      (drop (call $continue (i32.const 0))))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
      (drop (call $remove_header (i32.const 2) str("content-length")))
      (drop (call $add_header (i32.const 2) str("x-seen") str("1")))
      (i32.const 0))
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
      (if (i32.gt_s (local.get 1) (i32.const 0)) (then
        (drop (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 0) str("before: ")))))
      (i32.const 0))"#;

/// A gateway of two filters of ours before a service that echoes.
pub(crate) fn filters() -> Setup {
    let jwt = serde_json::json!({
        "providers": {"idp": {
            "issuer": "https://idp.example.com",
            "audiences": ["api"],
            "local_jwks": {"inline_string": KEYS},
            "claim_to_headers": [{"header_name": "x-user", "claim_name": "sub"}],
        }},
        "rules": [
            {"match": {"prefix": "/orders"}, "requires": {"provider_name": "idp"}},
        ],
    });
    let limit = serde_json::json!({
        "rules": [
            {"name": "login", "match": {"paths": [{"exact": "/login"}]},
             "key": [{"client_address": {}}], "limits": [{"requests": 3, "per": "1h"}]},
            {"name": "all", "key": [{"client_address": {}}],
             "limits": [{"requests": 100000, "per": "1h"}]},
        ],
    });
    Setup::to(Upstream::answering(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 33\r\n\r\n{\"orders\": [{\"id\": 7, \"pieces\":3}]",
    ).address)
    .filter("jwt_auth", &module("jwt_auth"), &configured(&jwt))
    .filter("rate_limit", &module("rate_limit"), &configured(&limit))
    .top(ADMIN)
}

/// A gateway of one guest that does a bit of everything, before a service that echoes.
pub(crate) fn busy() -> Setup {
    let service = Upstream::answering("HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\nready");
    Setup::to(echo().address)
        .cluster("service", &[service.address])
        .guest("busy", BUSY, ", failure_policy: FAIL_RELOAD")
        .top(ADMIN)
}

/// Answers with the request as it came, whatever its bytes are.
fn echo() -> Upstream {
    Upstream::new(|mut connection| {
        while let Some(head) = connection.head() {
            let length =
                header(&head, "content-length").map_or(0, |n| n.parse().expect("a length"));
            let mut body = vec![0; length];
            connection.stream.read_exact(&mut body).expect("it comes");
            let body = String::from_utf8_lossy(&body);
            connection.send(&format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}{body}",
                head.len() + body.len()
            ));
        }
    })
}

/// A gateway of a guest that only adds a header.
pub(crate) fn quick() -> Setup {
    Setup::routes("{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: hi}}}")
        .guest(
            "quick",
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (drop (call $set_header (i32.const 0) str("x-quick") str("1"))) (i32.const 0))"#,
            "",
        )
        .top(ADMIN)
}

pub(crate) const ADMIN: &str =
    "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}";

fn configured(json: &serde_json::Value) -> String {
    let text = json.to_string().replace('\'', "''");
    format!(
        ", configuration: {{\"@type\": type.googleapis.com/google.protobuf.StringValue, value: '{text}'}}"
    )
}

/// A module that `cargo xtask build` has made.
fn module(name: &str) -> PathBuf {
    let folder = std::env::var_os("PENSTOCK_WASM_DIR");
    let folder = folder.map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm")),
        PathBuf::from,
    );
    let path = folder.join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "no {}: `cargo xtask build` makes it",
        path.display()
    );
    path
}

/// `host-test serve --inspect`. Dropping it ends the process.
pub(crate) struct Inspected {
    child: Child,
    pub(crate) gateway: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Inspected {
    /// Serves a gateway, with these flags besides.
    pub(crate) fn serve(setup: &Setup, flags: &[&str]) -> Self {
        let path = scratch("inspected.yaml");
        std::fs::write(&path, setup.yaml()).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_host-test"))
            .args(["serve", "--inspect"])
            .arg(path)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut addresses = Vec::new();
        for line in lines.map_while(Result::ok) {
            let told = line.strip_prefix("listening on ").expect("an address");
            let (address, name) = told.split_once(' ').expect("a name");
            addresses.push(address.parse().expect("an address"));
            if name == "(admin)" {
                break;
            }
        }
        let [gateway, admin] = addresses[..] else {
            panic!("two listeners listen: {addresses:?}");
        };
        Self {
            child,
            gateway,
            admin,
        }
    }

    /// Asks the admin listener, with these header lines besides `Host`.
    pub(crate) fn ask(&self, method: &str, path: &str, host: &str, headers: &str) -> Response {
        let mut client = Client::connect(self.admin);
        client.send(&format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n{headers}\r\n"
        ));
        client.response()
    }

    /// What is kept of the last request, once so many were recorded.
    pub(crate) fn last(&self, count: u64) -> serde_json::Value {
        loop {
            let path = format!("/inspect/api/requests/{count}");
            let response = self.ask("GET", &path, "localhost", "");
            if response.status == 200 {
                return serde_json::from_str(&response.body).expect("JSON");
            }
            // The client has its answer a moment before the request is over.
            std::thread::yield_now();
        }
    }
}

impl Drop for Inspected {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
