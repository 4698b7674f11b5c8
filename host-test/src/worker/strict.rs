//! What strict mode looks at when a message or a stream ends.

use super::Worker;
use crate::state::{Gate, LaneMode, StreamId, Way};

impl Worker {
    /// A body that guests have changed must still have the length that its headers say.
    pub(super) fn check_length(&self, id: StreamId, way: Way) {
        let wrong =
            self.with(id, |stream| {
                let head = stream.request.headers.first(":method") == Some(b"HEAD");
                let message = stream.message(way);
                // Once is enough: trailers may come after the body.
                if !std::mem::take(&mut message.edited) || head && way == Way::Response {
                    return None;
                }
                let said: u64 = message.headers.text("content-length")?.parse().ok()?;
                let sent = message.bytes_passed;
                (said != sent).then(|| {
                let what = if way == Way::Request { "request" } else { "response" };
                format!(
                    "content-length of the {what} says {said}, but a body of {sent} bytes has left \
                     the chain: remove the header before the headers pass"
                )
            })
            });
        if let Some(Some(text)) = wrong {
            self.state.borrow_mut().violation(Some(id), text);
        }
    }

    /// A stream ends while a plugin holds it, and nothing was there that could have resumed it: no
    /// callout under way and no timer.
    pub(super) fn check_pause(&self, id: StreamId) {
        let held = self.with(id, |stream| {
            if stream.answered || stream.reset {
                return Vec::new();
            }
            let holds = |gate| gate != Gate::Open;
            let lanes = stream
                .lanes
                .iter()
                .filter(|lane| lane.mode == LaneMode::Running);
            lanes
                .filter_map(
                    |lane| match (holds(lane.request.gate), holds(lane.response.gate)) {
                        (true, _) => Some((lane.plugin, lane.vm, "request")),
                        (_, true) => Some((lane.plugin, lane.vm, "response")),
                        (false, false) => None,
                    },
                )
                .collect()
        });
        for (plugin, vm, what) in held.into_iter().flatten() {
            if self.may_resume(vm) {
                continue;
            }
            let name = self
                .slots
                .get(plugin)
                .map_or("", |slot| slot.plugin.name.as_str());
            let text = format!(
                "plugin {name:?} paused the {what} and left it so: no callout and no timer is there \
                 that could resume it"
            );
            self.state.borrow_mut().violation(Some(id), text);
        }
    }

    fn may_resume(&self, vm: usize) -> bool {
        let callout = self
            .state
            .borrow()
            .callouts
            .values()
            .any(|callout| callout.vm == vm);
        let instance = self.vms.get(vm).and_then(|slot| slot.vm.as_ref());
        let mut roots = instance.iter().flat_map(|vm| vm.data().roots.values());
        callout || roots.any(|root| root.next_tick.is_some())
    }
}
