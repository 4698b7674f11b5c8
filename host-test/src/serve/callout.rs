//! Callouts of plugins: requests to clusters, with the answers that Envoy gives for failures.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};

use super::body::UpstreamBody;
use super::head::{response_head, upstream_request};
use super::local::Local;
use super::reply::{TIMEOUT_BODY, failure_reply};
use super::upstream::{Cause, send};
use crate::headers::Headers;
use crate::worker::{CalloutAnswer, CalloutId, LogLine};

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
    /// By gRPC, to this cluster.
    Grpc(CalloutId, String),
    Http(Callout),
}

/// The gRPC status "unavailable".
const UNAVAILABLE: u32 = 14;

/// Sends a callout and brings the answer to the plugin.
pub(super) async fn run(local: Rc<Local>, wanted: Wanted) {
    let callout = match wanted {
        Wanted::Grpc(id, cluster) => return refuse(&local, id, &cluster),
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

/// Upstreams speak HTTP/1.1 here, which gRPC can't.
fn refuse(local: &Local, id: CalloutId, cluster: &str) {
    let message = format!("host-test serve makes no gRPC callouts; the one to {cluster:?} failed");
    (local.config.environment.log)(LogLine {
        level: log::Level::Warn,
        plugin: String::new(),
        message: message.clone(),
    });
    if let Some(filters) = &local.filters {
        filters.feed(|worker| worker.grpc_close(id, UNAVAILABLE, &message));
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
    let clusters = &local.config.bootstrap.clusters;
    let Some(cluster) = clusters.iter().position(|c| c.name == cluster) else {
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
    let Ok(request) = upstream_request(&headers, end, body) else {
        return reply(503, "");
    };
    let sent = match local.pick(cluster) {
        Some(endpoint) => send(Rc::clone(local), cluster, endpoint, request).await,
        None => Err(Cause::NoHost),
    };
    let answer = match sent {
        Ok(answer) => answer,
        Err(cause) => {
            let (status, body, ..) = failure_reply(&cause);
            local.stats.clusters[cluster].responded(status);
            return reply(status, &body);
        }
    };
    let (parts, body) = answer.response.into_parts();
    local.stats.clusters[cluster].responded(parts.status.as_u16());
    match Limited::new(body, MAX_RESPONSE).collect().await {
        Ok(body) => {
            answer.lease.give_back();
            CalloutAnswer::Response {
                headers: response_head(&parts),
                body: body.to_bytes(),
                trailers: Headers::new(),
            }
        }
        Err(_) => CalloutAnswer::Reset,
    }
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
