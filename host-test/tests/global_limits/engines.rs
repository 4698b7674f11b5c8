//! The engines: Redis and webdis of the distribution, and the example server, each on a port of the
//! loopback that nobody else knows.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::ports::unused_address;

/// A running program. Dropping it ends the program.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Redis behind webdis, which allows what the filter uses and nothing else.
pub(crate) struct Redis {
    redis: Option<Program>,
    redis_address: SocketAddr,
    webdis: Option<Program>,
    /// Where webdis listens.
    pub(crate) address: SocketAddr,
    folder: PathBuf,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let (redis_address, address) = (unused_address(), unused_address());
        let name = format!("penstock-redis-{}-{}", std::process::id(), address.port());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let config = serde_json::json!({
            "redis_host": "127.0.0.1",
            "redis_port": redis_address.port(),
            "http_host": "127.0.0.1",
            "http_port": address.port(),
            "threads": 2,
            "daemonize": false,
            "websockets": false,
            "acl": [{"disabled": ["*"]}, {"enabled": ["EVAL", "EVALSHA"]}],
            "verbosity": 0,
            "logfile": folder.join("webdis.log"),
        });
        let path = folder.join("webdis.json");
        std::fs::write(&path, config.to_string()).expect("written");
        let mut this = Self {
            redis: None,
            redis_address,
            webdis: None,
            address,
            folder,
        };
        this.start_redis();
        let webdis = spawn(Command::new("webdis").arg(&path).stdout(Stdio::null()));
        this.webdis = Some(webdis);
        this.await_webdis();
        this
    }

    /// Starts Redis, with nothing in it.
    pub(crate) fn start_redis(&mut self) {
        let port = self.redis_address.port().to_string();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port, "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(&self.folder)
            .stdout(Stdio::piped());
        let mut program = spawn(&mut command);
        let stdout = program.0.stdout.take().expect("piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let ready = lines.any(|line| line.contains("Ready to accept connections"));
        assert!(ready, "redis-server ended");
        // A pipe that nobody reads would block it.
        std::thread::spawn(move || lines.for_each(drop));
        self.redis = Some(program);
    }

    /// Kills Redis; what was in it is gone.
    pub(crate) fn kill_redis(&mut self) {
        self.redis = None;
    }

    /// Waits until webdis listens. It tells nobody when it does.
    fn await_webdis(&self) {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "webdis does not listen"
            );
            std::thread::yield_now();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        (self.webdis, self.redis) = (None, None);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The example server of the Rate Limit Service protocol, over Limitador.
pub(crate) struct RlsServer {
    _program: Program,
    pub(crate) address: SocketAddr,
}

impl RlsServer {
    /// Lets each client have so many requests in so many seconds, in the domain `edge`.
    pub(crate) fn start(requests: u64, seconds: u64) -> Self {
        let program = std::env::var_os("PENSTOCK_RLS_SERVER").unwrap_or_else(|| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../target/debug/rls-server").into()
        });
        let mut command = Command::new(program);
        command
            .args(["edge", &requests.to_string(), &seconds.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut program = spawn(&mut command);
        let stdout = program.0.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says where it listens");
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("an address");
        Self {
            address: address.parse().expect("an address"),
            _program: program,
        }
    }
}

fn spawn(command: &mut Command) -> Program {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.spawn() {
        Ok(child) => Program(child),
        Err(error) => panic!(
            "{name} does not start: {error}; `cargo xtask setup` installs redis-server and webdis, \
             `cargo build -p rls-server` makes the server"
        ),
    }
}
