//! The router's part of an exchange: where a request goes, and what is changed on the way.

use std::rc::Rc;

use bytes::Bytes;

use super::super::connection::Client;
use super::super::format::{View, text};
use super::super::mutate::{apply, location, rewrite};
use super::super::reply::Reply;
use super::super::router::Found;
use super::Exchange;
use super::attempt::Sending;
use crate::bootstrap::{Forward, Mutation, Mutations, NativeKind, RouteAction};
use crate::headers::Headers;
use crate::required;

impl Exchange {
    /// Does with a request that left the chain what its route says.
    pub(super) fn forward(&mut self, headers: Headers, end: bool) {
        self.request = headers;
        let client = Rc::clone(&self.client);
        self.pass_natives(false);
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
            RouteAction::Forward(forward) => self.begin_sending(found, forward, end),
        }
    }

    /// Lets the request pass Envoy's own filters, before the wasm filters or after them.
    pub(super) fn pass_natives(&mut self, first: bool) {
        let client = Rc::clone(&self.client);
        let natives = client.prepared().natives(self.route);
        let natives = if first { &natives.first } else { &natives.last };
        for native in natives {
            match &native.kind {
                NativeKind::HeaderMutation(_) => {
                    let mut headers = std::mem::take(&mut self.request);
                    let mutations = native.mutations().flat_map(|own| &own.request);
                    self.apply_to_request(mutations, &mut headers);
                    self.request = headers;
                }
                NativeKind::HeaderToMetadata(rules) => {
                    self.metadata.take_headers(rules, &mut self.request);
                }
                NativeKind::StatefulSession(session) => {
                    let named = self.request.text(&session.header);
                    let named = named.and_then(|text| crate::bootstrap::base64(&text));
                    let named = named.and_then(|bytes| String::from_utf8(bytes).ok());
                    self.session = named.map(|named| (named, session.strict));
                }
            }
        }
    }

    /// The same with a response, in the other order.
    pub(super) fn pass_natives_back(&self, first: bool, headers: &mut Headers, status: u16) {
        let client = Rc::clone(&self.client);
        let natives = client.prepared().natives(self.route);
        let natives = if first { &natives.first } else { &natives.last };
        for native in natives.iter().rev() {
            match &native.kind {
                NativeKind::HeaderMutation(_) => {
                    let mutations = native.mutations().flat_map(|own| &own.response);
                    self.apply_to_response(mutations, headers, status);
                }
                NativeKind::StatefulSession(session) => {
                    // The client is told whom it met, if that isn't whom it asked for.
                    let host = self.record.upstream.map(|address| address.to_string());
                    let asked = self.session.as_ref().map(|(asked, _)| asked);
                    if let Some(host) = host
                        && asked != Some(&host)
                    {
                        headers.set(&session.header, base64(host.as_bytes()));
                    }
                }
                NativeKind::HeaderToMetadata(_) => {}
            }
        }
    }

    fn begin_sending(&mut self, found: Found, forward: &Forward, end: bool) {
        let client = Rc::clone(&self.client);
        let cluster = match &forward.cluster_header {
            Some(header) => {
                let name = self.request.text(header);
                name.and_then(|name| client.local.config.cluster(&name))
            }
            None => client.choose_cluster(found, forward),
        };
        let Some(cluster) = cluster else {
            self.reply(&Reply::cluster_not_found(forward.not_found_status));
            return;
        };
        self.record.cluster = Some(cluster);
        self.mutate_request(found);
        let (host, route) = found.of(&client.listener().manager.routes);
        rewrite(forward, &route.matches, &mut self.request);
        let policy = forward.retry.as_ref().or(host.retry.as_ref());
        let sending = Sending::new(forward, policy, cluster, end, &mut self.request);
        if !sending.timeout.is_zero() {
            let milliseconds = sending.timeout.as_millis().to_string();
            self.request
                .set("x-envoy-expected-rq-timeout-ms", milliseconds);
        }
        self.sending = Some(Box::new(sending));
        self.steer(forward);
        self.attempt();
        if end {
            self.start_timeout();
        }
    }

    fn mutate_request(&mut self, found: Found) {
        let mut headers = std::mem::take(&mut self.request);
        let client = Rc::clone(&self.client);
        let mutations = mutations(&client, found, |levels| &levels.request);
        self.apply_to_request(mutations.into_iter(), &mut headers);
        self.request = headers;
    }

    pub(super) fn apply_to_request<'m>(
        &self,
        mutations: impl Iterator<Item = &'m Mutation>,
        headers: &mut Headers,
    ) {
        apply(mutations, headers, |template, headers| {
            let view = View {
                request: Some(headers),
                ..self.view()
            };
            text(template, &view, "")
        });
    }

    /// Applies what the route adds to responses and removes from them.
    pub(super) fn mutate_response(&self, headers: &mut Headers, status: u16) {
        let Some(found) = self.route else { return };
        let mutations = mutations(&self.client, found, |levels| &levels.response);
        self.apply_to_response(mutations.into_iter(), headers, status);
    }

    pub(super) fn apply_to_response<'m>(
        &self,
        mutations: impl Iterator<Item = &'m Mutation>,
        headers: &mut Headers,
        status: u16,
    ) {
        apply(mutations, headers, |template, headers| {
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

/// Base64 with padding, as Envoy writes it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = (bits >> (18 - 6 * place) & 63) as usize;
            out.push(if place <= group.len() {
                char::from(LETTERS[letter])
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses_are_written_in_base64() {
        assert_eq!(super::base64(b"127.0.0.1:21051"), "MTI3LjAuMC4xOjIxMDUx");
        assert_eq!(super::base64(b"a"), "YQ==");
        assert_eq!(super::base64(b"ab"), "YWI=");
    }
}
