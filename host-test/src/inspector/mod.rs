//! The inspector: what filters did to each request, kept for a page that shows it.
//!
//! `serve --inspect` notes each request while it runs ([`tape`]) and keeps the last ones ([`ring`]),
//! written already ([`entry`]), with credentials masked ([`mask`]). The admin listener serves the
//! page and its data ([`routes`]), sends a request again ([`replay`]), and turns one into a scenario
//! ([`scenario`]). `run --html` writes the same page with its data in it ([`report`]).
//!
//! Off, it costs one branch at each place where it would note something.

mod calls;
mod entry;
mod mask;
mod page;
mod replay;
mod report;
mod ring;
mod routes;
mod scenario;
mod tape;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use tokio::sync::watch;

use crate::shared::Shared;
use crate::trace::Trace;

pub use mask::Mask;

pub(crate) use calls::Calls;
pub(crate) use entry::{Call, Message, Seen};
pub(crate) use report::Report;
pub(crate) use routes::{Body, is_ours, serve};
pub(crate) use scenario::Surroundings;
pub(crate) use tape::{End, Tape};

use ring::{Kept, Limits, Original, Ring};

/// What requests may take in memory, however many they are.
const BYTES: usize = 256 << 20;

/// Callbacks outside requests that are kept.
const BACKGROUND: usize = 500;

/// Callouts outside requests that are kept for scenarios.
const CALLOUTS: usize = 32;

/// Samples of the metrics that are kept, one for each second.
const SAMPLES: usize = 300;

/// Metrics that are shown; a module that defines more is told of by strict mode.
const METRICS: usize = 500;

/// How requests are recorded.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many requests are kept, at least 1; 10,000 by default. Together they take no more than
    /// 256 MiB.
    pub requests: usize,
    /// Whether credentials are shown.
    pub secrets: bool,
    /// Whether wasm instructions are counted, which makes guests slower.
    pub instructions: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requests: 10_000,
            secrets: false,
            instructions: false,
        }
    }
}

/// What a gateway has recorded.
pub(crate) struct Inspector {
    settings: Settings,
    mask: Mask,
    /// Tells one run of the gateway from another.
    instance: String,
    ring: Mutex<Ring>,
    background: Mutex<Background>,
    samples: Mutex<VecDeque<Sample>>,
    shared: Arc<Shared>,
    /// By listener.
    surroundings: Vec<Surroundings>,
    addresses: OnceLock<Vec<SocketAddr>>,
    /// The number of the last request.
    changed: watch::Sender<u64>,
}

/// What happened outside requests.
#[derive(Default)]
struct Background {
    callbacks: VecDeque<Json>,
    callouts: VecDeque<Call>,
    /// Callbacks ever.
    count: u64,
}

/// The metrics at a time.
struct Sample {
    /// Milliseconds of the Unix time.
    at: f64,
    values: BTreeMap<String, u64>,
}

impl Inspector {
    pub(crate) fn new(
        settings: Settings,
        shared: Arc<Shared>,
        surroundings: Vec<Surroundings>,
    ) -> Self {
        let limits = Limits {
            requests: settings.requests.max(1),
            bytes: BYTES,
        };
        Self {
            settings,
            mask: if settings.secrets {
                Mask::Off
            } else {
                Mask::On
            },
            instance: format!("{:x}-{}", (now() * 1000.0) as u64, std::process::id()),
            ring: Mutex::new(Ring::new(limits)),
            background: Mutex::default(),
            samples: Mutex::default(),
            shared,
            surroundings,
            addresses: OnceLock::new(),
            changed: watch::Sender::new(0),
        }
    }

    /// Tells where the listeners listen, for requests that are sent again.
    pub(crate) fn listening_on(&self, addresses: Vec<SocketAddr>) {
        // A gateway tells it once.
        let _ = self.addresses.set(addresses);
    }

    /// Keeps a request that is over.
    fn keep(&self, seen: &Seen, began: Instant, original: Option<Original>) {
        // Written outside of the lock, with the number put in afterwards.
        let (mut summary, mut detail) = entry::write(0, seen, Some(began), self.mask);
        let mut ring = lock(&self.ring);
        let id = ring.next();
        summary["id"] = id.into();
        detail["id"] = id.into();
        detail["replayable"] = original.as_ref().is_some_and(|o| o.body.is_some()).into();
        ring.push(Kept {
            summary: summary.to_string(),
            detail: detail.to_string(),
            original,
        });
        drop(ring);
        self.changed.send_replace(id);
    }

    /// Keeps callbacks that belong to no request.
    pub(crate) fn background(&self, trace: &Trace) {
        let at = now();
        let mut background = lock(&self.background);
        for mut callback in entry::callbacks(trace, None, self.mask) {
            callback["at"] = at.into();
            background.count += 1;
            background.callbacks.push_back(callback);
        }
        while background.callbacks.len() > BACKGROUND {
            background.callbacks.pop_front();
        }
    }

    /// Keeps a callout that belongs to no request.
    fn background_callout(&self, call: Call) {
        let mut background = lock(&self.background);
        let same = |known: &Call| {
            known.cluster == call.cluster
                && known.headers.first(":path") == call.headers.first(":path")
        };
        background.callouts.retain(|known| !same(known));
        background.callouts.push_back(call);
        while background.callouts.len() > CALLOUTS {
            background.callouts.pop_front();
        }
    }

    /// Takes a sample of the metrics.
    fn sample(&self) {
        let values = self.metrics();
        let mut samples = lock(&self.samples);
        samples.push_back(Sample { at: now(), values });
        while samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    fn metrics(&self) -> BTreeMap<String, u64> {
        let numbers = self.shared.metrics().numbers();
        numbers.into_iter().take(METRICS).collect()
    }

    /// Keys of the shared data with their sizes, by `vm_id`.
    fn shared_data(&self) -> Json {
        let data = self.shared.data();
        let scopes = data.sizes().into_iter().map(|(vm_id, keys)| {
            let all = keys.len();
            let bytes: usize = keys.iter().map(|(key, value)| key.len() + value).sum();
            let shown = keys.iter().take(routes::KEYS_SHOWN).map(|(key, value)| {
                let text = crate::trace::escaped(key, false);
                json!([self.mask.text(&text), value])
            });
            json!({
                "vm_id": vm_id,
                "keys": all,
                "bytes": bytes,
                "entries": shown.collect::<Vec<_>>(),
            })
        });
        scopes.collect()
    }
}

/// Milliseconds of the Unix time.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64() * 1000.0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
