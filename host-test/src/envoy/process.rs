//! An Envoy process: started, listened to, and never left behind.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::scenario::Broken;

use super::clock::EnvoyClock;
use super::logs::{FORMAT, Record, Records};

/// How long Envoy may take to start, and to say what it has to say. It needs a fraction of a
/// second; a loaded machine with a large module needs several.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What of Envoy's log is needed: that it has started, guests' lines, and the marks in `admin`.
pub(super) const LOG_LEVELS: &str = "main:info,wasm:info,admin:debug";

/// Envoy says this once its workers run.
const STARTED: &str = "starting main dispatch loop";

/// Envoy's exit code if it refuses its configuration; a crash is a signal.
const REFUSAL: i32 = 1;

/// A running Envoy. Dropping the value ends the process and removes its folder.
pub(super) struct Process {
    child: Child,
    records: Records,
    stderr: Receiver<String>,
    stdout: Receiver<String>,
    folder: Folder,
}

/// Why Envoy ended instead of starting.
pub(super) struct Exited {
    /// The last and worst thing it said.
    pub(super) cause: String,
    /// Everything it said.
    pub(super) records: Vec<Record>,
}

impl Process {
    /// Starts Envoy on a bootstrap and waits until it serves. The outer error is one of the
    /// machine, the inner one Envoy's refusal.
    pub(super) fn start(
        binary: &Path,
        bootstrap: &str,
        concurrency: usize,
        folder: Folder,
        clock: Option<&EnvoyClock>,
        log_levels: &str,
    ) -> Result<Result<Self, Exited>, Broken> {
        let config = folder.path.join("bootstrap.yaml");
        std::fs::write(&config, bootstrap)
            .map_err(|error| Broken(format!("can't write {}: {error}", config.display())))?;
        let mut command = Command::new(binary);
        command
            .arg("--config-path")
            .arg(&config)
            .args(["--concurrency", &concurrency.to_string()])
            .args(["--disable-hot-restart", "--file-flush-min-size-kb", "0"])
            .args(["--log-level", "error", "--log-format", FORMAT])
            .args(["--component-log-level", log_levels])
            .arg("--admin-address-path")
            .arg(folder.path.join("admin"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(clock) = clock {
            clock.attach(&mut command);
        }
        let mut child = command
            .spawn()
            .map_err(|error| Broken(format!("can't start {}: {error}", binary.display())))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let process = Self {
            child,
            records: Records::default(),
            stdout: lines(stdout),
            stderr: lines(stderr),
            folder,
        };
        process.await_start()
    }

    fn await_start(mut self) -> Result<Result<Self, Exited>, Broken> {
        let started = |record: &Record| record.message.contains(STARTED);
        match self.await_record(started) {
            Ok(()) => Ok(Ok(self)),
            Err(RecvTimeoutError::Timeout) => Err(Broken(format!(
                "Envoy did not start within {} s",
                PATIENCE.as_secs()
            ))),
            Err(RecvTimeoutError::Disconnected) => {
                let refused = self
                    .child
                    .wait()
                    .is_ok_and(|status| status.code() == Some(REFUSAL));
                if !refused {
                    return Err(self.ended());
                }
                let cause = self.records.last_words().unwrap_or("Envoy gives no reason");
                Ok(Err(Exited {
                    cause: cause.to_owned(),
                    records: self.records.take(),
                }))
            }
        }
    }

    /// The file that Envoy writes its admin address to.
    pub(super) fn admin_address(&self) -> std::io::Result<String> {
        std::fs::read_to_string(self.folder.path.join("admin"))
    }

    /// Waits for the next line of Envoy's standard output, which is the access log.
    pub(super) fn await_access_log(&mut self) -> Result<String, Broken> {
        self.stdout
            .recv_timeout(PATIENCE)
            .map_err(|error| self.silence("no access log line came", error))
    }

    /// Waits until Envoy's log has a record of which this holds. What was logged before is read by
    /// then, too.
    pub(super) fn await_log(&mut self, holds: impl Fn(&Record) -> bool) -> Result<(), Broken> {
        self.await_record(holds)
            .map_err(|error| self.silence("an expected log line did not come", error))
    }

    /// Reads what was logged until now without waiting.
    pub(super) fn read_log(&mut self) {
        while let Ok(line) = self.stderr.try_recv() {
            self.records.add_line(&line);
        }
    }

    /// Takes the records since the last call.
    pub(super) fn take_records(&mut self) -> Vec<Record> {
        self.records.take()
    }

    fn await_record(&mut self, holds: impl Fn(&Record) -> bool) -> Result<(), RecvTimeoutError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.stderr.recv_timeout(left)?;
            if self.records.add_line(&line).is_some_and(&holds) {
                return Ok(());
            }
        }
    }

    fn silence(&mut self, what: &str, error: RecvTimeoutError) -> Broken {
        match error {
            RecvTimeoutError::Timeout => {
                Broken(format!("{what} from Envoy within {} s", PATIENCE.as_secs()))
            }
            RecvTimeoutError::Disconnected => self.ended(),
        }
    }

    /// What to say of an Envoy that ended by itself.
    fn ended(&mut self) -> Broken {
        let status = self
            .child
            .wait()
            .map(|status| status.to_string())
            .unwrap_or_default();
        self.read_log();
        let words = self.records.last_words().unwrap_or("none");
        Broken(format!("Envoy ended ({status}); its last words: {words}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing is lost by ending it at once: all that it had to say was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a stream line by line in a thread; the channel ends with the stream.
fn lines(stream: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(stream) = stream {
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
                if sender.send(text.into_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
    }
    receiver
}

/// A temporary folder; it goes with the value.
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

impl Folder {
    /// Makes a folder that no one else has.
    pub(super) fn create() -> Result<Self, Broken> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("host-test-envoy-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)
            .map_err(|error| Broken(format!("can't make {}: {error}", path.display())))?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::super::find_envoy;
    use super::*;

    const BARE: &str = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}";

    fn start(bootstrap: &str) -> Option<Result<Process, Exited>> {
        std::env::var_os("ENVOY_BIN")?;
        let folder = Folder::create().unwrap();
        Process::start(&find_envoy()?, bootstrap, 1, folder, None, LOG_LEVELS).ok()
    }

    #[test]
    fn nothing_is_left_of_a_process_even_after_a_panic() {
        let Some(started) = start(BARE) else { return };
        let Ok(process) = started else {
            panic!("Envoy starts")
        };
        let pid = PathBuf::from(format!("/proc/{}", process.child.id()));
        let folder = process.folder.path.clone();
        assert!(pid.exists() && folder.exists());

        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _process = process;
            panic!("a test fails");
        }));
        assert!(panicked.is_err());
        assert!(!pid.exists() && !folder.exists());
    }

    #[test]
    fn a_bootstrap_that_envoy_refuses_is_told_in_its_words() {
        let Some(started) = start("admin: {adress: x}") else {
            return;
        };
        let Err(exited) = started else {
            panic!("Envoy refuses it")
        };
        assert!(exited.cause.contains("adress"), "{}", exited.cause);
    }
}
