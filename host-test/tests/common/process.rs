//! A gateway as a process of its own: `host-test serve` or the real Envoy, on one configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::client::Client;

/// Which gateway.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// `host-test serve`.
    Ours,
    /// The Envoy of that path.
    Envoy(OsString),
}

/// A gateway that serves. Dropping it ends the process.
pub(crate) struct Gateway {
    child: Child,
    folder: PathBuf,
    addresses: BTreeMap<String, SocketAddr>,
}

impl Gateway {
    /// Starts it on an Envoy configuration whose listeners have port 0, from the repository's
    /// root, with two workers, and waits until it serves.
    #[track_caller]
    pub(crate) fn start(kind: &Kind, config: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("penstock-gateway-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let path = folder.join("envoy.yaml");
        std::fs::write(&path, config).expect("written");
        let mut command = match kind {
            Kind::Ours => ours(&path),
            Kind::Envoy(program) => envoy(program, &path, &folder),
        };
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let mut child = command.spawn().expect("starts");
        let said = child.stderr.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        let mut gateway = Self {
            child,
            folder,
            addresses: BTreeMap::new(),
        };
        match kind {
            Kind::Ours => gateway.read_addresses(stdout, said),
            Kind::Envoy(_) => gateway.ask_addresses(stdout, said),
        }
        gateway
    }

    /// The id of its process.
    #[allow(dead_code, reason = "only tests of memory look at it")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where a listener listens.
    #[track_caller]
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let known = || format!("no listener {listener:?} in {:?}", self.addresses);
        *self
            .addresses
            .get(listener)
            .unwrap_or_else(|| panic!("{}", known()))
    }

    /// Ours tells each address in a line, and is ready by then.
    fn read_addresses(
        &mut self,
        stdout: impl Read + Send + 'static,
        said: impl Read + Send + 'static,
    ) {
        let complaints = collect(said);
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        // The lines come in one go: a listener is never told without those before it, and `admin`
        // is the last.
        for line in lines.by_ref() {
            let told = line
                .strip_prefix("listening on ")
                .and_then(|rest| rest.strip_suffix(')'));
            let (address, name) = told
                .and_then(|told| told.split_once(" ("))
                .expect("an address");
            let last = name == "admin";
            self.addresses
                .insert(name.to_owned(), address.parse().expect("an address"));
            if last {
                std::thread::spawn(move || lines.for_each(drop));
                return;
            }
        }
        panic!(
            "host-test serve ended:\n{}",
            complaints.join().unwrap_or_default()
        );
    }

    /// Envoy tells its admin address in a file and the others when it is asked.
    fn ask_addresses(
        &mut self,
        stdout: impl Read + Send + 'static,
        said: impl Read + Send + 'static,
    ) {
        collect(stdout);
        let mut complaints = String::new();
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let started = lines.by_ref().any(|line| {
            if !line.contains("[info]") {
                complaints.push_str(&line);
                complaints.push('\n');
            }
            line.contains("starting main dispatch loop")
        });
        assert!(started, "Envoy ended:\n{complaints}");
        // A pipe that nobody reads would block it.
        std::thread::spawn(move || lines.for_each(drop));
        let admin = std::fs::read_to_string(self.folder.join("admin")).expect("Envoy wrote it");
        let admin: SocketAddr = admin.parse().expect("an address");
        self.addresses.insert("admin".to_owned(), admin);
        let answer = Client::connect(admin).get("/listeners?format=json", "");
        let listeners: Value = serde_json::from_str(&answer.body).expect("JSON");
        for listener in listeners["listener_statuses"].as_array().expect("a list") {
            let port = &listener["local_address"]["socket_address"]["port_value"];
            let address = format!("127.0.0.1:{port}").parse().expect("an address");
            let name = listener["name"].as_str().expect("a name");
            self.addresses.insert(name.to_owned(), address);
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn ours(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host-test"));
    command
        .arg("serve")
        .arg(config)
        .args(["--concurrency", "2"]);
    piped(command)
}

fn envoy(program: &OsString, config: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg("--config-path")
        .arg(config)
        .args(["--concurrency", "2", "--disable-hot-restart"])
        .args(["--log-level", "error", "--component-log-level", "main:info"])
        .arg("--admin-address-path")
        .arg(folder.join("admin"));
    piped(command)
}

fn piped(mut command: Command) -> Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Reads a stream to its end on a thread of its own.
fn collect(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        // What isn't text is not worth more than the part before it.
        let _ = stream.read_to_string(&mut text);
        text
    })
}
