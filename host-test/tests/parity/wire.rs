//! Messages in shapes that scenarios have no words for: trailers, HTTP/2, and connections that
//! break. A client and an upstream made of bytes stand around Envoy; ours is fed the same frames.
//!
//! What is compared is the callbacks with their sizes, as the guest logs them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use host_test::headers::Headers;
use host_test::host::{Answer, Host, HostBuilder};
use host_test::module::Module;
use host_test::plugin::Plugin;
use host_test::rechunk::{Shape, Split};

use crate::guest::{chatty, module};
use crate::ports::unused_address;
use crate::real_envoy::real_envoy;

/// How long anything may take; a loaded machine needs a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request with a chunked body in one piece, and a trailer.
pub(crate) const WITH_TRAILERS: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nte: trailers\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";

/// An answer with a chunked body in one piece, and a trailer.
pub(crate) const ANSWER_WITH_TRAILERS: &[u8] =
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-end: 1\r\n\r\n";

/// How Envoy speaks to the upstream.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// An Envoy with one guest; it ends with the value.
pub(crate) struct Envoy {
    process: Child,
    log: BufReader<std::process::ChildStderr>,
    address: SocketAddr,
    folder: std::path::PathBuf,
}

impl Envoy {
    /// Starts it in front of an upstream, with trailers let through or not.
    pub(crate) fn start(guest: &[u8], upstream: SocketAddr, trailers: bool) -> Option<Self> {
        Self::start_before(guest, upstream, trailers, Protocol::Http1)
    }

    /// The same in front of an upstream that speaks this.
    pub(crate) fn start_before(
        guest: &[u8],
        upstream: SocketAddr,
        trailers: bool,
        protocol: Protocol,
    ) -> Option<Self> {
        let envoy = real_envoy()?;
        let address = unused_address();
        let name = format!("host-test-wire-{}-{}", std::process::id(), address.port());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let module = folder.join("guest.wasm");
        std::fs::write(&module, guest).unwrap();
        let config = folder.join("envoy.json");
        std::fs::write(
            &config,
            bootstrap(&module, address, upstream, trailers, protocol),
        )
        .unwrap();
        let mut process = Command::new(envoy)
            .args(["--disable-hot-restart", "--concurrency", "1"])
            .args(["--log-level", "error", "--log-format", "%n|%v"])
            .args(["--component-log-level", "main:info,wasm:info"])
            .arg("--config-path")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut envoy = Self {
            process,
            log,
            address,
            folder,
        };
        envoy.lines_until("starting main dispatch loop");
        Some(envoy)
    }

    /// What the guest logs until its stream is deleted.
    fn said(&mut self) -> Vec<String> {
        self.said_until("delete")
    }

    /// What the guest logs up to this line.
    fn said_until(&mut self, line: &str) -> Vec<String> {
        let lines = self.lines_until(&format!("wasm|wasm log guest: {line}"));
        lines
            .iter()
            .filter_map(|line| line.strip_prefix("wasm|wasm log guest: "))
            .map(str::to_owned)
            .collect()
    }

    fn lines_until(&mut self, end: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.log.read_line(&mut line).unwrap();
            assert!(read > 0, "Envoy ended: {lines:#?}");
            let line = line.trim_end().to_owned();
            let over = line.contains(end);
            lines.push(line);
            if over {
                return lines;
            }
        }
    }

    fn connect(&self) -> TcpStream {
        self.try_connect().unwrap()
    }

    /// A connection, if there is still someone to connect to.
    pub(crate) fn try_connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// How it ended; an error if it answers.
    pub(crate) fn ended(&mut self) -> Result<ExitStatus, ()> {
        if self.try_connect().is_ok() {
            return Err(());
        }
        // Nobody listens: it is dead, or about to be once it has said why.
        let _ = self.log.read_to_end(&mut Vec::new());
        self.process.wait().map_err(|_| ())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn bootstrap(
    module: &std::path::Path,
    address: SocketAddr,
    upstream: SocketAddr,
    trailers: bool,
    protocol: Protocol,
) -> String {
    let socket = |address: SocketAddr| {
        serde_json::json!({"socket_address": {
            "address": address.ip(), "port_value": address.port(),
        }})
    };
    let wasm = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {"name": "guest", "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": module}},
        }},
    });
    let router = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    });
    let manager = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.\
                  http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "a",
        "http_protocol_options": {"enable_trailers": trailers},
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
        }]},
        "http_filters": [
            {"name": "wasm", "typed_config": wasm},
            {"name": "router", "typed_config": router},
        ],
    });
    let options = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": match protocol {
            Protocol::Http1 => {
                serde_json::json!({"http_protocol_options": {"enable_trailers": trailers}})
            }
            Protocol::Http2 => serde_json::json!({"http2_protocol_options": {}}),
        },
    });
    let listener = serde_json::json!({
        "name": "a", "address": socket(address),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    });
    let cluster = serde_json::json!({
        "name": "upstream", "type": "STATIC", "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
        },
        "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": socket(upstream)}},
        ]}]},
    });
    let resources = serde_json::json!({"listeners": [listener], "clusters": [cluster]});
    serde_json::json!({"static_resources": resources}).to_string()
}

/// An upstream for one connection: reads until these bytes have come, writes its answer, and closes
/// the connection if it is told to.
pub(crate) fn upstream(until: &'static [u8], answer: &'static [u8], closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        let mut piece = [0; 4096];
        while !seen.windows(until.len()).any(|part| part == until) {
            let Ok(read @ 1..) = stream.read(&mut piece) else {
                return;
            };
            seen.extend_from_slice(&piece[..read]);
        }
        if stream.write_all(answer).is_err() || closes {
            return;
        }
        // Until Envoy is gone.
        while stream.read(&mut piece).is_ok_and(|read| read > 0) {}
    });
    address
}

/// A guest that logs each callback with its sizes.
fn guest() -> Vec<u8> {
    wat::parse_str(module(&[chatty("", &[])])).unwrap()
}

fn ours() -> HostBuilder {
    let module = Module::from_bytes("guest".as_ref(), &guest()).unwrap();
    Host::builder().plugin(Plugin::new(module.into()))
}

pub(crate) fn said(host: &Host) -> Vec<String> {
    let lines = host.take_logs();
    lines.into_iter().map(|line| line.message).collect()
}

/// What Envoy's guest says of a request of these bytes; the client leaves at once if it is told to.
fn in_envoy(
    upstream: SocketAddr,
    trailers: bool,
    request: &[u8],
    leaves: bool,
) -> Option<Vec<String>> {
    let mut envoy = Envoy::start(&guest(), upstream, trailers)?;
    let mut client = envoy.connect();
    client.write_all(request).unwrap();
    if leaves {
        // Envoy has to see the bytes before it sees the end.
        envoy.lines_until("request_body");
        client.shutdown(Shutdown::Both).unwrap();
    }
    Some(envoy.said())
}

/// What an Envoy's guest says of a request of these bytes; the client leaves after a line, if one is
/// given.
pub(crate) fn in_envoy_until(
    mut envoy: Envoy,
    request: &[u8],
    leaves_after: Option<&str>,
) -> Vec<String> {
    let mut client = envoy.connect();
    client.write_all(request).unwrap();
    let mut lines = Vec::new();
    if let Some(line) = leaves_after {
        lines = envoy.said_until(line);
        client.shutdown(Shutdown::Both).unwrap();
    }
    lines.extend(envoy.said());
    lines
}

/// The callbacks without the number of headers, which the connection manager adds to.
fn callbacks(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .map(|line| match line.split_once(' ') {
            Some((name, rest)) if name.ends_with("_headers") => {
                format!("{name} {}", rest.rsplit(' ').next().unwrap_or_default())
            }
            _ => line.clone(),
        })
        .collect()
}

/// Asserts that both have made these callbacks.
#[track_caller]
pub(crate) fn assert_callbacks(ours: &[String], envoys: Option<Vec<String>>, expected: &[&str]) {
    assert_eq!(callbacks(ours), expected, "here");
    if let Some(envoys) = envoys {
        assert_eq!(callbacks(&envoys), expected, "Envoy");
    }
}

pub(crate) fn respond(trailers: bool) -> Answer {
    let end: &[(&str, &str)] = if trailers { &[("x-end", "1")] } else { &[] };
    Answer::Respond {
        headers: [(":status", "200")].into_iter().collect(),
        chunks: vec!["hello".into()],
        trailers: end.iter().copied().collect(),
    }
}

#[test]
fn trailers_end_a_message_where_they_are_let_through() {
    let host = ours().upstream(|_| respond(true)).build().unwrap();
    host.post("/").body("abc").trailer("x-sum", "1").send();
    let upstream = upstream(b"x-sum: 1\r\n\r\n", ANSWER_WITH_TRAILERS, false);
    assert_callbacks(
        &said(&host),
        in_envoy(upstream, true, WITH_TRAILERS, false),
        &[
            "request_headers 0",
            "request_body 3 0",
            "request_trailers",
            "response_headers 0",
            "response_body 5 0",
            "response_trailers",
            "log",
            "done",
            "delete",
        ],
    );
}

#[test]
fn trailers_that_are_not_let_through_leave_an_empty_end() {
    let host = ours().upstream(|_| respond(false)).build().unwrap();
    host.post("/").body("abc").send();
    let upstream = upstream(b"0\r\n\r\n", ANSWER_WITH_TRAILERS, false);
    assert_callbacks(
        &said(&host),
        in_envoy(upstream, false, WITH_TRAILERS, false),
        &[
            "request_headers 0",
            "request_body 3 0",
            "request_body 0 1",
            "response_headers 0",
            "response_body 5 0",
            "response_body 0 1",
            "log",
            "done",
            "delete",
        ],
    );
}

#[test]
fn the_last_frame_of_http2_ends_its_body() {
    let host = ours().upstream(|_| respond(false)).build().unwrap();
    let split = Split {
        pieces: vec!["abc".into()],
        shape: Shape::Http2,
    };
    host.post("/").split(split).send();
    // Preface, settings, headers of stream 1, and its data with the end of the stream.
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    request.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // `:method POST`, `:scheme http`, `:path /` from the static table, and `:authority a`.
    request.extend([0, 0, 6, 1, 4, 0, 0, 0, 1, 0x83, 0x86, 0x84, 0x01, 1, b'a']);
    request.extend([0, 0, 3, 0, 1, 0, 0, 0, 1, b'a', b'b', b'c']);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let upstream = upstream(b"0\r\n\r\n", answer, false);
    assert_callbacks(
        &said(&host),
        in_envoy(upstream, false, &request, false),
        &[
            "request_headers 0",
            "request_body 3 1",
            "response_headers 0",
            "response_body 5 0",
            "response_body 0 1",
            "log",
            "done",
            "delete",
        ],
    );
}

#[test]
fn a_client_that_leaves_amid_its_body_ends_the_stream() {
    let host = ours().upstream(|_| Answer::Never).build().unwrap();
    drop(host.post("/").body("abc").unfinished().start());
    let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc";
    let upstream = upstream(b"never", b"", false);
    let envoys = in_envoy(upstream, false, request, true).map(|after| {
        let before = ["request_headers 4 0", "request_body 3 0"].map(str::to_owned);
        before.into_iter().chain(after).collect()
    });
    assert_callbacks(
        &said(&host),
        envoys,
        &[
            "request_headers 0",
            "request_body 3 0",
            "log",
            "done",
            "delete",
        ],
    );
}

#[test]
fn an_upstream_that_breaks_amid_its_body_ends_the_stream() {
    let host = ours().upstream(|_| Answer::Break {
        headers: [(":status", "200"), ("content-length", "10")]
            .into_iter()
            .collect(),
        chunks: vec!["abc".into()],
    });
    let host = host.build().unwrap();
    host.get("/").send();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let upstream = upstream(b"\r\n\r\n", answer, true);
    assert_callbacks(
        &said(&host),
        in_envoy(upstream, false, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", false),
        &[
            "request_headers 1",
            "response_headers 0",
            "response_body 3 0",
            "log",
            "done",
            "delete",
        ],
    );
}

/// A head alone, however its headers announce a body.
#[test]
fn answers_that_have_no_body_end_with_their_headers() {
    let table: [(&str, &[u8]); 3] = [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "GET",
            b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        ),
    ];
    for (method, answer) in table {
        let status = String::from_utf8_lossy(&answer[9..12]).into_owned();
        let host = ours().upstream(move |_| Answer::Respond {
            headers: [(":status", status.as_str())].into_iter().collect(),
            chunks: Vec::new(),
            trailers: Headers::new(),
        });
        let host = host.build().unwrap();
        host.request(method, "/").send();
        let request = format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n");
        let upstream = upstream(b"\r\n\r\n", answer, false);
        assert_callbacks(
            &said(&host),
            in_envoy(upstream, false, request.as_bytes(), false),
            &[
                "request_headers 1",
                "response_headers 1",
                "log",
                "done",
                "delete",
            ],
        );
    }
}
