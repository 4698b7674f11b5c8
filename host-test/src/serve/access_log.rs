//! Writing access logs: lines are gathered over all workers and written in one piece.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::format::{View, write_json, write_text};
use crate::bootstrap::{AccessLog, Format, Sink};

/// Lines wait at most this long.
const FLUSH_AFTER: Duration = Duration::from_millis(20);
/// Lines wait until there are this many bytes of them.
const FLUSH_AT: usize = 16 * 1024;

/// An opened access log, shared by the workers: their lines wait in one place, in the order in which
/// the streams ended.
#[derive(Clone, Debug)]
pub(super) struct Target {
    out: Arc<Out>,
    lines: Arc<Mutex<String>>,
}

#[derive(Debug)]
enum Out {
    /// Opened for appending, so that pieces of several workers don't mix.
    File(File),
    Stderr,
    Stdout,
}

impl Target {
    /// Opens the place that a log's lines go to.
    pub(super) fn open(log: &AccessLog) -> Result<Self, String> {
        let out = match &log.sink {
            Sink::Stderr => Out::Stderr,
            Sink::Stdout => Out::Stdout,
            Sink::File(path) => {
                let file = File::options().append(true).create(true).open(path);
                let file = file.map_err(|error| {
                    format!("access log {} can't be opened: {error}", path.display())
                })?;
                Out::File(file)
            }
        };
        Ok(Self {
            out: Arc::new(out),
            lines: Arc::default(),
        })
    }

    fn lines(&self) -> MutexGuard<'_, String> {
        // Whole lines, between any two statements.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, lines: &str) -> io::Result<()> {
        match &*self.out {
            Out::File(file) => (&*file).write_all(lines.as_bytes()),
            Out::Stderr => io::stderr().lock().write_all(lines.as_bytes()),
            Out::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines.as_bytes())?;
                out.flush()
            }
        }
    }
}

/// A worker's ends of the access logs of its listeners.
pub(super) struct Logs {
    writers: Vec<Vec<Writer>>,
    waiting: Notify,
}

struct Writer {
    format: Format,
    target: Target,
}

impl Logs {
    /// By listener, the logs with the places that they go to.
    pub(super) fn new<'l>(
        listeners: impl Iterator<Item = (&'l [AccessLog], &'l [Target])>,
    ) -> Self {
        let writers = |(logs, targets): (&[AccessLog], &[Target])| -> Vec<Writer> {
            let pairs = logs.iter().zip(targets);
            pairs
                .map(|(log, target)| Writer {
                    format: log.format.clone(),
                    target: target.clone(),
                })
                .collect()
        };
        Self {
            writers: listeners.map(writers).collect(),
            waiting: Notify::new(),
        }
    }

    /// Whether a listener has an access log.
    pub(super) fn any(&self, listener: usize) -> bool {
        self.writers.get(listener).is_some_and(|w| !w.is_empty())
    }

    /// Adds the line of a stream to the logs of its listener.
    pub(super) fn log(&self, listener: usize, view: &View<'_>) {
        for writer in self.writers.get(listener).into_iter().flatten() {
            let mut lines = writer.target.lines();
            let first = lines.is_empty();
            match &writer.format {
                Format::Json(template) => {
                    write_json(template, view, &mut lines);
                    lines.push('\n');
                }
                Format::Text(template) => write_text(template, view, "-", &mut lines),
            }
            if lines.len() >= FLUSH_AT {
                writer.write(&mut lines);
            } else if first {
                self.waiting.notify_one();
            }
        }
    }

    /// Writes what waits, whenever something does.
    pub(super) async fn run(&self) {
        loop {
            self.waiting.notified().await;
            tokio::time::sleep(FLUSH_AFTER).await;
            self.flush();
        }
    }

    /// Writes what waits.
    pub(super) fn flush(&self) {
        for writer in self.writers.iter().flatten() {
            writer.write(&mut writer.target.lines());
        }
    }
}

impl Writer {
    /// Writes and clears the lines. A log that can't be written to doesn't stop the gateway.
    fn write(&self, lines: &mut String) {
        if !lines.is_empty()
            && let Err(error) = self.target.write(lines)
        {
            eprintln!("[warning] an access log can't be written: {error}");
        }
        lines.clear();
    }
}
