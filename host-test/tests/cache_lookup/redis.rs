//! Redis behind webdis, as processes of their own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::gateway::until;
use crate::ports::unused_address;

/// A Redis with a webdis. Dropping it ends both.
pub(crate) struct Redis {
    /// Where webdis listens.
    pub(crate) address: SocketAddr,
    redis: Child,
    webdis: Child,
    port: SocketAddr,
    folder: PathBuf,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let (port, address) = (unused_address(), unused_address());
        let folder = std::env::temp_dir().join(format!("penstock-redis-{}", port.port()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let config = folder.join("webdis.json");
        let text = serde_json::json!({
            "redis_host": "127.0.0.1", "redis_port": port.port(), "redis_auth": null,
            "http_host": "127.0.0.1", "http_port": address.port(), "threads": 2, "pool_size": 4,
            "daemonize": false, "websockets": false, "database": 0, "verbosity": 1,
            "http_max_request_size": 134_217_728, "logfile": folder.join("webdis.log"),
            "acl": [{"enabled": ["*"]}],
        });
        std::fs::write(&config, text.to_string()).expect("written");
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--port", &port.port().to_string()]);
        command.arg("--dir").arg(&folder);
        let redis = spawn(&mut command);
        until("redis listens", || TcpStream::connect(port).is_ok());
        let webdis = spawn(Command::new("webdis").arg(&config).current_dir(&folder));
        until("webdis listens", || TcpStream::connect(address).is_ok());
        Self {
            address,
            redis,
            webdis,
            port,
            folder,
        }
    }

    /// Ends Redis; webdis stays.
    pub(crate) fn kill(&mut self) {
        let _ = self.redis.kill();
        let _ = self.redis.wait();
    }

    /// Has Redis do nothing until it is told to go on; whoever asks it waits.
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
    }

    /// Has it go on.
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.redis.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.expect("there is a kill").success());
    }

    /// Sends a command and returns the first line of the answer, and if that tells of lines, those.
    pub(crate) fn command(&self, words: &[&str]) -> Vec<String> {
        let mut stream = BufReader::new(TcpStream::connect(self.port).expect("redis listens"));
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream
            .get_ref()
            .write_all(text.as_bytes())
            .expect("redis reads");
        let mut line = || {
            let mut line = String::new();
            stream.read_line(&mut line).expect("redis answers");
            let line = line.trim_end().to_owned();
            let Some(length) = line
                .strip_prefix('$')
                .and_then(|len| len.parse::<usize>().ok())
            else {
                return line;
            };
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes).expect("redis answers");
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        let first = line();
        match first.strip_prefix('*').and_then(|count| count.parse().ok()) {
            Some(count) => (0..count).map(|_: usize| line()).collect(),
            None => vec![first],
        }
    }

    /// The keys of stored objects.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = self.command(&["KEYS", "penstock:*"]);
        keys.retain(|key| !["penstock:purges", "penstock:keys"].contains(&&**key));
        keys
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        for child in [&mut self.webdis, &mut self.redis] {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; `cargo xtask setup` installs it"))
}
