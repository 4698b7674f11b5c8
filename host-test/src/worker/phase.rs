//! A guest whose callbacks are called one by one, without a filter chain around them.
//!
//! This is how Google's plugin tester drives a plugin: each phase is given its headers or its piece
//! of the body, and what the guest has made of them is taken back. Nothing is held, a reply of the
//! guest's own doesn't pass its response callbacks, and no upstream is asked.

use std::sync::Arc;

use super::{Closed, StartError, StreamInfo, Worker};
use crate::abi::MapType;
use crate::headers::Headers;
use crate::plugin::Plugin;
use crate::state::{Alone, Environment, StreamId, Way};
use crate::vm::{Callbacks, Deferred, LocalReply, Trapped, Vm, guest_id, guest_size};

/// What came of a phase.
#[derive(Debug)]
pub(crate) struct Phase {
    /// What the callback returned; 0 if the guest has none.
    pub(crate) code: i32,
    /// The reply that the guest asked for last.
    pub(crate) reply: Option<LocalReply>,
    /// The clusters that callouts were sent to. No one answers them.
    pub(crate) callouts: Vec<String>,
    /// The headers as the guest has left them.
    pub(crate) headers: Headers,
    /// The piece of the body as the guest has left it.
    pub(crate) body: Vec<u8>,
}

/// The guest trapped: its VM is gone, and with it the worker's use.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl Worker {
    /// Starts the one VM of a plugin.
    pub(crate) fn start_alone(
        env: Environment,
        plugin: &Arc<Plugin>,
        alone: Alone,
    ) -> Result<Self, StartError> {
        let mut worker = Self::empty(env, 1);
        worker.state.borrow_mut().alone = Some(alone);
        worker.add(plugin)?;
        Ok(worker)
    }

    /// Opens a stream and tells the guest of it at once.
    pub(crate) fn open_alone(&mut self) -> Result<StreamId, Failed> {
        let id = self.open(&[0], StreamInfo::default());
        self.create(id, 0);
        self.alive("proxy_on_context_create").map(|()| id)
    }

    /// Calls a headers callback.
    pub(crate) fn headers_alone(
        &mut self,
        id: StreamId,
        way: Way,
        headers: Headers,
    ) -> Result<Phase, Failed> {
        let count = guest_size(headers.len());
        let (map, name) = match way {
            Way::Request => (MapType::RequestHeaders, "proxy_on_request_headers"),
            Way::Response => (MapType::ResponseHeaders, "proxy_on_response_headers"),
        };
        self.with(id, |stream| {
            let message = stream.message(way);
            message.headers = headers;
            message.started = true;
        });
        self.with_lane(id, 0, |lane| lane.show(map));
        let mut phase = self.phase(id, name, |vm, callbacks, context| {
            let function = match way {
                Way::Request => callbacks.request_headers.as_ref()?,
                Way::Response => callbacks.response_headers.as_ref()?,
            };
            Some(vm.call_headers(context, name, function, count, 0))
        })?;
        self.with_lane(id, 0, |lane| lane.hide(map));
        self.with(id, |stream| {
            phase.headers = stream.message(way).headers.clone()
        });
        Ok(phase)
    }

    /// Calls a body callback.
    pub(crate) fn body_alone(
        &mut self,
        id: StreamId,
        way: Way,
        body: Vec<u8>,
        end: bool,
    ) -> Result<Phase, Failed> {
        let size = guest_size(body.len());
        self.with(id, |stream| stream.message(way).current = Some(body));
        let name = match way {
            Way::Request => "proxy_on_request_body",
            Way::Response => "proxy_on_response_body",
        };
        let mut phase = self.phase(id, name, |vm, callbacks, context| {
            let function = match way {
                Way::Request => callbacks.request_body.as_ref()?,
                Way::Response => callbacks.response_body.as_ref()?,
            };
            let params = (guest_id(context), size, i32::from(end));
            Some(vm.call(context, name, function, params))
        })?;
        let body = self.with(id, |stream| stream.message(way).current.take());
        phase.body = body.flatten().unwrap_or_default();
        Ok(phase)
    }

    /// Calls `on_log`, `on_done` and `on_delete` of the stream.
    pub(crate) fn close_alone(&mut self, id: StreamId) -> Result<Closed, Failed> {
        let closed = self.close(id);
        self.alive("the end of the stream").map(|()| closed)
    }

    /// Calls `on_done` and `on_delete` of the plugin's own context.
    pub(crate) fn shut_down_alone(&mut self) -> Result<(), Failed> {
        let Some(root) = self.slots.first().map(|slot| slot.root) else {
            return Ok(());
        };
        let id = guest_id(root);
        let done = self.call(0, |vm, callbacks| {
            Some(vm.call(root, "proxy_on_done", callbacks.done.as_ref()?, id))
        });
        if let Some(Err(Trapped(cause))) = done {
            return Err(Failed(cause));
        }
        let deleted = self.call(0, |vm, callbacks| {
            Some(vm.call(root, "proxy_on_delete", callbacks.delete.as_ref()?, id))
        });
        match deleted {
            Some(Err(Trapped(cause))) => Err(Failed(cause)),
            _ => Ok(()),
        }
    }

    fn phase(
        &mut self,
        id: StreamId,
        name: &str,
        f: impl FnOnce(&mut Vm, &Callbacks, u32) -> Option<Result<i32, Trapped>>,
    ) -> Result<Phase, Failed> {
        let Some((vm, context, _)) = self.running(id, 0) else {
            return Err(Failed(format!("{name}: the VM is gone")));
        };
        let code = match self.call(vm, |vm, callbacks| f(vm, callbacks, context)) {
            None => 0,
            Some(Ok(code)) => code,
            Some(Err(Trapped(cause))) => return Err(Failed(cause)),
        };
        let mut reply = None;
        if let Some(instance) = self.vms.get_mut(vm).and_then(|slot| slot.vm.as_mut()) {
            for deferred in std::mem::take(&mut instance.data_mut().deferred) {
                if let Deferred::Reply { reply: latest, .. } = deferred {
                    reply = Some(latest);
                }
            }
        }
        let callouts = self
            .take_actions()
            .into_iter()
            .filter_map(|action| match action {
                super::Action::HttpCall { cluster, .. } => Some(cluster),
                _ => None,
            });
        Ok(Phase {
            code,
            reply,
            callouts: callouts.collect(),
            headers: Headers::coalesced(),
            body: Vec::new(),
        })
    }

    /// Whether the VM has survived what was called last, which has said why if not.
    fn alive(&self, after: &str) -> Result<(), Failed> {
        match self.vms.first().is_some_and(|slot| slot.vm.is_some()) {
            true => Ok(()),
            false => Err(Failed(format!("the VM failed in {after}"))),
        }
    }
}
