//! Callouts of plugins: requests to clusters, with the answers that Envoy gives for failures.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};

use super::body::UpstreamBody;
use super::format::{View, text};
use super::grpc;
use super::head::{response_head, trailers, upstream_request};
use super::local::Local;
use super::mutate::apply;
use super::reply::{TIMEOUT_BODY, failure_reply};
use super::steer::Steer;
use super::upstream::{Cause, send};
use crate::bootstrap::Cluster;
use crate::headers::Headers;
use crate::worker::{CalloutAnswer, CalloutId, Unreachable};

/// Larger responses count as broken off, as in Envoy.
const MAX_RESPONSE: usize = 32 << 20;

/// A request that a plugin wants sent.
pub(super) struct Callout {
    pub(super) id: CalloutId,
    pub(super) cluster: String,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
    /// None for no limit.
    pub(super) timeout: Option<Duration>,
}

/// A callout that a plugin has made.
pub(super) enum Wanted {
    /// By gRPC.
    Grpc(grpc::Call),
    Http(Callout),
    /// One by gRPC that has failed already.
    Unreachable(CalloutId, Unreachable),
}

/// Sends a callout and brings the answer to the plugin.
pub(super) async fn run(local: Rc<Local>, wanted: Wanted) {
    let callout = match wanted {
        Wanted::Grpc(call) => return grpc::run(local, call).await,
        Wanted::Unreachable(id, cause) => {
            if let Some(filters) = &local.filters {
                filters.feed(|worker| worker.grpc_unreachable(id, cause));
            }
            return;
        }
        Wanted::Http(callout) => callout,
    };
    let id = callout.id;
    let limit = callout.timeout;
    let work = exchange(&local, callout);
    let answer = match limit {
        None => work.await,
        Some(limit) => tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| reply(504, TIMEOUT_BODY)),
    };
    if let Some(filters) = &local.filters {
        filters.answer(id, answer);
    }
}

async fn exchange(local: &Rc<Local>, callout: Callout) -> CalloutAnswer {
    let Callout {
        cluster,
        mut headers,
        body,
        timeout,
        ..
    } = callout;
    let Some(cluster) = local.config.cluster(&cluster) else {
        // The engine refuses clusters that it wasn't told of.
        return reply(503, "no healthy upstream");
    };
    headers.set("x-envoy-internal", "true");
    if let Some(timeout) = timeout {
        let milliseconds = timeout.as_millis().to_string();
        headers.set("x-envoy-expected-rq-timeout-ms", milliseconds);
    }
    let end = body.is_empty();
    if !end {
        headers.set("content-length", body.len().to_string());
    }
    let body = if end {
        UpstreamBody::Empty
    } else {
        UpstreamBody::Full(body)
    };
    let endpoints = &local.clusters[cluster];
    let http2 = endpoints.group.cluster.protocol.http2;
    let mut steer = Steer::of_callout(&endpoints.group.cluster, &headers);
    pass_upstream_filters(&endpoints.group.cluster, &mut headers);
    let Ok(request) = upstream_request(&headers, end, body, http2) else {
        return reply(503, "");
    };
    let picked = local.pick(cluster, &mut steer);
    let sent = match &picked {
        Some(endpoint) => send(Rc::clone(endpoints), Rc::clone(endpoint), request).await,
        None => Err(Cause::NoHost),
    };
    let judge = |status: Option<u16>| {
        if let (Some(endpoint), Some(status)) = (&picked, status) {
            let roll = || local.random.next();
            endpoints.group.answered(&endpoint.host, status, roll);
        }
    };
    let answer = match sent {
        Ok(answer) => answer,
        Err(cause) => {
            let (status, body, ..) = failure_reply(&cause);
            judge(cause.status());
            local.stats.clusters[cluster].responded(status);
            return reply(status, &body);
        }
    };
    let (parts, body) = answer.response.into_parts();
    local.stats.clusters[cluster].responded(parts.status.as_u16());
    judge(Some(parts.status.as_u16()));
    match Limited::new(body, MAX_RESPONSE).collect().await {
        Ok(body) => {
            answer.lease.give_back();
            let trailers = body.trailers().map(trailers).unwrap_or_default();
            CalloutAnswer::Response {
                headers: response_head(&parts),
                body: body.to_bytes(),
                trailers,
            }
        }
        Err(_) => CalloutAnswer::Reset,
    }
}

/// Lets the request of a callout pass the cluster's own filters.
pub(super) fn pass_upstream_filters(cluster: &Cluster, headers: &mut Headers) {
    let filters = cluster.protocol.filters.iter();
    let mutations = filters.flat_map(|filter| &filter.request);
    apply(mutations, headers, |template, headers| {
        let view = View {
            request: Some(headers),
            cluster: &cluster.name,
            ..View::default()
        };
        text(template, &view, "")
    });
}

/// An answer that Envoy makes itself.
fn reply(status: u16, body: &str) -> CalloutAnswer {
    let mut headers = Headers::new();
    headers.append(":status", status.to_string());
    if !body.is_empty() {
        headers.append("content-length", body.len().to_string());
        headers.append("content-type", "text/plain");
    }
    CalloutAnswer::Response {
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
        trailers: Headers::new(),
    }
}
