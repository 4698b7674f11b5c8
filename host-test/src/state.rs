//! The state of one worker that hostcalls and the filter chain share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::abi::{HOSTCALLS, MapType};
use crate::clock::Clock;
use crate::headers::Headers;
use crate::shared::Shared;
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
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("clock", &self.clock)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// A callout on its way.
#[derive(Debug)]
pub(crate) struct PendingCallout {
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
    pub(crate) streams: HashMap<StreamId, Stream>,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) callouts: HashMap<CalloutId, PendingCallout>,
    pub(crate) last_callout: u64,
    /// Which VM is being called, for callouts.
    pub(crate) calling: (usize, u64),
    /// Calls made outside streams.
    pub(crate) calls: CallCounts,
    /// What strict mode has to say about callbacks outside streams.
    pub(crate) violations: Vec<String>,
}

impl State {
    pub(crate) fn new(env: Environment, number: Option<u64>) -> Self {
        Self {
            env,
            number,
            streams: HashMap::new(),
            actions: VecDeque::new(),
            callouts: HashMap::new(),
            last_callout: 0,
            calling: (0, 0),
            calls: [0; HOSTCALLS.len()],
            violations: Vec::new(),
        }
    }

    /// Notes a callout that the running VM makes for a root context.
    pub(crate) fn new_callout(&mut self, root: u32, token: u32) -> CalloutId {
        self.last_callout += 1;
        let callout = CalloutId(self.last_callout);
        let (vm, generation) = self.calling;
        let pending = PendingCallout {
            vm,
            generation,
            root,
            token,
        };
        self.callouts.insert(callout, pending);
        callout
    }

    /// Emits a line if the level is wanted.
    pub(crate) fn log(&self, level: log::Level, plugin: &str, message: String) {
        if level <= self.env.log_level {
            (self.env.log)(LogLine {
                level,
                plugin: plugin.to_owned(),
                message,
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

    /// Counts a hostcall.
    pub(crate) fn count(&mut self, stream: Option<StreamId>, call: usize) {
        let counts = match stream.and_then(|id| self.streams.get_mut(&id)) {
            Some(stream) => &mut stream.calls,
            None => &mut self.calls,
        };
        if let Some(count) = counts.get_mut(call) {
            *count += 1;
        }
    }
}

/// Hostcalls made, by position in [`HOSTCALLS`].
pub(crate) type CallCounts = [u32; HOSTCALLS.len()];

/// The way of a message: towards the upstream or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Request,
    Response,
}

/// One stream with its two messages and a lane per plugin.
#[derive(Debug)]
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
    pub(crate) details: String,
    pub(crate) filter_state: BTreeMap<String, Vec<u8>>,
    /// Wall time of the start, for `request.time`.
    pub(crate) started_wall: u64,
    /// Clock's time of the start, for `request.duration`.
    pub(crate) started: Duration,
    pub(crate) calls: CallCounts,
    pub(crate) violations: Vec<String>,
}

impl Stream {
    pub(crate) fn message(&mut self, way: Way) -> &mut Message {
        match way {
            Way::Request => &mut self.request,
            Way::Response => &mut self.response,
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
        MapType::GrpcMetadata | MapType::CalloutHeaders | MapType::CalloutTrailers => 0,
    }
}
