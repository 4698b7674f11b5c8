//! Sending a request upstream, once or several times.

use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Sleep;

use super::super::body::{UpstreamBody, pipe};
use super::super::head::upstream_request;
use super::super::host::Held;
use super::super::reply::Reply;
use super::super::retry::{Retries, take};
use super::super::steer::{Hashed, NewCookie, Steer, hash};
use super::super::upstream::{Cause, send};
use super::{Exchange, Upstream};
use crate::bootstrap::{Balancing, Forward, RetryPolicy};
use crate::headers::Headers;

/// More of a request than this isn't kept for a retry; Envoy's default
/// `per_connection_buffer_limit_bytes`.
const REPLAY_LIMIT: usize = 1 << 20;

/// A request on its way upstream.
pub(super) struct Sending {
    pub(super) cluster: usize,
    /// It has no body.
    end: bool,
    /// From the end of the request to the end of the response; zero is without limit.
    pub(super) timeout: Duration,
    per_try: Duration,
    per_try_timer: Option<Pin<Box<Sleep>>>,
    retries: Option<Retries>,
    steer: Steer,
    /// What of the body has come; `None` if it isn't kept (any more).
    replay: Option<Replay>,
    attempts: u32,
    back_off: Option<Pin<Box<Sleep>>>,
    /// Stands for a retry among those of the cluster.
    held: Option<Held>,
    pub(super) cookie: Option<NewCookie>,
}

/// A request's body, kept for another attempt.
#[derive(Default)]
struct Replay {
    pieces: Vec<Bytes>,
    size: usize,
    ended: bool,
    trailers: Option<HeaderMap>,
}

impl Sending {
    pub(super) fn new(
        forward: &Forward,
        policy: Option<&RetryPolicy>,
        cluster: usize,
        end: bool,
        request: &mut Headers,
    ) -> Self {
        let mut milliseconds = |name| {
            let text = take(request, name)?;
            text.parse().ok().map(Duration::from_millis)
        };
        let timeout = milliseconds("x-envoy-upstream-rq-timeout-ms").unwrap_or(forward.timeout);
        let per_try = milliseconds("x-envoy-upstream-rq-per-try-timeout-ms");
        let retries = Retries::new(policy, request);
        let policy = retries.as_ref().map(Retries::policy);
        let per_try = per_try.or_else(|| policy.map(|policy| policy.per_try_timeout));
        Self {
            cluster,
            end,
            timeout,
            per_try: per_try
                .filter(|limit| timeout.is_zero() || *limit < timeout)
                .unwrap_or_default(),
            per_try_timer: None,
            steer: Steer {
                attempts: policy
                    .filter(|policy| policy.previous_hosts)
                    .map_or(0, |policy| policy.host_attempts),
                ..Steer::default()
            },
            replay: (retries.is_some() && !end).then(Replay::default),
            retries,
            attempts: 0,
            back_off: None,
            held: None,
            cookie: None,
        }
    }

    /// Keeps a piece of the body.
    pub(super) fn keep(&mut self, data: &Bytes) {
        let Some(replay) = &mut self.replay else {
            return;
        };
        replay.size += data.len();
        if replay.size > REPLAY_LIMIT {
            // No more retries: what is gone can't be sent again.
            self.replay = None;
            self.retries = None;
        } else if !data.is_empty() {
            replay.pieces.push(data.clone());
        }
    }

    /// Keeps the end of the body.
    pub(super) fn keep_end(&mut self, trailers: Option<&HeaderMap>) {
        if let Some(replay) = &mut self.replay {
            replay.ended = true;
            replay.trailers = trailers.cloned();
        }
    }
}

impl Exchange {
    /// Notes what of the request decides to which host it goes.
    pub(super) fn steer(&mut self, forward: &Forward) {
        let client = Rc::clone(&self.client);
        let Some(sending) = &mut self.sending else {
            return;
        };
        let cluster = &client.local.config.bootstrap.clusters[sending.cluster];
        let (stream, filters) = (self.stream, client.local.filters.as_ref());
        let state = |key: &str| filters?.filter_state(stream?, key);
        let steer = &mut sending.steer;
        steer.session.clone_from(&self.session);
        if !forward.hash.is_empty() {
            let from = Hashed {
                request: &self.request,
                client: self.record.remote,
            };
            let (hash, made) = hash(&forward.hash, &from, state, &client.local.random);
            steer.hash = hash;
            sending.cookie = made;
        }
        steer.read(cluster, &self.request, &self.metadata, state);
    }

    /// Sends the request, for the first time or again.
    pub(super) fn attempt(&mut self) {
        let client = Rc::clone(&self.client);
        let Some(mut sending) = self.sending.take() else {
            return;
        };
        let local = &client.local;
        let cluster = &local.clusters[sending.cluster];
        sending.attempts += 1;
        let picked = cluster.pick(&local.random, &mut sending.steer);
        let Some(endpoint) = picked else {
            cluster.stats.none_healthy.increment();
            self.sending = Some(sending);
            self.fail(&Cause::NoHost);
            return;
        };
        let address = endpoint.host.address;
        self.record.upstream = Some(address);
        if sending.steer.attempts > 0 {
            sending.steer.tried.push(address);
        }
        let config = &cluster.group.cluster;
        if let Balancing::OverrideHost(policy) = &config.balancing
            && let Some(key) = &policy.selected
        {
            self.metadata.set(key, endpoint.host.name.clone());
        }
        let routes = &client.listener().manager.routes;
        let counted = self
            .route
            .is_some_and(|found| found.of(routes).0.attempt_count);
        if counted {
            let attempts = sending.attempts.to_string();
            self.request.set("x-envoy-attempt-count", attempts);
        }
        let body = if sending.end {
            UpstreamBody::Empty
        } else {
            let (writer, reader) = pipe();
            match &sending.replay {
                Some(replay) if replay.ended => {
                    replay
                        .pieces
                        .iter()
                        .for_each(|piece| writer.push(piece.clone()));
                    match &replay.trailers {
                        Some(trailers) => writer.end_with(trailers.clone()),
                        None => writer.end(),
                    }
                }
                replay => {
                    let pieces = replay.iter().flat_map(|replay| &replay.pieces);
                    pieces.for_each(|piece| writer.push(piece.clone()));
                    self.upload = Some(writer);
                }
            }
            UpstreamBody::Piped(reader)
        };
        let complete = sending.end || sending.replay.as_ref().is_some_and(|replay| replay.ended);
        let request = if config.protocol.filters.is_empty() {
            upstream_request(&self.request, sending.end, body, config.protocol.http2)
        } else {
            let mut headers = self.request.clone();
            let filters = config.protocol.filters.iter();
            let mutations = filters.flat_map(|filter| &filter.request);
            self.apply_to_request(mutations, &mut headers);
            upstream_request(&headers, sending.end, body, config.protocol.http2)
        };
        match request {
            Ok(request) => {
                let cluster = Rc::clone(cluster);
                self.endpoint = Some(Rc::clone(&endpoint));
                self.upstream = Upstream::Asked(Box::pin(send(cluster, endpoint, request)));
                if complete && !sending.per_try.is_zero() {
                    sending.per_try_timer = Some(Box::pin(tokio::time::sleep(sending.per_try)));
                }
                self.sending = Some(sending);
            }
            Err(unsendable) => {
                self.upload = None;
                self.reply(&Reply::unsendable_request(&unsendable));
            }
        }
    }

    /// Tells what the host's answer, or what counts as one, says of the host.
    pub(super) fn judge(&self, status: u16) {
        if let (Some(sending), Some(endpoint)) = (&self.sending, &self.endpoint) {
            let local = &self.client.local;
            let group = &local.clusters[sending.cluster].group;
            group.answered(&endpoint.host, status, || local.random.next());
        }
    }

    /// Begins another attempt if one is `wanted` and left; the flag that says that none is left is
    /// noted.
    pub(super) fn try_again(&mut self, wanted: impl FnOnce(&Retries) -> bool) -> bool {
        let client = Rc::clone(&self.client);
        let Some(sending) = &mut self.sending else {
            return false;
        };
        let Some(retries) = sending.retries.as_mut().filter(|retries| wanted(retries)) else {
            return false;
        };
        let cluster = &client.local.clusters[sending.cluster];
        if !retries.take() {
            cluster.stats.retries_exceeded.increment();
            self.add_flag("URX");
            return false;
        }
        let limit = cluster.group.cluster.limits.retries;
        sending.held = None;
        let held = cluster.group.hold(|usage| &usage.retries, limit);
        if held.is_none() {
            cluster.stats.retries_overflow.increment();
            return false;
        }
        cluster.stats.retries.increment();
        sending.held = held;
        sending.per_try_timer = None;
        let wait = retries.back_off(&client.local.random);
        sending.back_off = Some(Box::pin(tokio::time::sleep(wait)));
        self.upload = None;
        self.upstream = Upstream::Idle;
        true
    }

    /// Begins the attempt that was waited for.
    pub(super) fn poll_back_off(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(timer) = self.sending.as_mut().and_then(|s| s.back_off.as_mut()) else {
            return false;
        };
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        if let Some(sending) = &mut self.sending {
            sending.back_off = None;
        }
        self.attempt();
        true
    }

    /// Looks whether an attempt takes too long.
    pub(super) fn poll_per_try(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(timer) = self.sending.as_mut().and_then(|s| s.per_try_timer.as_mut()) else {
            return false;
        };
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        if let Some(sending) = &mut self.sending {
            sending.per_try_timer = None;
            let stats = &self.client.local.clusters[sending.cluster].stats;
            stats.per_try_timeouts.increment();
        }
        if !matches!(self.upstream, Upstream::Asked(_)) {
            // The response has begun: only the time-out of the route counts.
            return true;
        }
        self.judge(504);
        if !self.try_again(Retries::wants_after_timeout) {
            self.cancel_upstream();
            self.reply(&Reply::per_try_timeout());
        }
        true
    }

    /// An attempt's request is complete: its own time-out begins.
    pub(super) fn start_per_try(&mut self) {
        if let Some(sending) = &mut self.sending
            && !sending.per_try.is_zero()
            && matches!(self.upstream, Upstream::Asked(_))
        {
            sending.per_try_timer = Some(Box::pin(tokio::time::sleep(sending.per_try)));
        }
    }

    /// The head of a response has come: no more attempts.
    pub(super) fn settle_attempts(&mut self) {
        if let Some(sending) = &mut self.sending {
            let stats = &self.client.local.clusters[sending.cluster].stats;
            if sending.retries.as_ref().is_some_and(Retries::is_retry) {
                stats.retries_succeeded.increment();
            }
            sending.per_try_timer = None;
            sending.replay = None;
            sending.retries = None;
            sending.held = None;
        }
    }

    /// Whether an attempt is waited for.
    pub(super) fn waits(&self) -> bool {
        self.sending.as_ref().is_some_and(|s| s.back_off.is_some())
    }

    /// Notes a flag beside those that are noted.
    pub(super) fn add_flag(&mut self, flag: &str) {
        let flags = self.record.flags.to_mut();
        if !flags.is_empty() {
            flags.push(',');
        }
        flags.push_str(flag);
    }
}
