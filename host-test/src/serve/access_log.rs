//! Writing access logs: lines are gathered per worker and written in one piece.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::format::{View, write_json, write_text};
use crate::bootstrap::{AccessLog, Format, Sink};

/// Lines wait at most this long.
const FLUSH_AFTER: Duration = Duration::from_millis(20);
/// Lines wait until there are this many bytes of them.
const FLUSH_AT: usize = 16 * 1024;

/// An opened access log, shared by the workers.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Opened for appending, so that pieces of several workers don't mix.
    File(Arc<File>),
    Stderr,
    Stdout,
}

impl Target {
    /// Opens the place that a log's lines go to.
    pub(super) fn open(log: &AccessLog) -> Result<Self, String> {
        match &log.sink {
            Sink::Stderr => Ok(Self::Stderr),
            Sink::Stdout => Ok(Self::Stdout),
            Sink::File(path) => File::options()
                .append(true)
                .create(true)
                .open(path)
                .map(|file| Self::File(Arc::new(file)))
                .map_err(|error| format!("access log {} can't be opened: {error}", path.display())),
        }
    }

    fn write(&self, lines: &str) -> io::Result<()> {
        match self {
            Self::File(file) => (&**file).write_all(lines.as_bytes()),
            Self::Stderr => io::stderr().lock().write_all(lines.as_bytes()),
            Self::Stdout => {
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
    lines: RefCell<String>,
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
                    lines: RefCell::default(),
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
            let mut lines = writer.lines.borrow_mut();
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
            writer.write(&mut writer.lines.borrow_mut());
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
