//! The upstream's part of an exchange: its response goes into the chain, and from there to the client.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Body;

use super::super::filters::Step;
use super::super::head::{self, response_head};
use super::super::reply::Reply;
use super::super::upstream::Answer;
use super::{Exchange, HOLD_LIMIT, Part, Upstream};
use crate::headers::Headers;

impl Exchange {
    pub(super) fn poll_upstream(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.upstream {
            Upstream::Idle => false,
            Upstream::Asked(asked) => match asked.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(Ok(answer)) => {
                    self.answer(answer);
                    true
                }
                Poll::Ready(Err(cause)) => {
                    self.fail(&cause);
                    true
                }
            },
            Upstream::Answering(..) => self.poll_response(cx),
        }
    }

    /// Reads on from the upstream, unless a plugin holds enough already.
    fn poll_response(&mut self, cx: &mut Context<'_>) -> bool {
        if self.response_held > HOLD_LIMIT && self.is_held(true) {
            return false;
        }
        let Upstream::Answering(body, _) = &mut self.upstream else {
            return false;
        };
        let frame = match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => return false,
            Poll::Ready(frame) => frame,
        };
        let mut over = body.is_end_stream();
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.response_held += data.len();
                    self.feed_response(data, false);
                }
                Err(frame) if self.takes_trailers() => {
                    let map = frame.into_trailers().unwrap_or_default();
                    self.end_upstream();
                    self.feed_response_trailers(head::trailers(&map));
                    return true;
                }
                Err(_) => {}
            },
            Some(Err(error)) => {
                self.break_off(&error);
                return true;
            }
            None => over = true,
        }
        if over {
            self.end_upstream();
            self.feed_response(Bytes::new(), true);
        }
        true
    }

    fn feed_response(&self, data: Bytes, end: bool) {
        match self.chain() {
            Some((stream, filters)) => {
                filters.feed(|worker| worker.response_body(stream, data, end));
            }
            None => self.mailbox.put(Step::ResponseBody(data, end)),
        }
    }

    fn feed_response_trailers(&self, trailers: Headers) {
        match self.chain() {
            Some((stream, filters)) => {
                filters.feed(|worker| worker.response_trailers(stream, trailers));
            }
            None => self.mailbox.put(Step::ResponseTrailers(trailers)),
        }
    }

    /// Whether trailers of the upstream count.
    fn takes_trailers(&self) -> bool {
        let clusters = &self.client.local.config.bootstrap.clusters;
        self.record.cluster.is_some_and(|cluster| {
            let protocol = &clusters[cluster].protocol;
            protocol.http2 || protocol.trailers
        })
    }

    /// The upstream's head has come.
    fn answer(&mut self, answer: Answer) {
        let Answer { response, lease } = answer;
        let (parts, body) = response.into_parts();
        self.record.response_start = Some(Instant::now());
        let status = parts.status.as_u16();
        self.judge(status);
        let mut headers = response_head(&parts);
        if self.try_again(|retries| retries.wants_status(status, &headers)) {
            return;
        }
        self.settle_attempts();
        if let Some(cluster) = self.record.cluster {
            self.client.local.stats.clusters[cluster].responded(status);
        }
        let service_time = self.record.service_time().as_millis().to_string();
        headers.set("x-envoy-upstream-service-time", service_time);
        if let Some(sending) = &self.sending {
            let clusters = &self.client.local.config.bootstrap.clusters;
            let filters = &clusters[sending.cluster].protocol.filters;
            if !filters.is_empty() {
                let mutations = filters.iter().flat_map(|filter| &filter.response);
                self.apply_to_response(mutations, &mut headers, status);
            }
            if let Some(cookie) = &sending.cookie {
                headers.append("set-cookie", &cookie.set_cookie);
            }
        }
        self.passed_back = true;
        self.pass_natives_back(false, &mut headers, status);
        let end = body.is_end_stream();
        let address = self.record.upstream;
        self.upstream = Upstream::Answering(body, lease);
        if end {
            self.end_upstream();
        }
        match self.chain() {
            Some((stream, filters)) => filters.feed(|worker| {
                if let Some(address) = address {
                    worker.update_info(stream, |info| {
                        info.upstream_address = address.to_string().into()
                    });
                }
                worker.response_headers(stream, headers, end);
            }),
            None => {
                self.record.details = Some("via_upstream".to_owned());
                self.mailbox.put(Step::ResponseHeaders(headers, end));
            }
        }
    }

    /// The upstream's response has been read to its end.
    fn end_upstream(&mut self) {
        self.timeout = None;
        let upstream = std::mem::replace(&mut self.upstream, Upstream::Idle);
        // A connection whose request wasn't written to its end can't carry another.
        if let Upstream::Answering(_, lease) = upstream
            && self.request_sent
        {
            lease.give_back();
        }
    }

    /// A response head left the chain.
    pub(super) fn respond(&mut self, mut headers: Headers, end: bool) {
        let status = match head::status(&headers) {
            Ok(status) => status,
            Err(unsendable) => {
                self.cancel_upstream();
                // The chain has given its answer: this one goes past it.
                self.past_chain = true;
                self.reply(&Reply::unsendable_response(&unsendable));
                return;
            }
        };
        if !self.passed_back {
            self.pass_natives_back(false, &mut headers, status.as_u16());
        }
        self.pass_natives_back(true, &mut headers, status.as_u16());
        self.mutate_response(&mut headers, status.as_u16());
        headers.set("server", &self.client.listener().manager.server_name);
        self.record.status = Some(status.as_u16());
        self.client.http_stats().responded(status.as_u16());
        if self.client.logs() {
            self.response = headers.clone();
        }
        if let Some(tape) = &mut self.tape {
            tape.response_head(&headers);
        }
        self.out.push_back(Part::Head(status, headers, end));
    }
}
