//! A scenario as it is written: the structs that the YAML is read into, and nothing else.
//!
//! The comments on the fields become the descriptions in `scenario.schema.json`, which editors
//! show; so they speak to the person who writes a scenario.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::callouts::{AnswerFields, CalloutBlock, CalloutsExpect};
use super::forced::{Budget, FaultBlock, FaultStep, Parallel, SharedDataExpect, Tick};
use super::matcher::{NumberMatch, TextMatch};
use super::values::{HeaderLines, Span};

/// One behaviour of a chain of plugins: what is configured, what is sent and what must be seen.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The behaviour as a sentence; names the test in reports.
    pub name: String,
    /// How many workers the host has (default 1). Each has its own VM per plugin; shared data is
    /// shared.
    #[serde(default = "one")]
    pub workers: usize,
    /// The hosts that can run it (default: all).
    #[serde(default = "all_hosts")]
    pub hosts: Vec<HostKind>,
    /// Why some host is left out of `hosts`.
    pub because: Option<String>,
    /// Whether what would only hurt in production fails the scenario (default true). `false` is for
    /// guests that do it on purpose.
    #[serde(default = "yes")]
    pub strict: bool,
    /// Seeds what guests draw at random on our host (default 0).
    #[serde(default)]
    pub seed: u64,
    /// What goes wrong from the start on; only on our host.
    #[serde(default)]
    pub faults: Vec<FaultBlock>,
    /// How far the shared data of a `vm_id` may grow before it counts as a violation.
    #[serde(default)]
    pub shared_data_limit: SharedDataLimit,
    /// Whether what is seen is held against `snapshots/NAME.snapshot`, which `--update` writes
    /// (default false).
    #[serde(default)]
    pub snapshot: bool,
    /// Whether callbacks and hostcalls are held against `snapshots/NAME.trace`, which `--update`
    /// writes (default false). Only our host records them.
    #[serde(default)]
    pub trace: bool,
    /// How clients reach the host.
    #[serde(default)]
    pub connection_manager: ConnectionManager,
    /// The chain, in the order in which a request goes through.
    pub plugins: Vec<PluginBlock>,
    /// What the upstream answers: the first block whose `match` fits. Where none fits it answers
    /// 200 with an empty body.
    #[serde(default)]
    pub upstreams: Vec<UpstreamBlock>,
    /// The services that guests may call, and what they answer. A cluster that no block names is
    /// unknown to the host.
    #[serde(default)]
    pub callouts: Vec<CalloutBlock>,
    /// What happens, in order.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<Step>"))]
    pub steps: Vec<Spanned<Step>>,
    /// The plugin must refuse its configuration, and its error log must have each of these.
    /// Such a scenario has no steps.
    #[serde(default)]
    pub expect_config_error: Vec<TextMatch>,
}

/// A host that can run scenarios.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HostKind {
    /// Ours.
    Wasmtime,
    /// The real Envoy.
    Envoy,
}

/// The settings of Envoy's connection manager that decide whose address is the client's.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConnectionManager {
    /// Whether the host is the edge: the connection's address is the client's (default: false,
    /// which takes the last address of X-Forwarded-For, if there is one).
    #[serde(default)]
    pub use_remote_address: bool,
    /// How many proxies in front are trusted to write X-Forwarded-For (default: 0).
    #[serde(default)]
    pub xff_num_trusted_hops: usize,
}

/// A plugin of the chain.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PluginBlock {
    /// The .wasm file, relative to the scenario file. `${WASM_DIR}` is where `cargo xtask build`
    /// puts the modules.
    pub module: String,
    /// The plugin's name in logs (default: the module's file name without `.wasm`).
    pub name: Option<String>,
    /// The scope of shared data (default: the plugin's name).
    pub vm_id: Option<String>,
    /// The root id handed to the plugin (default: empty).
    #[serde(default)]
    pub root_id: String,
    /// The plugin's configuration. A text is handed over as it is.
    pub config: Option<serde_json::Value>,
    /// The form in which the configuration reaches the plugin (default: json).
    #[serde(default)]
    pub config_form: ConfigForm,
    /// The configuration of the plugin's VM, which `proxy_on_vm_start` gets (default: none). A text
    /// is handed over as it is, anything else as JSON. Plugins share a VM only if they agree on it.
    pub vm_config: Option<serde_json::Value>,
    /// Environment variables of the plugin's VM by name, which WASI hands out (default: none).
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What happens after a trap (default: fail_closed).
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// Whether body callbacks run while request or response headers are paused; Envoy's field of
    /// that name (default false).
    #[serde(default)]
    pub allow_on_headers_stop_iteration: bool,
    /// The callbacks and imports that the plugin is restricted to, as in Envoy's
    /// `capability_restriction_config` (default: none is left out).
    #[serde(default)]
    pub allowed_capabilities: Vec<String>,
    /// What it may use on our host; Envoy limits only memory, to 1 GiB.
    #[serde(default)]
    pub limits: LimitsBlock,
}

/// What a plugin's VM may use.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitsBlock {
    /// Bytes of memory (default 1 GiB); beyond it memory does not grow.
    pub memory: Option<usize>,
    /// How long a callback may run in real time before it traps (default 2s).
    pub callback: Option<Span>,
    /// How many hostcalls a callback may make before it traps (default 10,000,000).
    pub hostcalls: Option<u32>,
}

/// How far the shared data of a `vm_id` may grow.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SharedDataLimit {
    /// Number of keys (default 10,000).
    pub keys: Option<usize>,
    /// Bytes of keys and values together (default 64 MiB).
    pub bytes: Option<usize>,
}

/// The form in which a configuration reaches a plugin.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConfigForm {
    /// As JSON text: Envoy's `StringValue`, and what Istio and Envoy Gateway send.
    #[default]
    Json,
    /// As a serialized `google.protobuf.Struct`: what Envoy sends of inline YAML.
    Struct,
    /// As bytes, which are written as a text of base64: Envoy's `BytesValue`.
    Bytes,
}

/// What a host does after a plugin has trapped.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailurePolicy {
    /// Later requests are answered 503.
    #[default]
    FailClosed,
    /// Later requests bypass the plugin.
    FailOpen,
    /// The plugin is loaded anew, at most once a second.
    FailReload,
}

/// What the upstream answers to some requests.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UpstreamBlock {
    /// The requests meant (default: all).
    #[serde(default, rename = "match")]
    pub matches: UpstreamMatch,
    /// The answer to each of them.
    pub reply: Option<Reply>,
    /// The answers in order; the last is repeated.
    #[serde(default)]
    pub replies: Vec<Reply>,
}

/// What a request must be like. All that is given must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UpstreamMatch {
    /// The method.
    pub method: Option<TextMatch>,
    /// The path with its query.
    pub path: Option<TextMatch>,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, TextMatch>,
}

/// An answer of the upstream. A number alone is its status.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReplyFields {
    /// The status (default 200).
    #[serde(default = "ok_status")]
    pub status: u16,
    /// The headers.
    #[serde(default)]
    pub headers: HeaderLines,
    /// The body.
    #[serde(default)]
    pub body: String,
}

/// What the upstream does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It never answers.
    Never,
    /// It closes the connection without an answer.
    Reset,
    /// It answers.
    Respond(ReplyFields),
}

/// One step.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "StepFields")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Step {
    /// Time passes.
    Advance(Advance),
    /// A callout that waits is answered.
    Answer(Box<AnswerFields>),
    /// A request that was started is awaited.
    Await(String, Box<Expect>),
    /// The callouts since the last such step are looked at.
    Callouts(CalloutsExpect),
    /// The client sends a request, and its end is awaited.
    Exchange(Box<Request>, Box<Expect>),
    /// Something goes wrong from now on.
    Fault(FaultStep),
    /// The guests' log lines since the last such step are looked at.
    Logs(LogsExpect),
    /// Counters and gauges are looked at.
    Metrics(BTreeMap<String, NumberMatch>),
    /// Requests are sent at the same time.
    Parallel(Parallel),
    /// Steps are repeated.
    Repeat(Repeat),
    /// Shared data is looked at.
    SharedData(SharedDataExpect),
    /// The client sends a request that stays under way, by this name.
    Start(String, Box<Request>),
    /// Ticks run, due or not.
    Tick(Tick),
}

/// One step. Exactly one of `request`, `await`, `answer`, `advance`, `repeat`, `parallel`, `tick`,
/// `fault`, `expect_metrics`, `expect_logs`, `expect_callouts` and `expect_shared_data`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct StepFields {
    /// A request; `GET /path` for short.
    request: Option<Request>,
    /// What must be seen of the request. A number alone is the status.
    expect: Option<Expect>,
    /// Lets the request stay under way, by this name, instead of waiting for its end: it may be
    /// moved on by later steps. `await` waits for its end.
    start: Option<String>,
    /// The name of a request that was started. Without an answer by now, the client goes away.
    r#await: Option<String>,
    /// An answer to a callout whose reply is `never`.
    answer: Option<AnswerFields>,
    /// How much time passes: `250ms`, `60s`, `1m30s`, `2h`.
    advance: Option<Advance>,
    /// Steps to be repeated.
    repeat: Option<Repeat>,
    /// Requests that are sent at the same time to several workers; only on our host.
    parallel: Option<Parallel>,
    /// Runs `on_tick` now, of all plugins that have set a period: on the worker of that number, on
    /// `main` or on `all`. Only on our host.
    tick: Option<Tick>,
    /// Something that goes wrong from now on, a list of such, or `none`: all goes well again. Only
    /// on our host.
    fault: Option<FaultStep>,
    /// Counters and gauges of the guests by name.
    expect_metrics: Option<BTreeMap<String, NumberMatch>>,
    /// Log lines of the guests since the last such step, in this order; others may be between.
    expect_logs: Option<LogsExpect>,
    /// The callouts that services have received since the last such step: these and no others, in
    /// any order, since workers have none in common.
    expect_callouts: Option<CalloutsExpect>,
    /// Keys and values of the shared data; only on our host.
    expect_shared_data: Option<SharedDataExpect>,
}

impl TryFrom<StepFields> for Step {
    type Error = &'static str;

    fn try_from(fields: StepFields) -> Result<Self, Self::Error> {
        let StepFields {
            request,
            expect,
            start,
            r#await,
            answer,
            advance,
            repeat,
            parallel,
            tick,
            fault,
            expect_metrics,
            expect_logs,
            expect_callouts,
            expect_shared_data,
        } = fields;
        if expect.is_some() && (start.is_some() || request.is_none() && r#await.is_none()) {
            return Err("`expect` belongs to a `request` or an `await` in the same step");
        }
        if start.is_some() && request.is_none() {
            return Err("`start` belongs to a `request` in the same step");
        }
        let expect = Box::new(expect.unwrap_or_default());
        let mut kinds = [
            request.map(|request| match start {
                Some(name) => Self::Start(name, Box::new(request)),
                None => Self::Exchange(Box::new(request), expect.clone()),
            }),
            r#await.map(|name| Self::Await(name, expect)),
            answer.map(|answer| Self::Answer(Box::new(answer))),
            advance.map(Self::Advance),
            repeat.map(Self::Repeat),
            expect_metrics.map(Self::Metrics),
            expect_logs.map(Self::Logs),
            expect_callouts.map(Self::Callouts),
            parallel.map(Self::Parallel),
            tick.map(Self::Tick),
            fault.map(Self::Fault),
            expect_shared_data.map(Self::SharedData),
        ]
        .into_iter()
        .flatten();
        match (kinds.next(), kinds.next()) {
            (Some(step), None) => Ok(step),
            _ => Err(
                "a step is exactly one of `request`, `await`, `answer`, `advance`, `repeat`, \
                 `parallel`, `tick`, `fault`, `expect_metrics`, `expect_logs`, `expect_callouts` \
                 and `expect_shared_data`",
            ),
        }
    }
}

/// Time that passes. A span alone passes in one step.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AdvanceFields {
    /// How much.
    pub by: Span,
    /// In steps of how much (default: in one). In Envoy a tick that falls due several times in one
    /// step runs once, so a step should be no longer than the guests' tick period.
    pub step: Option<Span>,
}

/// Time that passes.
#[derive(Clone, Copy, Debug)]
pub struct Advance(pub AdvanceFields);

/// Steps that are carried out several times.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// How many times.
    pub times: u64,
    /// The steps. `{n}` in a path, header, body or expectation is the number of the round, from 1.
    #[cfg_attr(test, schemars(with = "Vec<Step>"))]
    pub steps: Vec<Spanned<Step>>,
}

/// A request of the client.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RequestFields {
    /// The method (default GET).
    #[serde(default = "get")]
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers; `host` is `test.example` if not given.
    #[serde(default)]
    pub headers: HeaderLines,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// The client's address (default 127.0.0.1). Envoy can be reached from 127.0.0.0/8.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub from: Option<IpAddr>,
    /// The worker that takes it, from 0; only our host can choose (default: the next in turn).
    pub worker: Option<usize>,
}

/// A request of the client.
#[derive(Clone, Debug)]
pub struct Request(pub RequestFields);

/// What must be seen of a request; what is not named is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExpectFields {
    /// The status, `{min: N, max: N}`, or `absent` if the client gets no answer.
    pub status: Option<NumberMatch>,
    /// Headers of the answer by name.
    #[serde(default)]
    pub headers: BTreeMap<String, TextMatch>,
    /// The body of the answer; `absent` if it is empty.
    pub body: Option<TextMatch>,
    /// The request as the upstream got it; `none` if it must not get any.
    pub upstream: Option<UpstreamExpect>,
    /// The callouts that services received since the request began: these and no others, in order.
    pub callouts: Option<CalloutsExpect>,
    /// What the request may cost; looked at on our host alone.
    pub budget: Option<Budget>,
    /// The response code details of the access log.
    pub details: Option<TextMatch>,
    /// Filter state written by guests, by key without the `wasm.` prefix.
    #[serde(default)]
    pub filter_state: BTreeMap<String, TextMatch>,
}

/// What must be seen of a request.
#[derive(Clone, Debug, Default)]
pub struct Expect(pub ExpectFields);

/// The request as the upstream got it.
#[derive(Clone, Debug)]
pub enum UpstreamExpect {
    /// It got none.
    None,
    /// It got this.
    Request(UpstreamFields),
}

/// The request as the upstream got it; what is not named is not looked at.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UpstreamFields {
    /// The method.
    pub method: Option<TextMatch>,
    /// The path with its query.
    pub path: Option<TextMatch>,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, TextMatch>,
    /// The body; `absent` if it is empty.
    pub body: Option<TextMatch>,
}

/// What must be among the log lines.
#[derive(Clone, Debug)]
pub enum LogsExpect {
    /// There are none.
    None,
    /// These, in this order.
    Lines(Vec<LineMatch>),
}

/// A log line of a guest. A text alone is its message.
#[derive(Clone, Debug)]
pub struct LineMatch(pub LineFields);

/// A log line of a guest.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LineFields {
    /// Its level (default: any).
    pub level: Option<LogLevel>,
    /// Its message.
    pub message: TextMatch,
}

/// The level of a log line; Envoy's `critical` counts as `error`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

fn ok_status() -> u16 {
    200
}

fn get() -> String {
    "GET".to_owned()
}

fn all_hosts() -> Vec<HostKind> {
    vec![HostKind::Wasmtime, HostKind::Envoy]
}
