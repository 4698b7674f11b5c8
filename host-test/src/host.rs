//! The library: plugins, scripted upstreams and virtual time in one value.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::headers::Headers;
use crate::plugin::Plugin;

/// Builds a [`Host`].
#[derive(Default)]
pub struct HostBuilder {}

/// A chain of plugins with its workers, shared state, virtual clock and scripted surroundings.
pub struct Host {}

/// Why a host could not be started: a module or a configuration was refused.
#[derive(Debug)]
pub struct StartError(pub String);

/// A request as a scripted upstream or callout service receives it.
#[derive(Clone, Debug)]
pub struct Received {
    pub cluster: String,
    pub headers: Headers,
    pub body: Bytes,
    pub trailers: Headers,
}

/// What a scripted upstream or callout service answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A complete answer; `headers` holds `:status`.
    Respond {
        headers: Headers,
        chunks: Vec<Bytes>,
        trailers: Headers,
    },
    /// The connection breaks before headers: Envoy answers 503 (or hands a 503 to the callout).
    Reset,
    /// Nothing ever comes: time-outs decide.
    Never,
}

/// A log line of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: log::Level,
    pub plugin: String,
    pub message: String,
}

/// All that was observed of one request.
#[derive(Clone, Debug)]
pub struct Reply {}

/// A request being put together.
pub struct RequestBuilder<'h> {
    _host: &'h Host,
}

impl Host {
    pub fn builder() -> HostBuilder {
        todo!()
    }
    pub fn request(&self, _method: &str, _path: &str) -> RequestBuilder<'_> {
        todo!()
    }
    pub fn get(&self, path: &str) -> RequestBuilder<'_> {
        self.request("GET", path)
    }
    /// Advances virtual time; ticks and time-outs that fall due run in order.
    pub fn advance(&self, _by: Duration) {
        todo!()
    }
    /// Counters and gauges of the guests by the name they were defined with.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        todo!()
    }
    /// Takes the log lines that have not been taken yet (including those of requests).
    pub fn take_logs(&self) -> Vec<LogLine> {
        todo!()
    }
    /// Keys and values of the shared data of one `vm_id`.
    pub fn shared_data(&self, _vm_id: &str) -> BTreeMap<String, Vec<u8>> {
        todo!()
    }
}

impl HostBuilder {
    pub fn plugin(self, _plugin: Plugin) -> Self {
        todo!()
    }
    /// Number of workers; `n` gives `n + 1` live VMs per plugin, as Envoy's main thread has one too.
    pub fn workers(self, _n: usize) -> Self {
        todo!()
    }
    /// Decides what upstreams answer. Default: 200 with an empty body.
    pub fn upstream(self, _f: impl FnMut(&Received) -> Answer + 'static) -> Self {
        todo!()
    }
    /// Decides what callouts answer. Default: 503 as for an unknown host.
    pub fn callouts(self, _f: impl FnMut(&Received) -> Answer + 'static) -> Self {
        todo!()
    }
    /// Whether what only hurts in production is an error; on by default.
    pub fn strict(self, _on: bool) -> Self {
        todo!()
    }
    pub fn seed(self, _seed: u64) -> Self {
        todo!()
    }
    pub fn build(self) -> Result<Host, StartError> {
        todo!()
    }
}

impl RequestBuilder<'_> {
    pub fn header(self, _name: &str, _value: impl AsRef<[u8]>) -> Self {
        todo!()
    }
    pub fn body(self, _body: impl Into<Bytes>) -> Self {
        todo!()
    }
    /// The body in these pieces.
    pub fn chunks(self, _chunks: Vec<Bytes>) -> Self {
        todo!()
    }
    pub fn trailer(self, _name: &str, _value: impl AsRef<[u8]>) -> Self {
        todo!()
    }
    /// Chooses the worker (0-based) instead of the next in turn.
    pub fn worker(self, _index: usize) -> Self {
        todo!()
    }
    /// `ip:port` of the client; default 127.0.0.1:40000.
    pub fn source_address(self, _address: &str) -> Self {
        todo!()
    }
    pub fn send(self) -> Reply {
        todo!()
    }
}

impl Reply {
    /// The status the client saw; `None` if it saw a reset or is still waiting.
    pub fn status(&self) -> Option<u16> {
        todo!()
    }
    pub fn headers(&self) -> &Headers {
        todo!()
    }
    pub fn body(&self) -> &[u8] {
        todo!()
    }
    pub fn trailers(&self) -> &Headers {
        todo!()
    }
    /// The request as the upstream received it; `None` if it never did.
    pub fn upstream_request(&self) -> Option<&Received> {
        todo!()
    }
    /// `%RESPONSE_CODE_DETAILS%`.
    pub fn details(&self) -> &str {
        todo!()
    }
    /// Filter state written with `set_property`, without the `wasm.` prefix.
    pub fn filter_state(&self) -> &BTreeMap<String, Vec<u8>> {
        todo!()
    }
    pub fn logs(&self) -> &[LogLine] {
        todo!()
    }
    /// Hostcalls made for this request, by name.
    pub fn hostcalls(&self) -> &BTreeMap<&'static str, u64> {
        todo!()
    }
    pub fn is_reset(&self) -> bool {
        todo!()
    }
    pub fn is_paused(&self) -> bool {
        todo!()
    }
    /// What strict mode found; empty when all is well.
    pub fn violations(&self) -> &[String] {
        todo!()
    }
}
