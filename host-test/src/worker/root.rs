//! Callbacks of root contexts: ticks, callout answers, and items in shared queues.

use std::time::Duration;

use super::{CalloutAnswer, Slot, Worker};
use crate::queues::QueueReady;
use crate::state::CalloutId;
use crate::vm::{CalloutView, Trapped, guest_id, guest_size};

impl Worker {
    /// Answers a callout; ignored if its VM is gone.
    pub fn callout_response(&mut self, callout: CalloutId, answer: CalloutAnswer) {
        let Some(pending) = self.state.borrow_mut().callouts.remove(&callout) else {
            return;
        };
        if self
            .vms
            .get(pending.vm)
            .is_none_or(|slot| slot.generation != pending.generation)
        {
            return;
        }
        let (view, status) = match answer {
            CalloutAnswer::Response {
                headers,
                body,
                trailers,
            } => (
                Some(CalloutView {
                    headers,
                    body: body.to_vec(),
                    trailers,
                }),
                (0, String::new()),
            ),
            CalloutAnswer::Reset => (None, (11, "reset".to_owned())),
        };
        let sizes = view.as_ref().map_or((0, 0, 0), |view| {
            (
                guest_size(view.headers.len()),
                guest_size(view.body.len()),
                guest_size(view.trailers.len()),
            )
        });
        let outcome = self.call(pending.vm, |vm, callbacks| {
            let response = callbacks.http_call_response.as_ref()?;
            let state = vm.data_mut();
            state.callout = view;
            if status.0 != 0 {
                // The code sticks after a failure; Envoy only clears the message.
                state.call_status = status;
            }
            let token = pending.token.cast_signed();
            let params = (guest_id(pending.root), token, sizes.0, sizes.1, sizes.2);
            let outcome = vm.call(
                pending.root,
                "proxy_on_http_call_response",
                response,
                params,
            );
            vm.data_mut().callout = None;
            vm.data_mut().call_status.1.clear();
            Some(outcome)
        });
        self.after_root(pending.vm, pending.root, outcome);
    }

    /// When the next tick is due, on the environment's clock.
    pub fn next_timer(&self) -> Option<Duration> {
        self.vms
            .iter()
            .filter_map(|slot| slot.vm.as_ref())
            .flat_map(|vm| vm.data().roots.values())
            .filter_map(|root| root.next_tick)
            .min()
    }

    /// Runs the ticks that are due, each at most once.
    pub fn run_timers(&mut self) {
        let now = self.state.borrow().env.clock.elapsed();
        for vm in 0..self.vms.len() {
            let mut due: Vec<u32> = match &self.vms[vm].vm {
                Some(vm) => {
                    let roots = vm.data().roots.iter();
                    roots
                        .filter(|(_, root)| root.next_tick.is_some_and(|tick| tick <= now))
                        .map(|(&id, _)| id)
                        .collect()
                }
                None => continue,
            };
            due.sort_unstable();
            for root in due {
                self.tick(vm, root);
            }
        }
        self.settle();
    }

    pub(super) fn tick(&mut self, vm: usize, root: u32) {
        let outcome = self.call(vm, |vm, callbacks| {
            // The period is armed again once the tick has run.
            if let Some(state) = vm.data_mut().roots.get_mut(&root) {
                state.next_tick = None;
            }
            let tick = callbacks.tick.as_ref()?;
            Some(vm.call(root, "proxy_on_tick", tick, guest_id(root)))
        });
        let now = self.state.borrow().env.clock.elapsed();
        if let Some(vm) = self.vms.get_mut(vm).and_then(|slot| slot.vm.as_mut())
            && let Some(state) = vm.data_mut().roots.get_mut(&root)
            && state.next_tick.is_none()
        {
            state.next_tick = state.tick_period.map(|period| now + period);
        }
        self.after_root(vm, root, outcome);
    }

    /// Runs `on_queue_ready` for the items that were put, by whatever worker, into queues that
    /// this worker registered last. Items that are put there meanwhile wait for the next call.
    ///
    /// Workers on threads of their own are told by
    /// [`Shared::wake_with`](crate::shared::Shared::wake_with) when to call this.
    pub fn run_queue_callbacks(&mut self) {
        let (number, shared) = {
            let state = self.state.borrow();
            (state.number, state.env.shared.clone())
        };
        let ready = number.map(|number| shared.queues().take_ready(number));
        for ready in ready.into_iter().flatten() {
            self.queue_ready(ready);
        }
    }

    /// Tells a root context of an item; nothing happens if its VM is gone.
    pub(crate) fn queue_ready(&mut self, ready: QueueReady) {
        let root = ready.target.root;
        let outcome = self.call(ready.target.vm, |vm, callbacks| {
            vm.data().roots.get(&root)?;
            let callback = callbacks.queue_ready.as_ref()?;
            let params = (guest_id(root), ready.token.cast_signed());
            Some(vm.call(root, "proxy_on_queue_ready", callback, params))
        });
        self.after_root(ready.target.vm, root, outcome);
    }

    /// What follows a callback of a root context.
    pub(super) fn after_root(
        &mut self,
        vm: usize,
        root: u32,
        outcome: Option<Result<(), Trapped>>,
    ) {
        if let Some(Err(trap)) = outcome {
            let owner = |slot: &Slot| slot.vm == vm && slot.root == root;
            let plugin = self.slots.iter().position(owner).unwrap_or(usize::MAX);
            self.trapped(vm, plugin, &trap);
        }
        self.collect(vm);
        self.settle();
    }

    /// Moves what a guest asked for into the worker's queue.
    pub(super) fn collect(&mut self, vm: usize) {
        if let Some(instance) = self.vms.get_mut(vm).and_then(|slot| slot.vm.as_mut()) {
            let deferred = std::mem::take(&mut instance.data_mut().deferred);
            self.pending
                .extend(deferred.into_iter().map(|deferred| (vm, deferred)));
        }
    }
}
