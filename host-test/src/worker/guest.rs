//! Asking guests about a frame, and doing what they asked for.

use super::Worker;
use crate::abi::MapType;
use crate::state::{Gate, LaneMode, StreamId, Way};
use crate::vm::{Callbacks, ContextKind, Deferred, Trapped, Vm};

/// What a lane decided about a frame.
pub(super) enum Verdict {
    /// It passes; the number is what the guest returned.
    Returned(i32),
    /// It was resumed in its own callback, which then returned this number.
    Resumed(i32),
    /// The guest isn't asked.
    Unasked,
    /// The stream was answered or reset: nothing is left to pass.
    Over,
}

impl Worker {
    /// Calls a lane's guest for a frame and applies what it deferred.
    pub(super) fn ask(
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
                lane.created,
            )
        });
        let Some((mode, vm, generation, context, plugin, created)) = known else {
            return Verdict::Over;
        };
        // An answer made before the request has reached this lane passes it by.
        if !created {
            return Verdict::Unasked;
        }
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
    pub(super) fn apply(
        &mut self,
        id: StreamId,
        lane: usize,
        way: Way,
        vm: usize,
        code: i32,
    ) -> Verdict {
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
        let mut halted = false;
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
                    self.close_by_guest(id);
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
                        verdict = Some(Verdict::Resumed(code));
                    }
                }
                other => {
                    // A resume of another stream stops nothing here.
                    halted |= !matches!(other, Deferred::Continue { .. });
                    self.pending.push_back((vm, other));
                }
            }
        }
        verdict.unwrap_or_else(|| {
            if halted {
                let text = "another stream was answered or closed inside this stream's callback: Envoy 1.40 halts this stream too; do it from on_tick or on_queue_ready";
                self.state.borrow_mut().violation(Some(id), text.into());
                return Verdict::Returned(i32::MAX);
            }
            Verdict::Returned(code)
        })
    }

    pub(super) fn crash(&self, id: StreamId, what: &str) {
        self.state
            .borrow_mut()
            .violation(Some(id), format!("{what}: Envoy 1.40 crashes on it"));
    }

    /// Carries out what guests asked for, until nothing is left.
    pub(super) fn settle(&mut self) {
        while let Some((vm, deferred)) = self.pending.pop_front() {
            let context = match &deferred {
                Deferred::Continue { context, .. }
                | Deferred::Close { context }
                | Deferred::Reply { context, .. } => *context,
            };
            let instance = self.vms.get(vm).and_then(|slot| slot.vm.as_ref());
            let kind = instance.and_then(|vm| vm.data().contexts.get(&context).copied());
            let Some(ContextKind::Stream { stream, lane }) = kind else {
                continue;
            };
            match deferred {
                Deferred::Close { .. } => self.close_by_guest(stream),
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
    pub(super) fn wake(&mut self, id: StreamId, lane: usize, way: Way) {
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
}
