//! What guests were asked and what they asked for: each callback with the hostcalls made in it.
//!
//! A trace holds no addresses and nothing of the machine, so that equal input gives equal traces,
//! byte for byte. Long values keep their beginning and their size. It is off unless
//! [`HostBuilder::trace`](crate::host::HostBuilder::trace) asks for it.

mod decode;
pub(crate) mod detail;
mod json;
mod text;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) use decode::{callback_arguments, inputs, outputs};
pub(crate) use text::{escaped, shown, status};

/// Of a value, this many bytes are kept.
pub const BYTES_KEPT: usize = 64;

/// Of a list of headers, this many are kept.
pub const PAIRS_KEPT: usize = 32;

/// Callbacks in the order in which they began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    callbacks: Vec<Callback>,
}

/// A guest was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Counts the callbacks of the host from 0: what came first, whatever worker it ran on.
    pub number: u64,
    /// The virtual time since the host's start.
    pub at: Duration,
    /// Where it ran.
    pub thread: Thread,
    /// The plugin's name; empty while a VM's start functions run.
    pub plugin: String,
    /// The context's id in its VM; 0 while start functions run.
    pub context: u32,
    /// `proxy_on_request_headers`, …
    pub name: &'static str,
    /// What was handed over besides the context's id.
    pub arguments: Vec<Argument>,
    /// What the guest asked for, in order.
    pub calls: Vec<Hostcall>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it cost, if instructions are counted.
    pub instructions: Option<u64>,
    /// What the inspector asks for.
    pub(crate) detail: Option<Box<detail::Detail>>,
}

/// The threads of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thread {
    /// The main thread, which serves no requests.
    Main,
    /// A worker, from 0.
    Worker(u64),
}

/// How a callback ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned; a number if the callback has a result.
    Returned(Option<i32>),
    /// It trapped, in the words of the log line without its backtrace.
    Trapped(String),
}

/// A guest called the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostcall {
    /// `proxy_get_header_map_value`, …
    pub name: &'static str,
    /// What the guest handed over.
    pub arguments: Vec<Argument>,
    /// What it got besides the status; empty unless the status is 0.
    pub results: Vec<Argument>,
    /// The status it got; `None` if the call ended in a trap.
    pub status: Option<i32>,
    /// Whether a fault answered in the host's place.
    pub fault: bool,
    /// What the inspector asks for.
    pub(crate) timing: Option<detail::Timing>,
}

/// A named value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name in the ABI.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
}

/// A value as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(i64),
    /// A number that stands for a word of the ABI.
    Word(&'static str),
    /// The beginning of a text or of bytes.
    Bytes {
        /// At most [`BYTES_KEPT`] bytes.
        head: Vec<u8>,
        /// The size of the whole.
        size: usize,
    },
    /// The beginning of a list of headers.
    Pairs {
        /// At most [`PAIRS_KEPT`] names and values, each as [`Value::Bytes`].
        head: Vec<(Self, Self)>,
        /// The length of the whole.
        count: usize,
    },
    /// It lies outside the guest's memory, or has no form that can be read.
    Unreadable,
}

impl Value {
    /// Keeps the beginning of some bytes.
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        let head = bytes.get(..BYTES_KEPT).unwrap_or(bytes).to_vec();
        Self::Bytes {
            head,
            size: bytes.len(),
        }
    }
}

impl Trace {
    /// The callbacks.
    pub fn callbacks(&self) -> &[Callback] {
        &self.callbacks
    }

    /// All hostcalls, in order.
    pub fn calls(&self) -> impl Iterator<Item = &Hostcall> {
        self.callbacks.iter().flat_map(|callback| &callback.calls)
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.callbacks.is_empty()
    }

    /// Adds what another trace holds, at its place in the host's order.
    pub fn merge(&mut self, other: Self) {
        self.callbacks.extend(other.callbacks);
        self.callbacks.sort_by_key(|callback| callback.number);
    }

    /// As text with a line per callback and hostcall; see also [`Display`](fmt::Display), which
    /// leaves times and instructions out.
    pub fn timed(&self) -> String {
        text::render(self, true)
    }

    /// A JSON object per callback and line.
    pub fn json_lines(&self) -> String {
        json::render(self)
    }
}

impl From<Vec<Callback>> for Trace {
    fn from(callbacks: Vec<Callback>) -> Self {
        Self { callbacks }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::render(self, false))
    }
}

impl Callback {
    /// What the guest returned, in the callback's own words: `continue` and `pause`, `true` and
    /// `false`, or a number.
    pub fn returned(&self) -> Option<String> {
        let Outcome::Returned(Some(code)) = self.outcome else {
            return None;
        };
        let judges = matches!(
            self.name,
            "proxy_on_vm_start" | "proxy_on_configure" | "proxy_on_done"
        );
        Some(match (code, judges) {
            (0, true) => "false".to_owned(),
            (_, true) => "true".to_owned(),
            (0, false) => "continue".to_owned(),
            (1, false) => "pause".to_owned(),
            (code, false) => code.to_string(),
        })
    }
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::Worker(number) => write!(f, "worker {number}"),
        }
    }
}

/// Numbers the callbacks of a host; to be given to all its workers.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    next: Arc<AtomicU64>,
}

impl Recorder {
    /// The next number.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}
