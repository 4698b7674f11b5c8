//! The state of one worker that hostcalls and the filter chain share.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::abi::MapType;
use crate::calls::CallCounts;
use crate::clock::Clock;
use crate::headers::Headers;
use crate::ids::IdMap;
use crate::shared::Shared;
use crate::streams::Streams;
use crate::trace::detail::{CALLBACKS_KEPT, Detail, MetricChange, Passages};
use crate::trace::{Callback, Recorder};
use crate::worker::{Action, StreamInfo};

/// Identifies a stream within a worker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Identifies a callout within a worker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CalloutId(pub u64);

/// A log line of a guest, or of the host about a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its level; the ABI's `critical` is `Error`.
    pub level: log::Level,
    /// The plugin's name.
    pub plugin: String,
    /// The text, which may hold several lines for a backtrace.
    pub message: String,
}

/// Where log lines go.
pub type LogSink = Arc<dyn Fn(LogLine) + Send + Sync>;

/// What all workers of a host have in common.
#[derive(Clone)]
pub struct Environment {
    /// Shared data, queues, metrics.
    pub shared: Arc<Shared>,
    /// Time.
    pub clock: Clock,
    /// Where guests' log lines go.
    pub log: LogSink,
    /// The least severe level that guests' lines are kept at; Envoy's default is info.
    pub log_level: log::LevelFilter,
    /// Seed of guests' randomness.
    pub seed: u64,
    /// What is noted besides; nothing by default.
    pub observe: Observe,
}

/// What a host notes of its guests only when asked to, because it costs time.
#[derive(Clone, Debug, Default)]
pub struct Observe {
    /// Whether wasm instructions are counted.
    pub instructions: bool,
    /// Records callbacks and hostcalls.
    pub trace: Option<Recorder>,
    /// Whether a record tells real times, log lines, changes of metrics, and messages before and
    /// after each filter.
    pub detail: bool,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("clock", &self.clock)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// What kind of callout it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CalloutKind {
    Http,
    /// One message there and one back.
    GrpcCall,
    /// Which sides have ended: the guest's, the service's.
    GrpcStream {
        local: bool,
        remote: bool,
    },
}

/// A callout on its way.
#[derive(Debug)]
pub(crate) struct PendingCallout {
    pub(crate) kind: CalloutKind,
    /// The guest was told that it failed, but not how: it can't work on it any more.
    pub(crate) lost: bool,
    pub(crate) vm: usize,
    pub(crate) generation: u64,
    pub(crate) root: u32,
    pub(crate) token: u32,
}

/// The worker's state.
pub(crate) struct State {
    pub(crate) env: Environment,
    /// The worker's number, by which queues know it; none in a throw-away VM.
    pub(crate) number: Option<u64>,
    pub(crate) streams: Streams,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) callouts: IdMap<CalloutId, PendingCallout>,
    pub(crate) last_callout: u64,
    /// Which VM is being called, for callouts.
    pub(crate) calling: (usize, u64),
    /// Calls made outside streams.
    pub(crate) calls: CallCounts,
    /// Instructions spent outside streams; 0 unless they are counted.
    pub(crate) instructions: u64,
    /// What is done before each hostcall.
    pub(crate) interrupt: Option<Rc<dyn Fn()>>,
    /// The callback that is being recorded.
    pub(crate) open: Option<Callback>,
    /// Recorded callbacks outside streams.
    pub(crate) trace: Vec<Callback>,
    /// What strict mode has to say about callbacks outside streams.
    pub(crate) violations: Vec<String>,
    /// Set if callbacks are called one by one, without a filter chain around them.
    pub(crate) alone: Option<Alone>,
}

/// What a guest is told that is called as Google's plugin tester calls it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alone {
    /// All properties there are: paths with points, and values.
    pub(crate) properties: Vec<(String, Vec<u8>)>,
    /// Lines below the ABI's `critical` are dropped, which `log` has no level for.
    pub(crate) critical_only: bool,
}

impl Alone {
    /// The first property of that path.
    pub(crate) fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let segments: Vec<&str> = path.iter().copied().filter(|s| !s.is_empty()).collect();
        let path = segments.join(".");
        let found = self.properties.iter().find(|(known, _)| *known == path);
        found.map(|(_, value)| value.clone())
    }
}

impl State {
    pub(crate) fn new(env: Environment, number: Option<u64>) -> Self {
        Self {
            env,
            number,
            streams: Streams::default(),
            actions: VecDeque::new(),
            callouts: IdMap::default(),
            last_callout: 0,
            calling: (0, 0),
            calls: CallCounts::default(),
            instructions: 0,
            interrupt: None,
            open: None,
            trace: Vec::new(),
            violations: Vec::new(),
            alone: None,
        }
    }

    /// Notes a callout that the running VM makes for a root context.
    pub(crate) fn new_callout(&mut self, kind: CalloutKind, root: u32, token: u32) -> CalloutId {
        self.last_callout += 1;
        let callout = CalloutId(self.last_callout);
        let (vm, generation) = self.calling;
        let pending = PendingCallout {
            kind,
            lost: false,
            vm,
            generation,
            root,
            token,
        };
        self.callouts.insert(callout, pending);
        callout
    }

    /// Finds a gRPC callout of the running VM by its token.
    pub(crate) fn grpc_callout(&self, token: u32) -> Option<CalloutId> {
        let ours = |pending: &PendingCallout| {
            pending.kind != CalloutKind::Http
                && !pending.lost
                && (pending.vm, pending.generation) == self.calling
                && pending.token == token
        };
        let found = self.callouts.iter().find(|(_, pending)| ours(pending));
        found.map(|(id, _)| *id)
    }

    /// Emits a line if the level is wanted.
    pub(crate) fn log(&mut self, level: log::Level, plugin: &str, message: String) {
        if level <= self.env.log_level {
            let line = LogLine {
                level,
                plugin: plugin.to_owned(),
                message,
            };
            if let Some(detail) = self.detail() {
                detail.log(line.clone());
            }
            (self.env.log)(line);
        }
    }

    /// What is noted besides of the callback that is being recorded.
    fn detail(&mut self) -> Option<&mut Detail> {
        self.open.as_mut()?.detail.as_deref_mut()
    }

    /// Notes that the running guest has moved a metric, if that is wanted.
    pub(crate) fn moved_metric(&mut self, position: usize, by: i64, recorded: bool) {
        if self.open.is_none() {
            return;
        }
        let found = self.env.shared.metrics().at(position);
        if let (Some(detail), Some((kind, name))) = (self.detail(), found) {
            detail.metric(MetricChange {
                name,
                kind,
                by,
                recorded,
            });
        }
    }

    /// Notes something that only hurts in production.
    pub(crate) fn violation(&mut self, stream: Option<StreamId>, text: String) {
        match stream.and_then(|id| self.streams.get_mut(&id)) {
            Some(stream) => stream.violations.push(text),
            None => self.violations.push(text),
        }
    }

    /// Whether hostcalls are recorded or made to fail now.
    pub(crate) fn watching(&self) -> bool {
        self.open.is_some() || self.interrupt.is_some() || self.env.shared.faults().armed()
    }

    /// Keeps a recorded callback with its stream, or with those outside streams.
    pub(crate) fn keep(&mut self, stream: Option<StreamId>, callback: Callback) {
        match stream.and_then(|id| self.streams.get_mut(&id)) {
            Some(stream) => match &mut stream.passages {
                Some(passages) if stream.trace.len() >= CALLBACKS_KEPT => {
                    passages.more_callbacks += 1;
                }
                _ => stream.trace.push(callback),
            },
            None => self.trace.push(callback),
        }
    }

    /// Adds to the instructions of a stream, or to those outside streams.
    pub(crate) fn spend(&mut self, stream: Option<StreamId>, instructions: u64) {
        let spent = match stream.and_then(|id| self.streams.get_mut(&id)) {
            Some(stream) => &mut stream.instructions,
            None => &mut self.instructions,
        };
        *spent = spent.saturating_add(instructions);
    }

    /// Counts a hostcall.
    pub(crate) fn count(&mut self, stream: Option<StreamId>, call: usize) {
        match stream.and_then(|id| self.streams.get_mut(&id)) {
            Some(stream) => stream.calls.count(call),
            None => self.calls.count(call),
        }
    }
}

/// The way of a message: towards the upstream or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Request,
    Response,
}

/// One stream with its two messages and a lane per plugin.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) info: StreamInfo,
    pub(crate) request: Message,
    pub(crate) response: Message,
    pub(crate) lanes: Vec<Lane>,
    /// The request goes nowhere any more: the chain has answered or the stream was reset.
    pub(crate) answered: bool,
    /// Response headers have left the chain.
    pub(crate) response_sent: bool,
    pub(crate) reset: bool,
    pub(crate) details: Cow<'static, str>,
    pub(crate) filter_state: BTreeMap<String, Vec<u8>>,
    /// Wall time of the start, for `request.time`.
    pub(crate) started_wall: u64,
    /// Clock's time of the start, for `request.duration`.
    pub(crate) started: Duration,
    pub(crate) calls: CallCounts,
    pub(crate) instructions: u64,
    pub(crate) trace: Vec<Callback>,
    pub(crate) passages: Option<Box<Passages>>,
    pub(crate) violations: Vec<String>,
}

impl Stream {
    pub(crate) fn message(&mut self, way: Way) -> &mut Message {
        match way {
            Way::Request => &mut self.request,
            Way::Response => &mut self.response,
        }
    }

    /// Notes the headers as they come to a position of the chain, if that is wanted.
    pub(crate) fn note_headers(&mut self, way: Way, position: usize) {
        let message = match way {
            Way::Request => &self.request,
            Way::Response => &self.response,
        };
        if let Some(passages) = &mut self.passages {
            passages.headers(way, position, &message.headers);
        }
    }

    /// The same for trailers.
    pub(crate) fn note_trailers(&mut self, way: Way, position: usize) {
        let message = match way {
            Way::Request => &self.request,
            Way::Response => &self.response,
        };
        if let (Some(passages), Some(trailers)) = (&mut self.passages, &message.trailers) {
            passages.trailers(way, position, trailers);
        }
    }

    /// The map a lane may read now, if it is available.
    pub(crate) fn map(&self, lane: usize, map: MapType) -> Option<&Headers> {
        let lane = self.lanes.get(lane)?;
        let (request, response) = (&self.request, &self.response);
        // `on_log` has maps of its own, and trailers of the request aren't among them.
        if lane.logging {
            return match map {
                MapType::RequestHeaders if request.started => Some(&request.headers),
                MapType::ResponseHeaders if response.started => Some(&response.headers),
                MapType::ResponseTrailers => response.trailers.as_ref(),
                _ => None,
            };
        }
        match map {
            _ if !lane.sees(map) => None,
            MapType::RequestHeaders => Some(&request.headers),
            MapType::RequestTrailers => request.trailers.as_ref(),
            MapType::ResponseHeaders => Some(&response.headers),
            MapType::ResponseTrailers => response.trailers.as_ref(),
            _ => None,
        }
    }

    /// The map a lane may change now, if it is available. At the end of a body any call that
    /// changes trailers makes them, even one that removes.
    pub(crate) fn map_mut(&mut self, lane: usize, map: MapType) -> Option<&mut Headers> {
        let lane = self.lanes.get_mut(lane)?;
        let made = match map {
            MapType::RequestTrailers if lane.request.adds_trailers => &mut self.request,
            MapType::ResponseTrailers if lane.response.adds_trailers => &mut self.response,
            MapType::RequestHeaders if lane.sees(map) => return Some(&mut self.request.headers),
            MapType::RequestTrailers if lane.sees(map) => return self.request.trailers.as_mut(),
            MapType::ResponseHeaders if lane.sees(map) => return Some(&mut self.response.headers),
            MapType::ResponseTrailers if lane.sees(map) => return self.response.trailers.as_mut(),
            _ => return None,
        };
        lane.show(map);
        Some(made.trailers.get_or_insert_default())
    }
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) headers: Headers,
    pub(crate) started: bool,
    pub(crate) trailers: Option<Headers>,
    /// The source has sent its end.
    pub(crate) complete: bool,
    /// Data held for a paused lane.
    pub(crate) held: Option<Vec<u8>>,
    /// Data a body callback looks at.
    pub(crate) current: Option<Vec<u8>>,
    pub(crate) body_bytes: u64,
    /// Of the body, what has left the chain.
    pub(crate) bytes_passed: u64,
    /// A guest has changed the body.
    pub(crate) edited: bool,
}

/// Whether a lane lets its message pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Gate {
    #[default]
    Open,
    /// Frames of later kinds still reach the lane, but nothing passes it.
    Held,
    /// Nothing reaches the lane.
    Shut,
}

/// A lane's part in one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaneWay {
    pub(crate) gate: Gate,
    pub(crate) headers_passed: bool,
    pub(crate) ended: bool,
    /// The guest sees the whole held body, not just the new piece.
    pub(crate) cumulative: bool,
    /// The end of the body has been shown and not been passed on: trailers can be added.
    pub(crate) adds_trailers: bool,
}

/// One plugin's context within a stream.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) plugin: usize,
    pub(crate) vm: usize,
    pub(crate) generation: u64,
    pub(crate) root: u32,
    pub(crate) context: u32,
    /// Whether the guest knows of the context: Envoy tells it with the request's headers, or else
    /// before `on_log`.
    pub(crate) created: bool,
    pub(crate) mode: LaneMode,
    pub(crate) request: LaneWay,
    pub(crate) response: LaneWay,
    /// Maps that hostcalls may reach, by [`bit`].
    pub(crate) visible: u8,
    /// `on_log` runs.
    pub(crate) logging: bool,
    /// In `on_log`, `on_done` or `on_delete`.
    pub(crate) ending: bool,
    /// The guest answered by itself.
    pub(crate) replied: bool,
}

/// How a lane takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneMode {
    /// Its callbacks run.
    Running,
    /// It lets everything pass: the VM failed and the policy is fail-open, or the lane has answered.
    Bypassed,
    /// The VM failed: the next callback answers 503.
    Failed,
}

impl Lane {
    pub(crate) fn way(&mut self, way: Way) -> &mut LaneWay {
        match way {
            Way::Request => &mut self.request,
            Way::Response => &mut self.response,
        }
    }

    fn sees(&self, map: MapType) -> bool {
        self.visible & bit(map) != 0
    }

    pub(crate) fn show(&mut self, map: MapType) {
        self.visible |= bit(map);
    }

    pub(crate) fn hide(&mut self, map: MapType) {
        self.visible &= !bit(map);
    }
}

const fn bit(map: MapType) -> u8 {
    match map {
        MapType::RequestHeaders => 1,
        MapType::RequestTrailers => 2,
        MapType::ResponseHeaders => 4,
        MapType::ResponseTrailers => 8,
        MapType::GrpcInitialMetadata
        | MapType::GrpcTrailingMetadata
        | MapType::CalloutHeaders
        | MapType::CalloutTrailers => 0,
    }
}
