//! The router's part of an exchange: where a request goes, and what is changed on the way.

use std::rc::Rc;

use bytes::Bytes;

use super::super::body::{UpstreamBody, pipe};
use super::super::connection::Client;
use super::super::format::{View, text};
use super::super::head::upstream_request;
use super::super::mutate::{apply, location, rewrite};
use super::super::reply::Reply;
use super::super::router::Found;
use super::super::upstream::{Cause, send};
use super::{Exchange, Upstream};
use crate::bootstrap::{Forward, Mutation, Mutations, RouteAction};
use crate::headers::Headers;
use crate::required;

impl Exchange {
    /// Does with a request that left the chain what its route says.
    pub(super) fn forward(&mut self, headers: Headers, end: bool) {
        self.request = headers;
        let client = Rc::clone(&self.client);
        let routes = &client.listener().manager.routes;
        // Plugins may have changed what the route depends on.
        let has_scheme = self.request.first(required::FORWARDED_PROTO);
        self.route = has_scheme
            .filter(|scheme| !scheme.is_empty())
            .and_then(|_| client.prepared().router.find(routes, &self.request));
        let Some(found) = self.route else {
            client.http_stats().no_route.increment();
            self.reply(&Reply::route_not_found());
            return;
        };
        let (_, route) = found.of(routes);
        match &route.action {
            RouteAction::Direct { status, body } => {
                client.http_stats().direct_responses.increment();
                let reply = Reply::direct(*status);
                self.reply_with(&reply, Headers::new(), Bytes::copy_from_slice(body));
            }
            RouteAction::Redirect(redirect) => {
                client.http_stats().redirects.increment();
                let mut headers = Headers::new();
                headers.set(
                    "location",
                    location(redirect, &route.matches, &self.request),
                );
                self.reply_with(&Reply::direct(redirect.status), headers, Bytes::new());
            }
            RouteAction::Forward(forward) => self.send(found, forward, end),
        }
    }

    fn send(&mut self, found: Found, forward: &Forward, end: bool) {
        let client = Rc::clone(&self.client);
        let Some(cluster) = client.choose_cluster(found, forward) else {
            self.reply(&Reply::route_not_found());
            return;
        };
        self.record.cluster = Some(cluster);
        self.mutate_request(found);
        let (_, route) = found.of(&client.listener().manager.routes);
        rewrite(forward, &route.matches, &mut self.request);
        if !forward.timeout.is_zero() {
            let milliseconds = forward.timeout.as_millis().to_string();
            self.request
                .set("x-envoy-expected-rq-timeout-ms", milliseconds);
        }
        let Some(endpoint) = client.local.pick(cluster) else {
            self.fail(&Cause::NoHost);
            return;
        };
        self.record.upstream = Some(endpoint.address);
        let body = if end {
            UpstreamBody::Empty
        } else {
            let (writer, reader) = pipe();
            self.upload = Some(writer);
            UpstreamBody::Piped(reader)
        };
        match upstream_request(&self.request, end, body) {
            Ok(request) => {
                let local = Rc::clone(&client.local);
                self.upstream = Upstream::Asked(Box::pin(send(local, cluster, endpoint, request)));
                if end {
                    self.start_timeout();
                }
            }
            Err(unsendable) => {
                self.upload = None;
                self.reply(&Reply::unsendable_request(&unsendable));
            }
        }
    }

    /// Starts the time-out of the route, which runs from the end of the request to the end of the
    /// response.
    pub(super) fn start_timeout(&mut self) {
        let Some(found) = self.route else { return };
        let routes = &self.client.listener().manager.routes;
        let (_, route) = found.of(routes);
        if let RouteAction::Forward(forward) = &route.action
            && !forward.timeout.is_zero()
            && !matches!(self.upstream, Upstream::Idle)
        {
            self.timeout = Some(Box::pin(tokio::time::sleep(forward.timeout)));
        }
    }

    fn mutate_request(&mut self, found: Found) {
        let mut headers = std::mem::take(&mut self.request);
        let client = Rc::clone(&self.client);
        let mutations = mutations(&client, found, |levels| &levels.request);
        apply(mutations.into_iter(), &mut headers, |template, headers| {
            let view = View {
                request: Some(headers),
                ..self.view()
            };
            text(template, &view, "")
        });
        self.request = headers;
    }

    /// Applies what the route adds to responses and removes from them.
    pub(super) fn mutate_response(&self, headers: &mut Headers, status: u16) {
        let Some(found) = self.route else { return };
        let mutations = mutations(&self.client, found, |levels| &levels.response);
        apply(mutations.into_iter(), headers, |template, headers| {
            let view = View {
                request: Some(&self.request),
                response: Some(headers),
                status: Some(status),
                ..self.view()
            };
            text(template, &view, "")
        });
    }

    /// What format strings see, but for headers.
    pub(super) fn view(&self) -> View<'_> {
        let config = &self.client.local.config;
        let names = self.route.map(|found| {
            let (_, route) = found.of(&self.client.listener().manager.routes);
            route.name.as_str()
        });
        // Before a cluster is chosen it is the route's, as in Envoy.
        let of_route = || self.client.first_cluster(self.route?);
        let cluster = self.record.cluster.or_else(of_route);
        let cluster = cluster.map(|cluster| &config.bootstrap.clusters[cluster]);
        View {
            route_name: names.unwrap_or_default(),
            cluster: cluster.map_or("", |cluster| &cluster.name),
            hostname: &config.hostname,
            ..self.record.view(&self.client.peer, None)
        }
    }
}

/// The mutations of a route, its virtual host and its table, the most specific first.
fn mutations<'c>(
    client: &'c Client,
    found: Found,
    side: impl Fn(&'c Mutations) -> &'c Mutation,
) -> [&'c Mutation; 3] {
    let routes = &client.listener().manager.routes;
    let (host, route) = found.of(routes);
    [
        side(&route.mutations),
        side(&host.mutations),
        side(&routes.mutations),
    ]
}
