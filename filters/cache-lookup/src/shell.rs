//! The filter towards the host: callbacks into the core, decisions into hostcalls.

mod arrival;
mod background;
mod cache;
mod changes;
mod fleet;
mod purges;
pub mod remote;
mod reply;
mod requests;
mod state;
pub mod store;

use std::cell::RefCell;
use std::rc::Rc;

use filter_shell::log;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use self::cache::{Cache, Step};
use self::state::State;

/// Milliseconds between looks at requests that wait too long, and at what is to be fetched in the
/// background.
const TICK_MILLIS: u32 = 50;

/// Registers the filter with the dispatcher.
pub fn start() {
    filter_shell::start();
    proxy_wasm::set_root_context(|id| Box::new(Root { id, cache: None }));
}

/// A plugin in this VM.
struct Root {
    id: u32,
    cache: Option<Rc<Cache>>,
}

/// A request on its way.
struct Stream {
    id: u32,
    /// None if the plugin refused its configuration; no host starts a stream then.
    cache: Option<Rc<Cache>>,
    state: Rc<RefCell<State>>,
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if let Some(cache) = &self.cache {
            cache.on_answer(token, headers, body);
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        match Cache::configure() {
            Ok(cache) => {
                self.cache = Some(Rc::new(cache));
                true
            }
            Err(message) => {
                log::error(&message);
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(cache) = &self.cache {
            cache.on_tick(self.id);
        }
    }

    fn on_queue_ready(&mut self, _: u32) {
        if let Some(cache) = &self.cache {
            cache.wake(self.id);
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            id,
            cache: self.cache.clone(),
            state: Rc::default(),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if let Some(cache) = &self.cache {
            cache.on_answer(token, headers, body);
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, is_last: bool) -> Action {
        let Some(cache) = &self.cache else {
            return Action::Continue;
        };
        match cache.on_request(self.id, &self.state, !is_last) {
            Step::Continue => Action::Continue,
            Step::Hold | Step::Answered => Action::Pause,
        }
    }

    fn on_http_request_body(&mut self, size: usize, is_last: bool) -> Action {
        let Some(cache) = &self.cache else {
            return Action::Continue;
        };
        match cache.on_request_body(self.id, &self.state, size, is_last) {
            Step::Continue => Action::Continue,
            Step::Hold | Step::Answered => Action::Pause,
        }
    }

    fn on_http_response_headers(&mut self, _: usize, is_last: bool) -> Action {
        let Some(cache) = &self.cache else {
            return Action::Continue;
        };
        let Ok(mut state) = self.state.try_borrow_mut() else {
            return Action::Continue;
        };
        match cache.on_response(&mut state, is_last) {
            Step::Continue => Action::Continue,
            Step::Hold | Step::Answered => Action::Pause,
        }
    }

    fn on_http_response_body(&mut self, size: usize, is_last: bool) -> Action {
        if let Some(cache) = &self.cache
            && let Ok(mut state) = self.state.try_borrow_mut()
        {
            cache.on_response_body(&mut state, size, is_last);
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        // Trailers can't be sent from the store: such a response isn't kept.
        if let Some(cache) = &self.cache
            && let Ok(mut state) = self.state.try_borrow_mut()
        {
            cache.give_up(&mut state);
        }
        Action::Continue
    }
}

/// The end of a request, whatever it was: the dispatcher drops the stream in `on_delete`.
impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(cache) = &self.cache
            && let Ok(mut state) = self.state.try_borrow_mut()
        {
            cache.on_end(self.id, &mut state);
        }
    }
}
