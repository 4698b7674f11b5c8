//! Envoy's jwt_authn in the real Envoy: one process, one listener for each group.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::Group;
use crate::requests::{Outcome, Request, compared};
use crate::token;

/// The outcomes of each group's cases, in order.
pub(crate) fn run(envoy: &OsStr, groups: &[Group]) -> Vec<Vec<Outcome>> {
    let envoy = Envoy::start(envoy, groups);
    let addresses = envoy.listeners();
    let outcomes = groups.iter().map(|group| {
        let address = &addresses[group.name];
        let outcomes = group.cases.iter().map(|case| send(address, &case.request));
        outcomes.collect()
    });
    outcomes.collect()
}

/// A running Envoy, ended with the value.
struct Envoy {
    child: Child,
    folder: PathBuf,
}

impl Envoy {
    fn start(binary: &OsStr, groups: &[Group]) -> Self {
        let name = format!("penstock-jwt-authn-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let config = folder.join("envoy.json");
        let bootstrap = bootstrap(groups, serve_upstream());
        std::fs::write(&config, bootstrap.to_string()).expect("written");
        let mut child = Command::new(binary)
            .arg("--config-path")
            .arg(&config)
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "error", "--component-log-level", "main:info"])
            .arg("--admin-address-path")
            .arg(folder.join("admin"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Envoy starts");
        let stderr = child.stderr.take().expect("piped");
        let envoy = Self { child, folder };
        let mut said = String::new();
        let mut lines = BufReader::new(stderr).lines();
        for line in lines.by_ref().map_while(Result::ok) {
            if !line.contains("[info]") {
                said.push_str(&line);
                said.push('\n');
            }
            if line.contains("starting main dispatch loop") {
                // Envoy must not block on a pipe that nobody reads.
                std::thread::spawn(move || lines.for_each(drop));
                return envoy;
            }
        }
        panic!("Envoy refuses the table's configurations:\n{said}");
    }

    /// The address of each listener, by name.
    fn listeners(&self) -> BTreeMap<String, String> {
        let admin = std::fs::read_to_string(self.folder.join("admin")).expect("Envoy wrote it");
        let answer = exchange(
            &admin,
            "GET /listeners?format=json HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        );
        let listeners: Value = serde_json::from_str(&answer.body).expect("JSON");
        let listeners = listeners["listener_statuses"].as_array().expect("a list");
        let pairs = listeners.iter().map(|listener| {
            let port = &listener["local_address"]["socket_address"]["port_value"];
            let name = listener["name"].as_str().expect("a name");
            (name.to_owned(), format!("127.0.0.1:{port}"))
        });
        pairs.collect()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn socket(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn bootstrap(groups: &[Group], upstream: u16) -> Value {
    let listeners: Vec<_> = groups.iter().map(listener).collect();
    let cluster = |name: &str| {
        let endpoint = json!({"endpoint": {"address": socket(upstream)}});
        json!({
            "name": name,
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        })
    };
    json!({
        "admin": {"address": socket(0)},
        "static_resources": {
            "listeners": listeners,
            "clusters": [cluster("upstream"), cluster("example_jwks_cluster")],
        },
    })
}

fn listener(group: &Group) -> Value {
    let typed = |kind: &str, mut config: Value| {
        config["@type"] = json!(format!(
            "type.googleapis.com/envoy.extensions.filters.{kind}"
        ));
        config
    };
    let jwt = typed("http.jwt_authn.v3.JwtAuthentication", group.config.clone());
    let router = typed(
        "http.router.v3.Router",
        json!({"suppress_envoy_headers": true}),
    );
    let manager = json!({
        "stat_prefix": "a",
        // Envoy would wait a second for the client to close first.
        "delayed_close_timeout": "0s",
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt},
            {"name": "router", "typed_config": router},
        ],
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
        ]}]},
    });
    let manager = typed(
        "network.http_connection_manager.v3.HttpConnectionManager",
        manager,
    );
    json!({
        "name": group.name,
        "address": socket(0),
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    })
}

/// Answers with the head of the request as text, and with the key set under its path. Returns the
/// port.
fn serve_upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let body = if head.starts_with("GET /jwks.json ") {
            token::jwks().to_string()
        } else {
            head
        };
        let length = body.len();
        stream.write_all(
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes(),
        )?;
    }
}

struct Answer {
    status: u16,
    body: String,
}

fn exchange(address: &str, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("Envoy listens");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    // Envoy's admin answers in chunks.
    let body = if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        unchunk(body)
    } else {
        body.to_owned()
    };
    Answer {
        status: status.expect("a status"),
        body,
    }
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        let Some(chunk) = after.get(..size).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        body.push_str(chunk);
        rest = after[size..].trim_start();
    }
    body
}

fn send(address: &str, request: &Request) -> Outcome {
    let mut text = format!(
        "{} {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n",
        request.method, request.path
    );
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let answer = exchange(address, &text);
    let upstream = (answer.status == 200).then(|| seen(&answer.body));
    Outcome {
        status: answer.status,
        upstream,
    }
}

/// The headers of a request head.
fn seen(head: &str) -> BTreeMap<String, Vec<String>> {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut lines = head.lines();
    let path = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .expect("a request line");
    headers.insert(":path".to_owned(), vec![path.to_owned()]);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if compared(name) {
            headers
                .entry(name.to_owned())
                .or_default()
                .push(value.to_owned());
        }
    }
    headers
}
