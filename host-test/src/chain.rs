//! The filter chain: how headers, data and trailers pass the lanes of a stream, are held, resumed,
//! answered and reset. The rules are Envoy's filter manager's, seen from a wasm filter.

use bytes::Bytes;

use crate::abi::MapType;
use crate::headers::Headers;
use crate::state::{Gate, Lane, LaneMode, StreamId, Way};
use crate::vm::{Callbacks, Deferred, LocalReply, Trapped, Vm, guest_id, guest_size};
use crate::worker::{Action, Worker};

/// Envoy's default `per_connection_buffer_limit_bytes`.
const BUFFER_LIMIT: usize = 1 << 20;

/// What a lane decided about a frame.
enum Verdict {
    /// It passes; the number is what the guest returned.
    Returned(i32),
    /// The guest isn't asked.
    Unasked,
    /// The stream was answered or reset: nothing is left to pass.
    Over,
}

/// Feeding a stream.
impl Worker {
    /// The client's headers. `end_stream` means that neither body nor trailers follow.
    pub fn request_headers(&mut self, stream: StreamId, headers: Headers, end_stream: bool) {
        self.feed_headers(stream, Way::Request, headers, end_stream);
    }

    /// A piece of the client's body. In HTTP/1 shape the end is an empty piece of its own.
    pub fn request_body(&mut self, stream: StreamId, data: Bytes, end_stream: bool) {
        self.feed_data(stream, Way::Request, data, end_stream);
    }

    /// The client's trailers.
    pub fn request_trailers(&mut self, stream: StreamId, trailers: Headers) {
        self.feed_trailers(stream, Way::Request, trailers);
    }

    /// The upstream's headers, with `:status`.
    pub fn response_headers(&mut self, stream: StreamId, headers: Headers, end_stream: bool) {
        if self.set_details(stream, "via_upstream") {
            self.feed_headers(stream, Way::Response, headers, end_stream);
        }
    }

    /// A piece of the upstream's body.
    pub fn response_body(&mut self, stream: StreamId, data: Bytes, end_stream: bool) {
        self.feed_data(stream, Way::Response, data, end_stream);
    }

    /// The upstream's trailers.
    pub fn response_trailers(&mut self, stream: StreamId, trailers: Headers) {
        self.feed_trailers(stream, Way::Response, trailers);
    }

    /// The router answers by itself (no route, direct response, upstream failure): the reply runs
    /// through the response side of the chain. `headers` holds `:status` and what else is to be
    /// set; content-length and content-type are added as Envoy adds them.
    pub fn local_reply(&mut self, stream: StreamId, headers: Headers, body: Bytes, details: &str) {
        let status = headers
            .text(":status")
            .and_then(|status| status.parse().ok())
            .unwrap_or(500);
        let reply = LocalReply {
            status,
            headers,
            body: body.to_vec(),
            details: details.to_owned(),
            grpc_status: None,
        };
        self.reply(stream, reply);
        self.settle();
    }

    fn feed_headers(&mut self, id: StreamId, way: Way, headers: Headers, end: bool) {
        let fed = self.with(id, |stream| {
            let blocked = stream.reset || stream.answered;
            let message = stream.message(way);
            if blocked || message.started {
                return false;
            }
            message.headers = headers;
            message.started = true;
            message.complete = end;
            true
        });
        if fed == Some(true) {
            self.pass_headers(id, way, 0, end);
            self.settle();
        }
    }

    fn feed_data(&mut self, id: StreamId, way: Way, data: Bytes, end: bool) {
        let fed = self.with(id, |stream| {
            let blocked = stream.reset || stream.answered;
            let message = stream.message(way);
            if blocked || message.complete {
                return false;
            }
            message.complete = end;
            message.body_bytes += data.len() as u64;
            true
        });
        if fed == Some(true) {
            self.pass_data(id, way, 0, data.to_vec(), end);
            self.settle();
        }
    }

    fn feed_trailers(&mut self, id: StreamId, way: Way, trailers: Headers) {
        let fed = self.with(id, |stream| {
            let blocked = stream.reset || stream.answered;
            let message = stream.message(way);
            if blocked || message.complete {
                return false;
            }
            message.complete = true;
            message.trailers = Some(trailers);
            true
        });
        if fed == Some(true) {
            self.pass_trailers(id, way, 0);
            self.settle();
        }
    }

    /// Sets `%RESPONSE_CODE_DETAILS%`; tells whether the stream is there.
    fn set_details(&mut self, id: StreamId, details: &str) -> bool {
        self.with(id, |stream| {
            if !stream.answered {
                details.clone_into(&mut stream.details);
            }
        })
        .is_some()
    }

    fn with<R>(&self, id: StreamId, f: impl FnOnce(&mut crate::state::Stream) -> R) -> Option<R> {
        self.state.borrow_mut().streams.get_mut(&id).map(f)
    }

    fn with_lane<R>(&self, id: StreamId, lane: usize, f: impl FnOnce(&mut Lane) -> R) -> Option<R> {
        self.with(id, |stream| stream.lanes.get_mut(lane).map(f))
            .flatten()
    }

    fn act(&self, action: Action) {
        self.state.borrow_mut().actions.push_back(action);
    }
}

/// Passing frames along the lanes.
impl Worker {
    /// The lane at a position of the way; `None` past the end. Responses pass in reverse.
    fn lane_at(&self, id: StreamId, way: Way, position: usize) -> Option<usize> {
        let lanes = self.lanes(id);
        match way {
            _ if position >= lanes => None,
            Way::Request => Some(position),
            Way::Response => Some(lanes - 1 - position),
        }
    }

    fn pass_headers(&mut self, id: StreamId, way: Way, from: usize, end: bool) {
        let map = headers_map(way);
        let mut position = from;
        while let Some(lane) = self.lane_at(id, way, position) {
            let count = self.with(id, |stream| {
                let count = stream.message(way).headers.len();
                if let Some(lane) = stream.lanes.get_mut(lane) {
                    lane.way(way).ended |= end;
                    lane.show(map);
                }
                count
            });
            let Some(count) = count else { return };
            let params = (guest_size(count), i32::from(end));
            let verdict = self.ask(id, lane, way, |vm, callbacks, context| {
                let (name, function) = match way {
                    Way::Request => ("proxy_on_request_headers", &callbacks.request_headers),
                    Way::Response => ("proxy_on_response_headers", &callbacks.response_headers),
                };
                let params = (guest_id(context), params.0, params.1);
                Some(vm.call(context, name, function.as_ref()?, params))
            });
            let gate = match verdict {
                Verdict::Over => return,
                // 2 is "continue, but the message doesn't end here": the body flows on.
                Verdict::Unasked | Verdict::Returned(0 | 2) => Gate::Open,
                Verdict::Returned(1) if self.body_runs_while_paused(id, lane) => Gate::Held,
                Verdict::Returned(_) => Gate::Shut,
            };
            let open = gate == Gate::Open;
            self.with_lane(id, lane, |lane| {
                lane.way(way).gate = gate;
                lane.way(way).headers_passed = open;
                if open {
                    lane.hide(map);
                }
            });
            if !open {
                return;
            }
            position += 1;
        }
        let headers = self.with(id, |stream| {
            stream.response_sent |= way == Way::Response;
            stream.message(way).headers.clone()
        });
        let Some(headers) = headers else { return };
        self.act(match way {
            Way::Request => Action::RequestHeaders {
                stream: id,
                headers,
                end_stream: end,
            },
            Way::Response => Action::ResponseHeaders {
                stream: id,
                headers,
                end_stream: end,
            },
        });
    }

    fn body_runs_while_paused(&self, id: StreamId, lane: usize) -> bool {
        let plugin = self.with_lane(id, lane, |lane| lane.plugin);
        plugin
            .and_then(|plugin| self.slots.get(plugin))
            .is_some_and(|slot| slot.plugin.allow_on_headers_stop_iteration)
    }

    fn pass_data(&mut self, id: StreamId, way: Way, from: usize, data: Vec<u8>, mut end: bool) {
        let mut data = data;
        let mut trailers_from = None;
        let mut position = from;
        while let Some(lane) = self.lane_at(id, way, position) {
            // What this lane has to do with the piece before its guest is asked.
            let ready = self.with(id, |stream| {
                let Some(entry) = stream.lanes.get_mut(lane) else {
                    return false;
                };
                let state = entry.way(way);
                let (gate, cumulative) = (state.gate, state.cumulative);
                if gate == Gate::Shut {
                    let message = stream.message(way);
                    message.held.get_or_insert_default().append(&mut data);
                    return false;
                }
                if state.ended {
                    return false;
                }
                state.ended = end;
                let message = stream.message(way);
                let mut piece = if cumulative {
                    message.held.take()
                } else {
                    None
                }
                .unwrap_or_default();
                piece.append(&mut data);
                message.current = Some(piece);
                if end {
                    let map = trailers_map(way);
                    if let Some(entry) = stream.lanes.get_mut(lane) {
                        entry.show(map);
                    }
                }
                true
            });
            if ready != Some(true) {
                return;
            }
            let size = self.with(id, |stream| {
                stream.message(way).current.as_ref().map_or(0, Vec::len)
            });
            let params = (guest_size(size.unwrap_or(0)), i32::from(end));
            let verdict = self.ask(id, lane, way, |vm, callbacks, context| {
                let (name, function) = match way {
                    Way::Request => ("proxy_on_request_body", &callbacks.request_body),
                    Way::Response => ("proxy_on_response_body", &callbacks.response_body),
                };
                let params = (guest_id(context), params.0, params.1);
                Some(vm.call(context, name, function.as_ref()?, params))
            });
            let code = match verdict {
                Verdict::Over => return,
                Verdict::Unasked => 0,
                Verdict::Returned(code) => code,
            };
            data = self
                .with(id, |stream| stream.message(way).current.take())
                .flatten()
                .unwrap_or_default();
            if code == 0 {
                let was_held = self.with_lane(id, lane, |lane| {
                    lane.hide(trailers_map(way));
                    lane.way(way).cumulative = false;
                    lane.way(way).gate != Gate::Open
                });
                if was_held == Some(true) {
                    // Whatever waits goes first, in one piece with this one.
                    self.with(id, |stream| {
                        stream
                            .message(way)
                            .held
                            .get_or_insert_default()
                            .append(&mut data);
                    });
                    self.resume(id, way, position);
                    return;
                }
            } else {
                self.hold(id, way, lane, code, data, end);
                return;
            }
            let has_trailers = self.with(id, |stream| stream.message(way).trailers.is_some());
            if end && has_trailers == Some(true) {
                // The guest added trailers: they end the message now.
                end = false;
                trailers_from = Some(position + 1);
            }
            position += 1;
        }
        let data = Bytes::from(data);
        self.act(match way {
            Way::Request => Action::RequestBody {
                stream: id,
                data,
                end_stream: end,
            },
            Way::Response => Action::ResponseBody {
                stream: id,
                data,
                end_stream: end,
            },
        });
        if let Some(from) = trailers_from {
            self.pass_trailers(id, way, from);
        }
    }

    /// A body callback did not continue: 1 holds and accumulates, 2 holds, others drop.
    fn hold(
        &mut self,
        id: StreamId,
        way: Way,
        lane: usize,
        code: i32,
        mut data: Vec<u8>,
        end: bool,
    ) {
        let size = self.with(id, |stream| {
            if let Some(lane) = stream.lanes.get_mut(lane) {
                lane.way(way).gate = Gate::Held;
                lane.way(way).cumulative = code == 1;
            }
            let held = &mut stream.message(way).held;
            match code {
                1 | 2 => held.get_or_insert_default().append(&mut data),
                // So that a resume still passes the end on.
                _ if end => {
                    held.get_or_insert_default();
                }
                _ => {}
            }
            held.as_ref().map_or(0, Vec::len)
        });
        if code == 1 && size.is_some_and(|size| size > BUFFER_LIMIT) {
            self.over_the_limit(id, way);
        }
    }

    fn over_the_limit(&mut self, id: StreamId, way: Way) {
        let (status, body, details) = match way {
            Way::Request => (413, "Payload Too Large", "request_payload_too_large"),
            Way::Response => (500, "Internal Server Error", "response_payload_too_large"),
        };
        let reply = LocalReply {
            status,
            body: body.into(),
            details: details.into(),
            ..LocalReply::default()
        };
        self.reply(id, reply);
    }

    fn pass_trailers(&mut self, id: StreamId, way: Way, from: usize) {
        let map = trailers_map(way);
        let mut position = from;
        while let Some(lane) = self.lane_at(id, way, position) {
            let count = self.with(id, |stream| {
                let count = stream
                    .message(way)
                    .trailers
                    .as_ref()
                    .map_or(0, Headers::len);
                let lane = stream.lanes.get_mut(lane)?;
                if lane.way(way).gate == Gate::Shut {
                    return None;
                }
                lane.show(map);
                Some(count)
            });
            let Some(Some(count)) = count else { return };
            let verdict = self.ask(id, lane, way, |vm, callbacks, context| {
                let (name, function) = match way {
                    Way::Request => ("proxy_on_request_trailers", &callbacks.request_trailers),
                    Way::Response => ("proxy_on_response_trailers", &callbacks.response_trailers),
                };
                let params = (guest_id(context), guest_size(count));
                Some(vm.call(context, name, function.as_ref()?, params))
            });
            let passes = match verdict {
                Verdict::Over => return,
                Verdict::Unasked | Verdict::Returned(0) => true,
                Verdict::Returned(_) => false,
            };
            let was_held = self.with_lane(id, lane, |lane| {
                let state = lane.way(way);
                let was_held = state.gate != Gate::Open;
                if passes {
                    lane.hide(map);
                } else {
                    state.gate = Gate::Held;
                }
                was_held
            });
            match was_held {
                Some(true) if passes => return self.resume(id, way, position),
                Some(false) if passes => position += 1,
                _ => return,
            }
        }
        let trailers = self
            .with(id, |stream| stream.message(way).trailers.clone())
            .flatten();
        let Some(trailers) = trailers else { return };
        self.act(match way {
            Way::Request => Action::RequestTrailers {
                stream: id,
                trailers,
            },
            Way::Response => Action::ResponseTrailers {
                stream: id,
                trailers,
            },
        });
    }

    /// Lets pass what a lane holds. A lane that was shut has not seen data and trailers yet: they
    /// start with it, otherwise with the next.
    fn resume(&mut self, id: StreamId, way: Way, position: usize) {
        let Some(lane) = self.lane_at(id, way, position) else {
            return;
        };
        let map = headers_map(way);
        let state = self.with(id, |stream| {
            let message = stream.message(way);
            let bare = message.complete && message.held.is_none() && message.trailers.is_none();
            let lane = stream.lanes.get_mut(lane)?;
            lane.hide(map);
            let state = lane.way(way);
            let was_shut = state.gate == Gate::Shut;
            state.gate = Gate::Open;
            state.cumulative = false;
            let headers_first = !std::mem::replace(&mut state.headers_passed, true);
            Some((was_shut, headers_first, bare))
        });
        let Some(Some((was_shut, headers_first, bare))) = state else {
            return;
        };
        if headers_first {
            self.pass_headers(id, way, position + 1, bare);
        }
        let next = if was_shut { position } else { position + 1 };
        let rest = self.with(id, |stream| {
            let over = stream.reset || (stream.answered && way == Way::Request);
            let message = stream.message(way);
            let trailers = message.trailers.is_some();
            let held = if over { None } else { message.held.take() };
            (held, message.complete && !trailers, trailers && !over)
        });
        let Some((held, end, trailers)) = rest else {
            return;
        };
        if let Some(held) = held {
            self.pass_data(id, way, next, held, end);
        }
        if trailers {
            self.pass_trailers(id, way, next);
        }
    }
}

/// Calling guests and doing what they asked for.
impl Worker {
    /// Calls a lane's guest for a frame and applies what it deferred.
    fn ask(
        &mut self,
        id: StreamId,
        lane: usize,
        way: Way,
        f: impl FnOnce(&mut Vm, &Callbacks, u32) -> Option<Result<i32, Trapped>>,
    ) -> Verdict {
        let known = self.with_lane(id, lane, |lane| {
            (
                lane.mode,
                lane.vm,
                lane.generation,
                lane.context,
                lane.plugin,
            )
        });
        let Some((mode, vm, generation, context, plugin)) = known else {
            return Verdict::Over;
        };
        let alive = self
            .vms
            .get(vm)
            .is_some_and(|slot| slot.generation == generation && slot.vm.is_some());
        match mode {
            LaneMode::Bypassed => return Verdict::Unasked,
            LaneMode::Running if alive => {}
            LaneMode::Running | LaneMode::Failed => return self.fail(id, lane),
        }
        match self.call(vm, |vm, callbacks| f(vm, callbacks, context)) {
            None => Verdict::Unasked,
            Some(Err(trap)) => {
                self.trapped(vm, plugin, &trap);
                self.fail(id, lane)
            }
            Some(Ok(code)) => self.apply(id, lane, way, vm, code),
        }
    }

    /// Sorts what the guest asked for in its callback: what concerns this stream decides here, the
    /// rest waits until the frame has passed.
    fn apply(&mut self, id: StreamId, lane: usize, way: Way, vm: usize, code: i32) -> Verdict {
        let Some(instance) = self.vms.get_mut(vm).and_then(|slot| slot.vm.as_mut()) else {
            return Verdict::Over;
        };
        let state = instance.data_mut();
        if !state.stop_iteration {
            return Verdict::Returned(code);
        }
        let deferred = std::mem::take(&mut state.deferred);
        let own = self.with_lane(id, lane, |lane| lane.context);
        let mut verdict = None;
        let mut others = false;
        for item in deferred {
            match item {
                Deferred::Reply { context, reply } if Some(context) == own => {
                    if matches!(verdict, Some(Verdict::Over)) {
                        if way == Way::Response {
                            self.crash(id, "send_local_response twice in on_response_headers");
                        }
                        continue;
                    }
                    self.with_lane(id, lane, |lane| lane.replied = true);
                    self.reply(id, reply);
                    verdict = Some(Verdict::Over);
                }
                Deferred::Close { context } if Some(context) == own => {
                    self.reset(id);
                    verdict = Some(Verdict::Over);
                }
                Deferred::Continue { context, response } if Some(context) == own => {
                    match (way, response) {
                        (Way::Request, true) => {
                            self.crash(id, "continue_stream(response) in a request callback");
                        }
                        (Way::Response, true) => {
                            let text = "continue_stream(response) inside a response callback: Envoy 1.40 sends the headers twice or hangs";
                            self.state.borrow_mut().violation(Some(id), text.into());
                        }
                        (Way::Request, false) | (Way::Response, false) => {}
                    }
                    if verdict.is_none() {
                        verdict = Some(Verdict::Returned(0));
                    }
                }
                other => {
                    others = true;
                    self.pending.push_back((vm, other));
                }
            }
        }
        verdict.unwrap_or_else(|| {
            if others {
                let text = "another stream was answered or resumed inside this stream's callback: Envoy 1.40 halts this stream too; do it from on_tick or on_queue_ready";
                self.state.borrow_mut().violation(Some(id), text.into());
                return Verdict::Returned(i32::MAX);
            }
            Verdict::Returned(code)
        })
    }

    fn crash(&self, id: StreamId, what: &str) {
        self.state
            .borrow_mut()
            .violation(Some(id), format!("{what}: Envoy 1.40 crashes on it"));
    }

    /// The lane's VM is gone: 503, or a reset if the response is on its way.
    fn fail(&mut self, id: StreamId, lane: usize) -> Verdict {
        self.with_lane(id, lane, |lane| lane.mode = LaneMode::Bypassed);
        let reply = LocalReply {
            status: 503,
            details: "wasm_fail_stream".into(),
            ..LocalReply::default()
        };
        self.reply(id, reply);
        Verdict::Over
    }

    /// Carries out what guests asked for, until nothing is left.
    pub(crate) fn settle(&mut self) {
        while let Some((vm, deferred)) = self.pending.pop_front() {
            let context = match &deferred {
                Deferred::Continue { context, .. }
                | Deferred::Close { context }
                | Deferred::Reply { context, .. } => *context,
            };
            let instance = self.vms.get(vm).and_then(|slot| slot.vm.as_ref());
            let kind = instance.and_then(|vm| vm.data().contexts.get(&context).copied());
            let Some(crate::vm::ContextKind::Stream { stream, lane }) = kind else {
                continue;
            };
            match deferred {
                Deferred::Close { .. } => self.reset(stream),
                Deferred::Reply { reply, .. } => {
                    self.with_lane(stream, lane, |lane| lane.replied = true);
                    self.reply(stream, reply);
                }
                Deferred::Continue { response, .. } => {
                    let way = if response {
                        Way::Response
                    } else {
                        Way::Request
                    };
                    self.wake(stream, lane, way);
                }
            }
        }
    }

    /// `proxy_continue_stream` from outside the lane's own callback.
    fn wake(&mut self, id: StreamId, lane: usize, way: Way) {
        let lanes = self.lanes(id);
        let held = self.with(id, |stream| {
            let gone = stream.reset || stream.answered;
            let started = stream.message(way).started;
            let lane = stream.lanes.get_mut(lane)?;
            if way == Way::Request {
                lane.hide(MapType::RequestHeaders);
            }
            Some((lane.way(way).gate != Gate::Open && !gone, started))
        });
        match held {
            Some(Some((true, _))) => {
                let position = if way == Way::Request {
                    lane
                } else {
                    lanes - 1 - lane
                };
                self.resume(id, way, position);
            }
            Some(Some((false, false))) if way == Way::Response => {
                self.crash(id, "continue_stream(response) before there is a response");
            }
            _ => {}
        }
    }

    /// The chain answers. Before the response has begun, the reply passes all lanes; while the
    /// response is in the chain it is replaced without asking them; once it has left, all that can
    /// be done is to break it off.
    pub(crate) fn reply(&mut self, id: StreamId, reply: LocalReply) {
        let stage = self.with(id, |stream| {
            if stream.reset {
                return None;
            }
            let stage = (stream.response.started, stream.response_sent);
            if !stage.1 {
                stream.details.clone_from(&reply.details);
            }
            Some(stage)
        });
        match stage.flatten() {
            None => {}
            Some((_, true)) => self.reset(id),
            Some((started, false)) => {
                self.act(Action::LocalReply { stream: id });
                let (headers, body, end) = self.prepare(id, &reply);
                self.with(id, |stream| {
                    stream.answered = true;
                    stream.request.held = None;
                    stream.request.current = None;
                    stream.response.held = None;
                    stream.response.current = None;
                    stream.response.trailers = None;
                    stream.response.headers = headers;
                    stream.response.started = true;
                    stream.response.complete = true;
                    stream.response.body_bytes = body.len() as u64;
                    for lane in &mut stream.lanes {
                        lane.response = crate::state::LaneWay::default();
                        if started {
                            lane.mode = LaneMode::Bypassed;
                        }
                    }
                });
                self.pass_headers(id, Way::Response, 0, end);
                if !end {
                    self.pass_data(id, Way::Response, 0, body, true);
                }
            }
        }
    }

    /// A local reply's headers and body as Envoy makes them.
    fn prepare(&self, id: StreamId, reply: &LocalReply) -> (Headers, Vec<u8>, bool) {
        let (grpc, head) = self
            .with(id, |stream| {
                let request = &stream.request.headers;
                let kind = request.first("content-type").unwrap_or_default();
                let grpc = kind == b"application/grpc" || kind.starts_with(b"application/grpc+");
                (grpc, request.first(":method") == Some(b"HEAD"))
            })
            .unwrap_or_default();
        let mut headers = Headers::new();
        headers.append(
            ":status",
            if grpc {
                "200".into()
            } else {
                reply.status.to_string()
            },
        );
        for (name, value) in reply.headers.iter().filter(|(name, _)| *name != b":status") {
            headers.append(name, value);
        }
        if grpc {
            headers.set("content-type", "application/grpc");
            let status = reply
                .grpc_status
                .unwrap_or_else(|| grpc_status(reply.status));
            headers.set("grpc-status", status.to_string());
            if !reply.body.is_empty() {
                headers.set("grpc-message", &reply.body);
            }
            headers.remove("content-length");
            return (headers, Vec::new(), true);
        }
        if reply.body.is_empty() {
            headers.remove("content-length");
            headers.remove("content-type");
        } else {
            headers.set("content-length", reply.body.len().to_string());
            if headers.first("content-type").is_none() {
                headers.append("content-type", "text/plain");
            }
        }
        let bodiless = head || matches!(reply.status, 204 | 304) || reply.body.is_empty();
        (
            headers,
            if bodiless {
                Vec::new()
            } else {
                reply.body.clone()
            },
            bodiless,
        )
    }

    pub(crate) fn reset(&mut self, id: StreamId) {
        let first = self.with(id, |stream| !std::mem::replace(&mut stream.reset, true));
        if first == Some(true) {
            self.act(Action::Reset { stream: id });
        }
    }
}

/// The gRPC status that Envoy maps an HTTP status to.
fn grpc_status(http: u32) -> i32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

fn headers_map(way: Way) -> MapType {
    match way {
        Way::Request => MapType::RequestHeaders,
        Way::Response => MapType::ResponseHeaders,
    }
}

fn trailers_map(way: Way) -> MapType {
    match way {
        Way::Request => MapType::RequestTrailers,
        Way::Response => MapType::ResponseTrailers,
    }
}
