//! The filter towards the host: callbacks into the core, decisions into hostcalls.

mod chooser;
mod learning;
mod metrics;
mod state;
mod tasks;

use std::rc::Rc;

use filter_core::time::Timestamp;
use filter_shell::host::{self, HeaderMap};
use filter_shell::log;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use self::chooser::Chooser;
use crate::config::Steer;
use crate::decision::{Count, Decision, Verdict};
use crate::key::json::Scanner;
use crate::key::{BodyKeys, Found, settled};
use crate::outcome::is_slow;
use crate::policy::{Head, Known};
use placement::hosts::HostId;

/// Filter state of a stream that didn't go to its key's own host: `%FILTER_STATE(wasm.…:PLAIN)%`.
const LOG_PROPERTY: &str = "consistent_hash_choice";

/// Registers the filter with the dispatcher.
pub fn start() {
    filter_shell::start();
    proxy_wasm::set_root_context(|_| Box::new(Root { chooser: None }));
}

/// A plugin in this VM.
struct Root {
    chooser: Option<Rc<Chooser>>,
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if let Some(chooser) = &self.chooser {
            chooser.answered(token, headers, body);
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        match Chooser::configure() {
            Ok(chooser) => {
                self.chooser = Some(Rc::new(chooser));
                true
            }
            Err(message) => {
                log::error(&message);
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(chooser) = &self.chooser {
            chooser.tick();
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            chooser: self.chooser.clone(),
            body: None,
            named: None,
            counted: None,
            started: None,
            is_slow: false,
            explanation: None,
            cookie: None,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// A request on its way.
struct Stream {
    /// None if the plugin refused its configuration; no host starts a stream then.
    chooser: Option<Rc<Chooser>>,
    /// What is read of the body, while the key is looked for in it.
    body: Option<Box<Body>>,
    /// The hosts that the gateway will try, if something is to be learned of them.
    named: Option<Vec<HostId>>,
    /// The host that it counts for as long as it lasts.
    counted: Option<HostId>,
    /// When it went on, if answers can be slow.
    started: Option<Timestamp>,
    is_slow: bool,
    /// Values of headers to be added to the response.
    explanation: Option<String>,
    cookie: Option<String>,
}

/// A body that is read for a key.
struct Body {
    head: Head,
    keys: BodyKeys,
    scanners: Vec<Scanner>,
    /// Bytes read.
    read: usize,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let Some(chooser) = self.chooser.clone() else {
            return Action::Continue;
        };
        if let Some(known) = chooser.know_by_header() {
            return self.go_on(&chooser, &known, 0);
        }
        let mut head = chooser.head(!end_of_stream);
        match std::mem::replace(&mut head.found, Found::Missing) {
            Found::Key(key) => self.find(&chooser, &head, Some(key)),
            Found::Missing => self.find(&chooser, &head, None),
            Found::InBody(keys) => {
                self.body = Some(Box::new(Body {
                    scanners: keys.scan(),
                    head,
                    keys,
                    read: 0,
                }));
                Action::Pause
            }
        }
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let (Some(chooser), Some(body)) = (self.chooser.clone(), &mut self.body) else {
            return Action::Continue;
        };
        let limit = chooser.policy.config().body_limit;
        let end = size.min(limit);
        if end > body.read {
            // What came before is in the buffer still.
            match host::request_body(body.read, end.saturating_sub(body.read)) {
                Ok(piece) => {
                    let scanners = body.scanners.iter_mut();
                    scanners.for_each(|scanner| {
                        scanner.read(&piece);
                    });
                    body.read = body.read.saturating_add(piece.len());
                }
                Err(status) => {
                    chooser.check(Err(status));
                    return self.end_body(&chooser);
                }
            }
        }
        if settled(&body.scanners).is_some() || end_of_stream || size >= limit {
            return self.end_body(&chooser);
        }
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        match self.chooser.clone() {
            Some(chooser) => self.end_body(&chooser),
            None => Action::Continue,
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(chooser) = &self.chooser else {
            return Action::Continue;
        };
        let config = chooser.policy.config();
        if let Some(started) = self.started
            && let Ok(now) = host::monotonic_now()
        {
            self.is_slow = is_slow(Some(now.since(started)), config.health.slow);
        }
        // The response is better without these than none at all.
        if let Some(value) = self.explanation.take()
            && let Some(explain) = &config.explain
        {
            let _ = host::replace_header(HeaderMap::Response, &explain.header, &value);
        }
        if let Some(cookie) = self.cookie.take() {
            let _ = host::add_header(HeaderMap::Response, "set-cookie", &cookie);
        }
        if let Steer::StatefulSession { header } = &config.steer {
            // Envoy's filter tells clients the address of the host.
            let _ = host::remove_header(HeaderMap::Response, header);
        }
        Action::Continue
    }
}

/// The end of a stream, in `on_delete`: it comes whatever the end, and the stream has to be freed anyway.
/// `on_log` would be another call into the VM for each request.
impl Drop for Stream {
    fn drop(&mut self) {
        let Some(chooser) = &self.chooser else { return };
        if let Some(host) = self.counted {
            chooser.release(host);
        }
        if let Some(named) = self.named.as_deref().filter(|named| !named.is_empty()) {
            chooser.ended(named, self.is_slow);
        }
    }
}

impl Stream {
    /// Takes what the body had.
    fn end_body(&mut self, chooser: &Chooser) -> Action {
        let Some(mut body) = self.body.take() else {
            return Action::Continue;
        };
        body.scanners.iter_mut().for_each(|scanner| {
            scanner.end();
        });
        let found = settled(&body.scanners).flatten().map(<[u8]>::to_vec);
        let keys = &chooser.policy.config().keys;
        let key = found.and_then(|value| keys.normalize(value));
        self.find(chooser, &body.head, key.or(body.keys.otherwise))
    }

    /// Goes on, now that the key is found or found to be missing.
    fn find(&mut self, chooser: &Chooser, head: &Head, key: Option<Vec<u8>>) -> Action {
        let (known, seconds) = chooser.know(head, key);
        self.go_on(chooser, &known, seconds)
    }

    fn go_on(&mut self, chooser: &Chooser, known: &Known, seconds: u64) -> Action {
        let decision = chooser.decide(known, seconds, &mut self.counted);
        self.carry_out(chooser, known, decision)
    }

    fn carry_out(&mut self, chooser: &Chooser, known: &Known, decision: Decision<'_>) -> Action {
        if let Some(value) = &decision.log {
            let _ = host::set_property(LOG_PROPERTY, value);
        }
        if let Some((place, reason)) = decision.count {
            chooser.count_request(place, reason);
        }
        if decision.cookie.is_some() {
            chooser.count(Count::Session);
        }
        let done = match &decision.verdict {
            Verdict::Header { name, value } => {
                host::replace_header_bytes(HeaderMap::Request, name, value)
            }
            Verdict::FilterState(value) => state::set(value),
            Verdict::Unsteered { name: Some(name) } => {
                host::remove_header(HeaderMap::Request, name)
            }
            Verdict::Unsteered { name: None } => Ok(()),
            Verdict::Refuse(reply) => {
                chooser.check(host::send_reply(reply));
                return Action::Pause;
            }
        };
        chooser.check(done);
        let config = chooser.policy.config();
        if known.explain
            && let Some(name) = config
                .explain
                .as_ref()
                .and_then(|explain| explain.request_header.as_deref())
        {
            let _ = host::remove_header(HeaderMap::Request, name);
        }
        if config.health.slow.is_some() {
            self.started = host::monotonic_now().ok();
        }
        self.named = decision.hosts;
        self.explanation = decision.explanation;
        self.cookie = decision.cookie;
        Action::Continue
    }
}
