//! The end of an exchange.

use std::rc::Rc;

use super::super::format::View;
use super::{Exchange, Upstream};
use crate::inspector::{Call, End, Tape};
use crate::worker::Closed;

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
        let mut callouts = Vec::new();
        let closed = match (self.stream.take(), &client.local.filters) {
            (Some(stream), Some(filters)) => {
                let closed = filters.close(stream);
                callouts = filters.calls_of(stream);
                Some(closed)
            }
            _ => None,
        };
        self.sending = None;
        client.http_stats().active_requests.decrement();
        if client.logs() {
            self.log(closed.as_ref());
        }
        if let Some(tape) = self.tape.take() {
            self.end_tape(*tape, closed, callouts);
        }
    }

    /// Writes the stream's line.
    fn log(&self, closed: Option<&Closed>) {
        let client = &self.client;
        let view = self.view();
        let noted = self.record.view(&client.peer, closed);
        let request = match closed {
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

    /// Has the inspector keep what was recorded.
    fn end_tape(&self, tape: Tape, closed: Option<Closed>, callouts: Vec<Call>) {
        let client = &self.client;
        let view = self.view();
        let plugins = &client.local.config.plugins.all;
        let chain = client.prepared().chain(self.entered);
        let names = chain.iter().filter_map(|at| plugins.get(*at));
        let upstream = self.record.upstream;
        tape.end(End {
            callouts,
            filters: names.map(|plugin| plugin.name.clone()).collect(),
            listener: client.listener().name.clone(),
            client: client.peer.remote.to_string(),
            status: self.record.status,
            details: self.record.details.clone(),
            flags: self.record.flags.clone().into_owned(),
            route: view.route_name.to_owned(),
            cluster: view.cluster.to_owned(),
            upstream: upstream.map_or_else(String::new, |address| address.to_string()),
            closed,
        });
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
