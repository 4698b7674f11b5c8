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
use crate::decision::{Decision, Verdict};
use crate::dues::Dues;
use crate::fields::Fields;
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
    fields: Fields,
    rest: Option<Box<Rest>>,
}

/// What few requests have.
#[derive(Default)]
struct Rest {
    /// Whether it was held until its units have come back.
    held: bool,
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
            fields: Fields::default(),
            rest: None,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if self.waits_for(token) {
            self.answered(asking::http_answer(headers, body).as_deref());
        }
    }

    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        if self.waits_for(token) {
            self.answered(asking::grpc_answer(status, size).as_deref());
        }
    }
}

impl Stream {
    /// Carries a decision out. What is left to do is let the request go on, or not.
    fn carry_out(&mut self, limiter: &Limiter, decision: &mut Decision, now: Timestamp) -> Action {
        for count in decision.counts.iter() {
            limiter.counters.add_one(count.index());
        }
        if let Some(value) = &decision.log {
            let _ = host::set_property(LOG_PROPERTY, value);
        }
        match &mut decision.verdict {
            Verdict::Allow(fields) => {
                if !decision.dues.is_empty() {
                    let rest = self.rest.get_or_insert_default();
                    rest.scanners = decision.dues.scanners(limiter.policy.config());
                    rest.dues = std::mem::take(&mut decision.dues);
                }
                self.fields = std::mem::take(fields);
                if decision.hold > Span::ZERO {
                    self.rest.get_or_insert_default().held = true;
                    limiter.held.add(self.id, now.after(decision.hold));
                    return Action::Pause;
                }
                Action::Continue
            }
            Verdict::Deny(reply) => {
                if let Err(status) = host::send_reply(reply) {
                    limiter.complain(status);
                }
                Action::Pause
            }
        }
    }

    /// Whether that is the call that the request is held for.
    fn waits_for(&self, token: u32) -> bool {
        let asking = self.rest.as_ref().and_then(|rest| rest.asking.as_ref());
        asking.is_some_and(|asking| asking.is_call(token))
    }

    /// Goes on with what came of a call to the service.
    fn answered(&mut self, answer: Option<&[u8]>) {
        let asking = self.rest.as_mut().and_then(|rest| rest.asking.take());
        let (Some(limiter), Some(mut asking)) = (self.limiter.clone(), asking) else {
            return;
        };
        if asking.answered(&limiter, answer) {
            self.wait_for(asking);
            return;
        }
        let (mut decision, now) = asking.end(&limiter);
        if self.carry_out(&limiter, &mut decision, now) == Action::Continue
            && let Err(status) = host::continue_request()
        {
            limiter.complain(status);
        }
    }

    fn wait_for(&mut self, asking: Box<Asking>) {
        self.rest.get_or_insert_default().asking = Some(asking);
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(limiter) = self.limiter.clone() else {
            return Action::Continue;
        };
        let (mut decision, now) = match limiter.decide() {
            Decided::Plain(decision, now) => (decision, now),
            Decided::Asking(mut asking) => {
                if asking.begins(&limiter) {
                    self.wait_for(asking);
                    return Action::Pause;
                }
                asking.end(&limiter)
            }
        };
        self.carry_out(&limiter, &mut decision, now)
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if let (Some(rest), Some(limiter)) = (&mut self.rest, &self.limiter)
            && rest.dues.ask_headers(limiter.policy.config())
        {
            match host::header_pairs(HeaderMap::Response) {
                Ok(headers) => rest.response = headers,
                Err(status) => limiter.complain(status),
            }
        }
        if self.fields.is_empty() {
            return Action::Continue;
        }
        std::mem::take(&mut self.fields).each(|name, value, is_list| {
            let put = if is_list {
                host::add_header_bytes
            } else {
                host::replace_header_bytes
            };
            // The response is better without it than none at all.
            let _ = put(HeaderMap::Response, name, value);
        });
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _: bool) -> Action {
        if let (Some(rest), Some(limiter)) = (&mut self.rest, &self.limiter)
            && !rest.scanners.is_empty()
            && size > 0
        {
            match host::response_body(size) {
                Ok(chunk) => {
                    let scanners = rest.scanners.iter_mut();
                    scanners.for_each(|(_, scanner)| scanner.read(&chunk));
                }
                Err(status) => limiter.complain(status),
            }
        }
        Action::Continue
    }
}

/// The end of a request, whatever it was: the dispatcher drops the stream in `on_delete`. A callback
/// of its own (`on_log`) would cost requests that have nothing to settle.
impl Drop for Stream {
    fn drop(&mut self) {
        let (Some(limiter), Some(rest)) = (&self.limiter, self.rest.take()) else {
            return;
        };
        if rest.held {
            // It may have ended while it was held.
            limiter.held.remove(self.id);
        }
        let dues = match rest.asking {
            // It ended before the answer came.
            Some(asking) => asking.into_dues(),
            None => rest.dues,
        };
        if dues.is_empty() {
            return;
        }
        let scanners = rest.scanners.into_iter();
        let found: Vec<_> = scanners
            .filter_map(|(rule, scanner)| Some((rule, scanner.total()?)))
            .collect();
        limiter.settle(dues, &rest.response, &found);
    }
}
