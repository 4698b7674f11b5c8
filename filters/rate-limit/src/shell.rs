//! The filter towards the host: callbacks into the core, decisions into hostcalls.

mod asking;
mod limiter;
mod table;

use std::rc::Rc;

use filter_core::time::{Span, Timestamp};
use filter_shell::host::{self, HeaderMap};
use filter_shell::log;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use self::asking::Asking;
use self::limiter::{Decided, Limiter};
use crate::decision::{Decision, Field, Verdict};
use crate::dues::Dues;
use crate::usage::Scanner;

/// Filter state of a stream that was not plainly allowed: `%FILTER_STATE(wasm.…:PLAIN)%`.
const LOG_PROPERTY: &str = "rate_limit_decision";

/// Registers the filter with the dispatcher.
pub fn start() {
    filter_shell::start();
    proxy_wasm::set_root_context(|_| Box::new(Root { limiter: None }));
}

/// A plugin in this VM.
struct Root {
    limiter: Option<Rc<Limiter>>,
}

/// A request on its way.
struct Stream {
    /// None if the plugin refused its configuration; no host starts a stream then.
    limiter: Option<Rc<Limiter>>,
    id: u32,
    /// To be added to the response; none to one that the filter made itself.
    fields: Vec<Field>,
    dues: Dues,
    /// The response's headers as the host handed them over, if a due is about them.
    response: Vec<u8>,
    /// What looks for numbers in the response's body, each for a rule.
    scanners: Vec<(usize, Scanner)>,
    /// What it waits for, if it is held for a service's answer.
    asking: Option<Box<Asking>>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        match Limiter::configure() {
            Ok(limiter) => {
                self.limiter = Some(Rc::new(limiter));
                true
            }
            Err(message) => {
                log::error(&message);
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(limiter) = &self.limiter {
            limiter.resume();
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            limiter: self.limiter.clone(),
            id,
            fields: Vec::new(),
            dues: Dues::default(),
            response: Vec::new(),
            scanners: Vec::new(),
            asking: None,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        let answered = |asking: &Asking| asking.is_call(token);
        if self.asking.as_deref().is_some_and(answered) {
            self.answered(asking::http_answer(headers, body).as_deref());
        }
    }

    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        let answered = |asking: &Asking| asking.is_call(token);
        if self.asking.as_deref().is_some_and(answered) {
            self.answered(asking::grpc_answer(status, size).as_deref());
        }
    }
}

impl Stream {
    /// Carries a decision out. What is left to do is let the request go on, or not.
    fn carry_out(&mut self, limiter: &Limiter, decision: Decision, now: Timestamp) -> Action {
        for count in decision.counts {
            limiter.counters.add_one(count.index());
        }
        if let Some(value) = decision.log {
            let _ = host::set_property(LOG_PROPERTY, &value);
        }
        match decision.verdict {
            Verdict::Allow(fields) => {
                self.scanners = decision.dues.scanners(limiter.policy.config());
                self.dues = decision.dues;
                self.fields = fields;
                if decision.hold > Span::ZERO {
                    limiter.held.add(self.id, now.after(decision.hold));
                    return Action::Pause;
                }
                Action::Continue
            }
            Verdict::Deny(reply) => {
                if let Err(status) = host::send_reply(&reply) {
                    limiter.complain(status);
                }
                Action::Pause
            }
        }
    }

    /// Goes on with what came of a call to the service.
    fn answered(&mut self, answer: Option<&[u8]>) {
        let (Some(limiter), Some(mut asking)) = (self.limiter.clone(), self.asking.take()) else {
            return;
        };
        if asking.answered(&limiter, answer) {
            self.asking = Some(asking);
            return;
        }
        let (decision, now) = asking.end(&limiter);
        if self.carry_out(&limiter, decision, now) == Action::Continue
            && let Err(status) = host::continue_request()
        {
            limiter.complain(status);
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(limiter) = self.limiter.clone() else {
            return Action::Continue;
        };
        let Decided {
            decision,
            now,
            asking,
        } = limiter.decide();
        let Some((fetched, flight)) = asking else {
            return self.carry_out(&limiter, decision, now);
        };
        let mut asking = Asking::new(fetched, decision, now, flight);
        if asking.begins(&limiter) {
            self.asking = Some(Box::new(asking));
            return Action::Pause;
        }
        let (decision, now) = asking.end(&limiter);
        self.carry_out(&limiter, decision, now)
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(limiter) = &self.limiter
            && self.dues.ask_headers(limiter.policy.config())
        {
            match host::header_pairs(HeaderMap::Response) {
                Ok(headers) => self.response = headers,
                Err(status) => limiter.complain(status),
            }
        }
        for Field {
            name,
            value,
            is_list,
        } in self.fields.drain(..)
        {
            let put = if is_list {
                host::add_header
            } else {
                host::replace_header
            };
            // The response is better without it than none at all.
            let _ = put(HeaderMap::Response, &name, &value);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _: bool) -> Action {
        if !self.scanners.is_empty() && size > 0 {
            match host::response_body(size) {
                Ok(chunk) => {
                    let scanners = self.scanners.iter_mut();
                    scanners.for_each(|(_, scanner)| scanner.read(&chunk));
                }
                Err(status) => self
                    .limiter
                    .iter()
                    .for_each(|limiter| limiter.complain(status)),
            }
        }
        Action::Continue
    }
}

/// The end of a request, whatever it was: the dispatcher drops the stream in `on_delete`. A callback
/// of its own (`on_log`) would cost requests that have nothing to settle.
impl Drop for Stream {
    fn drop(&mut self) {
        let Some(limiter) = &self.limiter else { return };
        // It may have ended while it was held.
        limiter.held.remove(self.id);
        if let Some(asking) = self.asking.take() {
            // It ended before the answer came.
            self.dues = asking.into_dues();
        }
        if self.dues.is_empty() {
            return;
        }
        let dues = std::mem::take(&mut self.dues);
        let scanners = std::mem::take(&mut self.scanners).into_iter();
        let found: Vec<_> = scanners
            .filter_map(|(rule, scanner)| Some((rule, scanner.total()?)))
            .collect();
        limiter.settle(dues, &self.response, &found);
    }
}
