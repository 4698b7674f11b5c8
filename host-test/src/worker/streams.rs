//! Opening and closing streams: contexts are made, and the last callbacks run.

use super::{Closed, StreamInfo, Worker};
use crate::plugin::FailurePolicy;
use crate::state::{Gate, Lane, LaneMode, LaneWay, Stream, StreamId, Way};
use crate::vm::{ContextKind, guest_id};

impl Worker {
    /// Opens a stream through the plugins at these positions of the list given to
    /// [`Worker::start`].
    pub fn open(&mut self, chain: &[usize], info: StreamInfo) -> StreamId {
        let id = {
            let mut state = self.state.borrow_mut();
            let (started, started_wall) = (state.env.clock.elapsed(), state.env.clock.wall_nanos());
            let mut stream = Box::<Stream>::default();
            stream.info = info;
            stream.lanes = Vec::with_capacity(chain.len());
            (stream.started, stream.started_wall) = (started, started_wall);
            stream.passages = state.env.observe.detail.then(Box::default);
            state.streams.insert(stream)
        };
        for &plugin in chain {
            self.open_lane(id, plugin);
        }
        self.settle();
        id
    }

    /// Makes a plugin's lane and context id for a stream; a failed VM is treated by its policy.
    pub(super) fn open_lane(&mut self, stream: StreamId, plugin: usize) {
        let Some(slot) = self.slots.get(plugin) else {
            return;
        };
        let (vm, policy) = (slot.vm, slot.plugin.failure_policy);
        if self.vms[vm].vm.is_none() {
            self.reload(vm, policy);
        }
        let mode = match (&self.vms[vm].vm, policy) {
            (Some(_), _) => LaneMode::Running,
            (None, FailurePolicy::FailOpen) => LaneMode::Bypassed,
            (None, _) => LaneMode::Failed,
        };
        let mut lane = Lane {
            plugin,
            vm,
            generation: self.vms[vm].generation,
            root: self.slots[plugin].root,
            context: 0,
            created: false,
            mode,
            request: LaneWay::default(),
            response: LaneWay::default(),
            visible: 0,
            logging: false,
            ending: false,
            replied: false,
        };
        let mut state = self.state.borrow_mut();
        let Some(open) = state.streams.get_mut(&stream) else {
            return;
        };
        let position = open.lanes.len();
        let context = match &mut self.vms[vm].vm {
            Some(vm) => {
                let kind = ContextKind::Stream {
                    stream,
                    lane: position,
                };
                vm.new_context(kind)
            }
            None => 0,
        };
        lane.context = context;
        open.lanes.push(lane);
    }

    /// Tells a lane's guest of its context, once.
    pub(super) fn create(&mut self, stream: StreamId, position: usize) {
        let lane = self.with_lane(stream, position, |lane| {
            let first = !std::mem::replace(&mut lane.created, true);
            (first, lane.root)
        });
        let Some((true, root)) = lane else { return };
        let Some((vm, context, plugin)) = self.running(stream, position) else {
            return;
        };
        let created = self.call(vm, |worker, callbacks| {
            let create = callbacks.context_create.as_ref()?;
            let params = (guest_id(context), guest_id(root));
            Some(worker.call(context, "proxy_on_context_create", create, params))
        });
        if let Some(Err(trap)) = created {
            self.trapped(vm, plugin, &trap);
            self.with_lane(stream, position, |lane| lane.mode = LaneMode::Failed);
        }
    }

    /// Changes the stream's properties as routing goes on.
    pub fn update_info(&mut self, stream: StreamId, change: impl FnOnce(&mut StreamInfo)) {
        if let Some(stream) = self.state.borrow_mut().streams.get_mut(&stream) {
            change(&mut stream.info);
        }
    }

    /// An object of the stream's filter state, by its whole name.
    pub fn filter_state(&self, stream: StreamId, key: &str) -> Option<Vec<u8>> {
        let state = self.state.borrow();
        state.streams.get(&stream)?.filter_state.get(key).cloned()
    }

    /// The stream is over, answered or not: `on_log`, `on_done`, `on_delete` run.
    pub fn close(&mut self, stream: StreamId) -> Closed {
        let lanes = self.lanes(stream);
        self.check_pause(stream);
        let paused = self
            .state
            .borrow_mut()
            .streams
            .get_mut(&stream)
            .is_some_and(|stream| {
                let held = stream.lanes.iter().any(|lane| {
                    lane.mode == LaneMode::Running
                        && !stream.answered
                        && (lane.request.gate != Gate::Open || lane.response.gate != Gate::Open)
                });
                for lane in &mut stream.lanes {
                    lane.ending = true;
                    lane.logging = true;
                }
                held
            });
        for lane in 0..lanes {
            self.create(stream, lane);
            self.end(stream, lane, "proxy_on_log");
        }
        if let Some(stream) = self.state.borrow_mut().streams.get_mut(&stream) {
            for lane in &mut stream.lanes {
                lane.logging = false;
            }
        }
        for lane in 0..lanes {
            self.end(stream, lane, "proxy_on_done");
            self.end(stream, lane, "proxy_on_delete");
        }
        self.settle();
        let Some(over) = self.state.borrow_mut().streams.remove(&stream) else {
            return Closed::default();
        };
        for lane in &over.lanes {
            if let Some(slot) = self.vms.get_mut(lane.vm)
                && slot.generation == lane.generation
                && let Some(vm) = &mut slot.vm
            {
                vm.data_mut().contexts.remove(&lane.context);
            }
        }
        Closed {
            details: over.details,
            filter_state: over.filter_state,
            calls: over.calls,
            instructions: over.instructions,
            trace: over.trace.into(),
            passages: over.passages,
            violations: over.violations,
            paused,
            request_headers: over.request.headers,
        }
    }

    /// One of the three last callbacks of a lane.
    pub(super) fn end(&mut self, stream: StreamId, lane: usize, name: &'static str) {
        let Some((vm, context, plugin)) = self.running(stream, lane) else {
            return;
        };
        let ended = self.call(vm, |vm, callbacks| {
            let id = guest_id(context);
            match name {
                "proxy_on_log" => Some(vm.call(context, name, callbacks.log.as_ref()?, id)),
                "proxy_on_done" => {
                    let done = callbacks.done.as_ref()?;
                    Some(vm.call(context, name, done, id).map(|_| ()))
                }
                _ => Some(vm.call(context, name, callbacks.delete.as_ref()?, id)),
            }
        });
        match ended {
            Some(Err(trap)) => self.trapped(vm, plugin, &trap),
            _ => self.collect(vm),
        }
    }

    /// VM, context and plugin of a lane whose VM still runs.
    pub(super) fn running(&self, stream: StreamId, lane: usize) -> Option<(usize, u32, usize)> {
        let state = self.state.borrow();
        let lane = state.streams.get(&stream)?.lanes.get(lane)?;
        let slot = self.vms.get(lane.vm)?;
        let alive = lane.context != 0 && slot.generation == lane.generation && slot.vm.is_some();
        alive.then_some((lane.vm, lane.context, lane.plugin))
    }

    /// Whether a direction of the stream is held by a plugin, so that the caller should stop
    /// reading from its source.
    pub fn is_held(&self, stream: StreamId, response: bool) -> bool {
        let way = if response {
            Way::Response
        } else {
            Way::Request
        };
        let mut state = self.state.borrow_mut();
        state.streams.get_mut(&stream).is_some_and(|stream| {
            stream.message(way).held.is_some()
                || stream
                    .lanes
                    .iter_mut()
                    .any(|lane| lane.way(way).gate != Gate::Open)
        })
    }
}
