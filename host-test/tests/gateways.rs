//! Every bootstrap in `envoy/` through `host-test serve` and through the real Envoy: the same
//! requests, the same answers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use host_test::bootstrap;
use host_test::serve::{Gateway, Options};
use regex::Regex;

#[path = "common/client.rs"]
#[allow(dead_code, reason = "the tests of serve use more of it")]
mod client;
#[path = "common/ports.rs"]
mod ports;
#[path = "common/real_envoy.rs"]
mod real_envoy;
#[path = "common/upstream.rs"]
#[allow(dead_code, reason = "the tests of serve use more of it")]
mod upstream;

use client::{Client, Response};
use ports::unused_address;
use real_envoy::real_envoy;
use upstream::Upstream;

/// Requests sent to each gateway.
const REQUESTS: usize = 200;

/// A file's name without its ending, and its text.
fn read(path: &Path) -> (String, String) {
    let name = path.file_stem().expect("a name").to_string_lossy();
    let text = std::fs::read_to_string(path).expect("it can be read");
    (name.into_owned(), text)
}

/// The bootstraps of `envoy/`.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    files
}

fn modules() -> String {
    std::env::var("PENSTOCK_WASM_DIR").expect("`cargo xtask test` says where the modules are")
}

/// A bootstrap with ports of its own for what listens, and the upstreams' ports for the rest.
struct Moved {
    text: String,
    listener: SocketAddr,
}

/// The ports of a bootstrap, as written: of what listens, and of upstreams.
fn move_ports(text: &str, upstreams: &BTreeMap<u16, Upstream>) -> Moved {
    let port = Regex::new(r"port_value: (\d+)").expect("it is one");
    let mut listener = None;
    let moved = port.replace_all(text, |found: &regex::Captures<'_>| {
        let number: u16 = found[1].parse().expect("a port");
        let to = match upstreams.get(&number) {
            Some(upstream) => upstream.address.port(),
            None => {
                let address = unused_address();
                // The admin listener is written first, the gateway's after it.
                if number != 9901 {
                    listener = Some(address);
                }
                address.port()
            }
        };
        format!("port_value: {to}")
    });
    // Filters name hosts by address.
    let address = Regex::new(r"127\.0\.0\.1:(\d+)").expect("it is one");
    let moved = address.replace_all(&moved, |found: &regex::Captures<'_>| {
        let number: u16 = found[1].parse().expect("a port");
        let to = upstreams.get(&number).map_or(number, |u| u.address.port());
        format!("127.0.0.1:{to}")
    });
    // What refills while the test runs would refill at another request in the other gateway.
    let per = Regex::new(r#"("?per"?: "?)\d+[sm]"#).expect("it is one");
    let moved = per.replace_all(&moved, "${1}1h");
    let text = moved.replace("target/wasm", &modules());
    Moved {
        text,
        listener: listener.expect("there is a listener"),
    }
}

/// The ports of the endpoints of a bootstrap, each with an upstream that says which it is and what
/// it was sent.
fn upstreams(text: &str) -> BTreeMap<u16, Upstream> {
    let clusters = text
        .split("\n  clusters:")
        .nth(1)
        .expect("there are clusters");
    let port = Regex::new(r"port_value: (\d+)").expect("it is one");
    let ports = port
        .captures_iter(clusters)
        .map(|found| found[1].parse().expect("a port"));
    ports
        .map(|port: u16| {
            let upstream = Upstream::new(move |mut connection| {
                while let Some(head) = connection.head() {
                    let sent = connection.body(&head);
                    let body = format!("{port}\n{}\n{sent}", seen(&head));
                    let length = body.len();
                    connection.send(&format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nx-from: {port}\r\n\r\n{body}"
                    ));
                }
            });
            (port, upstream)
        })
        .collect()
}

/// A request's head as an upstream saw it, without what no two gateways have in common.
fn seen(head: &str) -> String {
    let mut lines: Vec<&str> = head.trim_end().lines().collect();
    lines.retain(|line| !line.starts_with("x-request-id: "));
    for line in &mut lines {
        // Of a client on the loopback Envoy notes an address of the machine's.
        if line.starts_with("x-forwarded-for: ") {
            *line = line
                .rsplit_once([',', ' '])
                .map_or(*line, |(before, _)| before);
        }
    }
    if lines.len() > 1 {
        lines[1..].sort_unstable();
    }
    lines.join("\n")
}

/// An answer, without what no two gateways, and no two seconds, have in common.
fn comparable(response: &Response) -> String {
    let number = Regex::new(r"\d+").expect("it is one");
    let mut headers: Vec<String> = response
        .headers
        .iter()
        .filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "date" | "x-envoy-upstream-service-time" | "x-request-id"
            )
        })
        .map(|(name, value)| {
            let timed = name.starts_with("ratelimit") || name == "retry-after" || name == "age";
            let value = if timed {
                number.replace_all(value, "N").into_owned()
            } else {
                value.clone()
            };
            format!("{name}: {value}")
        })
        .collect();
    headers.sort();
    let body = &response.body;
    format!("{}\n{}\n\n{body}", response.status, headers.join("\n"))
}

/// The n-th request: always the same one.
fn request(n: usize) -> String {
    // With something to hash in each: hosts for those without are drawn, or take turns.
    let (path, user) = [
        ("/?user=ana", "ana"),
        ("/api/books?user=ben", "ben"),
        ("/search?q=a&user=cem", "cem"),
        ("/accounts/7?user=dan", "dan"),
        ("/tenants/acme/orders/1?user=eva", "eva"),
        ("/admin?user=fay", "fay"),
        ("/login?user=gil", "gil"),
    ][n % 7];
    let method = ["GET", "GET", "POST", "HEAD", "DELETE"][n % 5];
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: shop.example\r\nx-user: {user}\r\n");
    for (every, header) in [
        (2, "x-client: ana"),
        (4, "authorization: Bearer not.a.token"),
        (5, "x-api-key: k"),
        (7, "cookie: a=b; c=d"),
        (11, "x-forwarded-for: 192.0.2.7"),
    ] {
        if n.is_multiple_of(every) {
            text += header;
            text += "\r\n";
        }
    }
    if method == "POST" {
        text += "content-length: 5\r\n\r\nhello";
    } else {
        text += "\r\n";
    }
    text
}

/// A client's end of a gateway: a connection as long as it lasts.
struct Asking {
    address: SocketAddr,
    client: Client,
}

impl Asking {
    fn new(address: SocketAddr) -> Self {
        let client = Client::connect(address);
        Self { address, client }
    }

    fn ask(&mut self, n: usize) -> Response {
        let request = request(n);
        self.client.send(&request);
        let response = if request.starts_with("HEAD ") {
            self.client.head()
        } else {
            self.client.response()
        };
        if response.header("connection") == Some("close") {
            self.client = Client::connect(self.address);
        }
        response
    }
}

fn serve(text: &str) -> Gateway {
    let loaded = bootstrap::parse(Path::new("gateway.yaml"), text, false)
        .unwrap_or_else(|report| panic!("{report}"));
    let options = Options {
        concurrency: 1,
        log_level: log::LevelFilter::Warn,
        log: Arc::new(|_| ()),
        drain_time: std::time::Duration::from_secs(1),
        inspect: None,
    };
    Gateway::start(loaded, options).unwrap_or_else(|error| panic!("{error}"))
}

/// A running Envoy; ends with the value.
struct Envoy(Child);

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn written(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gateways-{name}.yaml"));
    std::fs::write(&path, text).expect("it can be written");
    path
}

fn start_envoy(binary: &std::ffi::OsStr, config: &Path) -> Envoy {
    let mut child = Command::new(binary)
        .arg("-c")
        .arg(config)
        .args(["--concurrency", "1", "--disable-hot-restart"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Envoy runs");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut said = String::new();
    loop {
        let mut line = String::new();
        let read = lines.read_line(&mut line).expect("text");
        assert!(read > 0, "Envoy has ended: {said}");
        if line.contains("starting main dispatch loop") {
            break;
        }
        said += &line;
    }
    thread::spawn(move || {
        let _ = std::io::copy(&mut lines, &mut std::io::sink());
    });
    Envoy(child)
}

#[test]
fn both_gateways_accept_every_bootstrap() {
    let Some(envoy) = real_envoy() else { return };
    // In containers, with names for addresses: accepted here, served there.
    let compose = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/compose/envoy.yaml");
    for path in files().into_iter().chain([compose]) {
        let (name, text) = read(&path);
        let text = text.replace("target/wasm", &modules());
        let config = written(&format!("valid-{name}"), &text);
        let output = Command::new(&envoy)
            .args(["--mode", "validate", "-c"])
            .arg(&config)
            .output()
            .expect("Envoy runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {said}");
        let output = Command::new(env!("CARGO_BIN_EXE_host-test"))
            .arg("check")
            .arg(&config)
            .output()
            .expect("host-test runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {said}");
    }
}

#[test]
fn both_gateways_give_the_same_answers() {
    let Some(envoy) = real_envoy() else { return };
    let session = Regex::new("(session-affinity=)[^;]*").expect("it is one");
    let host = Regex::new(r"\b808\d\b").expect("it is one");
    for path in files() {
        let (name, text) = read(&path);
        let upstreams = upstreams(&text);
        let ours = move_ports(&text, &upstreams);
        let theirs = move_ports(&text, &upstreams);
        let gateway = serve(&ours.text);
        let config = written(&name, &theirs.text);
        let running = start_envoy(&envoy, &config);
        let mut here = Asking::new(ours.listener);
        let mut there = Asking::new(theirs.listener);
        for n in 0..REQUESTS {
            let (a, b) = (here.ask(n), there.ask(n));
            let (a, b) = (comparable(&a), comparable(&b));
            let ports = |mut text: String| {
                // Sessions are random numbers, and so are their hosts.
                if name == "consistent-hash-stateful-session" {
                    text = session.replace_all(&text, "$1…").into_owned();
                    text = host.replace_all(&text, "HOST").into_owned();
                }
                let text = text.replace(&ours.listener.port().to_string(), "PORT");
                text.replace(&theirs.listener.port().to_string(), "PORT")
            };
            assert_eq!(
                ports(a),
                ports(b),
                "{name}, request {n}: ours, then Envoy's"
            );
        }
        drop(running);
        gateway.stop();
    }
}
