//! The files in `envoy/`: accepted by `host-test check` and by the real Envoy, and served alike by
//! both.

#[path = "common/ports.rs"]
mod ports;
#[path = "common/real_envoy.rs"]
mod real_envoy;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ports::unused_address;
use real_envoy::real_envoy;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn host_test() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host-test"));
    command.current_dir(root());
    command
}

/// The real Envoy, or nothing where the tests run without it.
fn envoy() -> Option<Command> {
    let path = real_envoy()?;
    let mut command = Command::new(path);
    command.current_dir(root());
    Some(command)
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("envoy")).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    assert!(files.len() >= 2, "{files:?}");
    files
}

#[test]
fn every_file_is_accepted_by_our_check() {
    for file in files() {
        let output = host_test().arg("check").arg(&file).output().expect("runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", file.display());
    }
}

#[test]
fn every_file_is_accepted_by_envoy() {
    for file in files() {
        let Some(mut envoy) = envoy() else { return };
        let output = envoy
            .arg("-c")
            .arg(&file)
            .args(["--mode", "validate"])
            .output()
            .expect("runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", file.display());
    }
}

/// A gateway that serves a copy of `envoy/rate-limit.yaml` on ports of its own.
struct Gateway {
    child: Child,
    address: SocketAddr,
    config: PathBuf,
}

impl Gateway {
    fn start(mut command: Command, envoy: bool) -> Self {
        let (gateway, admin, upstream) =
            (unused_address(), unused_address().port(), serve_upstream());
        let text = std::fs::read_to_string(root().join("envoy/rate-limit.yaml")).expect("readable");
        let text = text
            .replace(
                "port_value: 10000",
                &format!("port_value: {}", gateway.port()),
            )
            .replace("port_value: 9901", &format!("port_value: {admin}"))
            .replace("port_value: 8080", &format!("port_value: {upstream}"));
        let name = format!(
            "penstock-example-{}-{}.yaml",
            std::process::id(),
            gateway.port()
        );
        let config = std::env::temp_dir().join(name);
        std::fs::write(&config, text).expect("written");
        if envoy {
            command.args([
                "--disable-hot-restart",
                "--concurrency",
                "2",
                "-l",
                "error",
                "-c",
            ]);
        } else {
            command.arg("serve");
        }
        command
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("starts");
        let gateway = Self {
            child,
            address: gateway,
            config,
        };
        gateway.wait();
        gateway
    }

    /// Waits until the listener accepts, which both gateways' do once they are ready.
    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < deadline, "the gateway does not listen");
            std::thread::yield_now();
        }
    }

    /// The status and the headers that a filter decides about.
    fn ask(&self, request: &str) -> Vec<String> {
        let mut stream = TcpStream::connect(self.address).expect("accepts");
        let head = format!(
            "{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        let mut lines = answer.lines();
        let status = lines
            .next()
            .expect("a status line")
            .split(' ')
            .nth(1)
            .map(str::to_owned);
        let kept = ["ratelimit-policy:", "retry-after:", "x-seen:"];
        let headers = lines.filter(|line| kept.iter().any(|name| line.starts_with(name)));
        status
            .into_iter()
            .chain(headers.map(str::to_owned))
            .collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

/// Answers every request on the returned port with 200 and the path it asked for.
fn serve_upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone()?);
                let mut first = String::new();
                while reader.read_line(&mut first)? > 0 {
                    let mut line = String::new();
                    while line != "\r\n" {
                        line.clear();
                        if reader.read_line(&mut line)? == 0 {
                            return Ok(());
                        }
                    }
                    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-seen: {path}\r\n\r\n");
                    (&stream).write_all(answer.as_bytes())?;
                    first.clear();
                }
                std::io::Result::Ok(())
            });
        }
    });
    port
}

#[test]
fn both_gateways_serve_the_rate_limit_file_alike() {
    let tour = |gateway: &Gateway| -> Vec<Vec<String>> {
        let logins = (0..6).map(|_| gateway.ask("POST /login"));
        let others = (0..2).map(|_| gateway.ask("GET /other"));
        logins.chain(others).collect()
    };
    let ours = tour(&Gateway::start(host_test(), false));
    let statuses: Vec<_> = ours.iter().map(|answer| answer[0].as_str()).collect();
    assert_eq!(
        statuses,
        ["200", "200", "200", "200", "200", "429", "200", "200"]
    );
    assert!(
        ours[5].contains(&"retry-after: 12".to_owned()),
        "{:?}",
        ours[5]
    );
    if let Some(envoy) = envoy() {
        assert_eq!(tour(&Gateway::start(envoy, true)), ours);
    }
}
