//! The filter chain: how headers, data and trailers pass the lanes of a stream, are held and
//! resumed. The rules are those of Envoy's filter manager, seen from a wasm filter.

use bytes::Bytes;

use super::guest::Verdict;
use super::{Action, Worker};
use crate::abi::MapType;
use crate::headers::Headers;
use crate::required;
use crate::state::{Gate, StreamId, Way};
use crate::vm::{LocalReply, guest_id, guest_size};

/// Envoy's default `per_connection_buffer_limit_bytes`.
const BUFFER_LIMIT: usize = 1 << 20;

impl Worker {
    /// The lane at a position of the way; `None` past the end. Responses pass in reverse.
    pub(super) fn lane_at(&self, id: StreamId, way: Way, position: usize) -> Option<usize> {
        let lanes = self.lanes(id);
        match way {
            _ if position >= lanes => None,
            Way::Request => Some(position),
            Way::Response => Some(lanes - 1 - position),
        }
    }

    pub(super) fn pass_headers(&mut self, id: StreamId, way: Way, from: usize, end: bool) {
        let map = headers_map(way);
        let mut position = from;
        while let Some(lane) = self.lane_at(id, way, position) {
            if way == Way::Request {
                self.create(id, lane);
            }
            let count = self.with(id, |stream| {
                stream.note_headers(way, position);
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
                let (count, end) = params;
                Some(vm.call_headers(context, name, function.as_ref()?, count, end))
            });
            let resumed = matches!(verdict, Verdict::Resumed(_));
            let gate = match verdict {
                Verdict::Over => return,
                // The headers pass in the middle of the callback. The pause that it then asks for
                // holds what comes after them, and no one will resume it.
                Verdict::Resumed(code) if code != 0 && !end => {
                    let text = "continue_stream and then a pause in the same headers callback: Envoy 1.40 holds the body for ever";
                    self.state.borrow_mut().violation(Some(id), text.into());
                    Gate::Shut
                }
                Verdict::Resumed(_) => Gate::Open,
                // 2 is "continue, but the message doesn't end here": the body flows on.
                Verdict::Unasked | Verdict::Returned(0 | 2) => Gate::Open,
                Verdict::Returned(1) if self.body_runs_while_paused(id, lane) => Gate::Held,
                Verdict::Returned(_) => Gate::Shut,
            };
            let open = resumed || gate == Gate::Open;
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
        if way == Way::Response && !self.has_status(id) {
            return;
        }
        let headers = self.with(id, |stream| {
            stream.response_sent |= way == Way::Response;
            stream.note_headers(way, position);
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

    /// Whether the response that has passed all lanes can be sent; if not, it is replaced.
    fn has_status(&mut self, id: StreamId) -> bool {
        let checked = self.with(id, |stream| {
            required::check_response(&stream.response.headers)
        });
        let Some(Err((cause, details))) = checked else {
            return true;
        };
        let reply = LocalReply {
            status: 502,
            body: cause.into(),
            details,
            ..LocalReply::default()
        };
        self.reply(id, reply);
        false
    }

    pub(super) fn body_runs_while_paused(&self, id: StreamId, lane: usize) -> bool {
        let plugin = self.with_lane(id, lane, |lane| lane.plugin);
        plugin
            .and_then(|plugin| self.slots.get(plugin))
            .is_some_and(|slot| slot.plugin.allow_on_headers_stop_iteration)
    }

    pub(super) fn pass_data(
        &mut self,
        id: StreamId,
        way: Way,
        from: usize,
        data: Vec<u8>,
        mut end: bool,
    ) {
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
                state.adds_trailers = end;
                if let Some(passages) = &mut stream.passages {
                    passages.data(way, position, &data);
                }
                let message = stream.message(way);
                let mut piece = if cumulative {
                    message.held.take()
                } else {
                    None
                }
                .unwrap_or_default();
                piece.append(&mut data);
                message.current = Some(piece);
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
                Verdict::Unasked | Verdict::Resumed(_) => 0,
                Verdict::Returned(code) => code,
            };
            data = self
                .with(id, |stream| stream.message(way).current.take())
                .flatten()
                .unwrap_or_default();
            if code == 0 {
                let was_held = self.with_lane(id, lane, |lane| {
                    lane.way(way).adds_trailers = false;
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
        self.with(id, |stream| {
            stream.message(way).bytes_passed += data.len() as u64;
            if let Some(passages) = &mut stream.passages {
                passages.data(way, position, &data);
            }
        });
        if end || trailers_from.is_some() {
            self.check_length(id, way);
        }
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
    pub(super) fn hold(
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

    pub(super) fn over_the_limit(&mut self, id: StreamId, way: Way) {
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

    pub(super) fn pass_trailers(&mut self, id: StreamId, way: Way, from: usize) {
        let map = trailers_map(way);
        let mut position = from;
        while let Some(lane) = self.lane_at(id, way, position) {
            let count = self.with(id, |stream| {
                stream.note_trailers(way, position);
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
                Verdict::Unasked | Verdict::Resumed(_) | Verdict::Returned(0) => true,
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
            .with(id, |stream| {
                stream.note_trailers(way, position);
                stream.message(way).trailers.clone()
            })
            .flatten();
        let Some(trailers) = trailers else { return };
        self.check_length(id, way);
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
    pub(super) fn resume(&mut self, id: StreamId, way: Way, position: usize) {
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
