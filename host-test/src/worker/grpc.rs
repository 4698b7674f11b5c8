//! Callbacks of gRPC callouts.

use bytes::Bytes;

use super::{Unreachable, Worker};
use crate::grpc::{self, Event};
use crate::headers::Headers;
use crate::state::{CalloutId, CalloutKind, PendingCallout};
use crate::vm::{Callbacks, GrpcView, Trapped, Vm, guest_id, guest_size};

/// A callout's place in its VM.
type Place = (u32, i32);

impl Worker {
    /// The service's headers have come. Only streams are told.
    pub fn grpc_initial_metadata(&mut self, callout: CalloutId, metadata: Headers) {
        let size = guest_size(metadata.len());
        let view = GrpcView {
            initial: Some(metadata),
            ..GrpcView::default()
        };
        self.tell_stream(callout, view, |vm, callbacks, (root, token)| {
            let callback = callbacks.grpc_initial_metadata.as_ref()?;
            let name = "proxy_on_grpc_receive_initial_metadata";
            Some(vm.call(root, name, callback, (guest_id(root), token, size)))
        });
    }

    /// A message has come. It is the end of a call.
    pub fn grpc_message(&mut self, callout: CalloutId, message: Bytes) {
        let size = guest_size(message.len());
        let view = GrpcView {
            message: Some(message.to_vec()),
            ..GrpcView::default()
        };
        self.tell(callout, view, |vm, callbacks, (root, token)| {
            let callback = callbacks.grpc_receive.as_ref()?;
            let name = "proxy_on_grpc_receive";
            Some(vm.call(root, name, callback, (guest_id(root), token, size)))
        });
        let mut state = self.state.borrow_mut();
        if state
            .callouts
            .get(&callout)
            .is_some_and(|c| c.kind == CalloutKind::GrpcCall)
        {
            state.callouts.remove(&callout);
        }
    }

    /// The service's trailers have come. Only streams are told.
    pub fn grpc_trailing_metadata(&mut self, callout: CalloutId, metadata: Headers) {
        let size = guest_size(metadata.len());
        let view = GrpcView {
            trailing: Some(metadata),
            ..GrpcView::default()
        };
        self.tell_stream(callout, view, |vm, callbacks, (root, token)| {
            let callback = callbacks.grpc_trailing_metadata.as_ref()?;
            let name = "proxy_on_grpc_receive_trailing_metadata";
            Some(vm.call(root, name, callback, (guest_id(root), token, size)))
        });
    }

    /// The service has ended: a stream with any status, a call with an error.
    pub fn grpc_close(&mut self, callout: CalloutId, status: u32, message: &str) {
        self.tell(
            callout,
            GrpcView::default(),
            |vm, callbacks, (root, token)| {
                let callback = callbacks.grpc_close.as_ref()?;
                vm.data_mut().call_status = (status, message.to_owned());
                let params = (guest_id(root), token, status.cast_signed());
                let outcome = vm.call(root, "proxy_on_grpc_close", callback, params);
                // The code stays; Envoy only clears the message.
                vm.data_mut().call_status.1.clear();
                Some(outcome)
            },
        );
        let mut state = self.state.borrow_mut();
        let over = match state.callouts.get_mut(&callout).map(|c| &mut c.kind) {
            Some(CalloutKind::GrpcStream { local, remote }) => {
                *remote = true;
                *local
            }
            _ => true,
        };
        if over {
            state.callouts.remove(&callout);
        }
    }

    /// A callout has failed at once: the guest is told how.
    pub fn grpc_unreachable(&mut self, callout: CalloutId, cause: Unreachable) {
        let kind = self.state.borrow().callouts.get(&callout).map(|c| c.kind);
        let mut events = match cause {
            Unreachable::NoHost => grpc::no_host(),
            Unreachable::Unknown => grpc::no_cluster(),
        };
        if kind == Some(CalloutKind::GrpcCall) {
            events = grpc::only(events).into_iter().collect();
        }
        for event in events {
            self.grpc_event(callout, event);
        }
        self.state.borrow_mut().callouts.remove(&callout);
    }

    pub(crate) fn grpc_event(&mut self, callout: CalloutId, event: Event) {
        match event {
            Event::Initial(metadata) => self.grpc_initial_metadata(callout, metadata),
            Event::Message(message) => self.grpc_message(callout, message),
            Event::Trailing(metadata) => self.grpc_trailing_metadata(callout, metadata),
            Event::Close(status, message) => self.grpc_close(callout, status, &message),
        }
    }

    fn tell_stream(
        &mut self,
        callout: CalloutId,
        view: GrpcView,
        f: impl FnOnce(&mut Vm, &Callbacks, Place) -> Option<Result<(), Trapped>>,
    ) {
        let state = self.state.borrow();
        let kind = state.callouts.get(&callout).map(|c| c.kind);
        drop(state);
        if matches!(kind, Some(CalloutKind::GrpcStream { .. })) {
            self.tell(callout, view, f);
        }
    }

    /// Calls the root context that made a callout, if its VM is still there.
    fn tell(
        &mut self,
        callout: CalloutId,
        view: GrpcView,
        f: impl FnOnce(&mut Vm, &Callbacks, Place) -> Option<Result<(), Trapped>>,
    ) {
        let place = {
            let state = self.state.borrow();
            let Some(PendingCallout {
                vm,
                generation,
                root,
                token,
                ..
            }) = state.callouts.get(&callout)
            else {
                return;
            };
            let slot = self.vms.get(*vm);
            if slot.is_none_or(|slot| slot.generation != *generation) {
                return;
            }
            (*vm, *root, *token)
        };
        let (vm, root, token) = place;
        let outcome = self.call(vm, |vm, callbacks| {
            vm.data_mut().grpc = view;
            let outcome = f(vm, callbacks, (root, token.cast_signed()));
            vm.data_mut().grpc = GrpcView::default();
            outcome
        });
        self.after_root(vm, root, outcome);
    }
}
