//! The end of an exchange.

use std::rc::Rc;

use super::super::format::View;
use super::{Exchange, Upstream};

impl Exchange {
    /// The stream is over: the plugins' last callbacks run, and its line is logged.
    pub(super) fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.upload = None;
        self.timeout = None;
        self.upstream = Upstream::Idle;
        let client = Rc::clone(&self.client);
        let closed = match (self.stream.take(), &client.local.filters) {
            (Some(stream), Some(filters)) => Some(filters.close(stream)),
            _ => None,
        };
        self.sending = None;
        client.http_stats().active_requests.decrement();
        if !client.logs() {
            return;
        }
        let view = self.view();
        let noted = self.record.view(&client.peer, closed.as_ref());
        let request = match &closed {
            // The chain has kept a request that never left it.
            Some(closed) if self.request.is_empty() => &closed.request_headers,
            _ => &self.request,
        };
        client.local.logs.log(
            client.listener,
            &View {
                request: Some(request),
                response: Some(&self.response),
                route_name: view.route_name,
                cluster: view.cluster,
                hostname: view.hostname,
                ..noted
            },
        );
    }
}

impl Drop for Exchange {
    /// The client went away, or the connection to it broke.
    fn drop(&mut self) {
        if !self.closed {
            self.record.details = Some("downstream_remote_disconnect".to_owned());
            self.record.flags = "DC".into();
        }
        self.close();
        self.client.local.leave();
    }
}
