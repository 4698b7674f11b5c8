//! The filter towards the host: callbacks into the core, decisions into hostcalls.

mod call;
mod gate;
mod remote;

use std::rc::Rc;

use filter_shell::log;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use gate::Gate;

/// Milliseconds between looks at what other workers have fetched, and at requests that wait.
const TICK_MILLIS: u32 = 50;

/// Registers the filter with the dispatcher.
pub fn start() {
    filter_shell::start();
    proxy_wasm::set_root_context(|id| Box::new(Root { id, gate: None }));
}

/// A plugin in this VM.
struct Root {
    id: u32,
    gate: Option<Rc<Gate>>,
}

/// A request on its way.
struct Stream {
    id: u32,
    /// None if the plugin refused its configuration; no host starts a stream then.
    gate: Option<Rc<Gate>>,
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if let Some(gate) = &self.gate {
            gate.on_answer(token, headers, body, None);
            gate.wake(self.id);
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        match Gate::configure(TICK_MILLIS) {
            Ok(gate) => {
                self.gate = Some(Rc::new(gate));
                true
            }
            Err(message) => {
                log::error(&message);
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(gate) = &self.gate {
            gate.on_tick();
            gate.wake(self.id);
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let gate = self.gate.clone();
        Some(Box::new(Stream { id, gate }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if let Some(gate) = &self.gate {
            gate.on_answer(token, headers, body, Some(self.id));
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match &self.gate {
            Some(gate) if !gate.on_request(self.id) => Action::Pause,
            _ => Action::Continue,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(gate) = &self.gate {
            gate.forget(self.id);
        }
    }
}
