//! Without an `x-api-key`, no service.

#![cfg(target_arch = "wasm32")]

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

proxy_wasm::main! {{
    proxy_wasm::set_http_context(|_, _| Box::new(NeedsKey));
}}

struct NeedsKey;

impl Context for NeedsKey {}

impl HttpContext for NeedsKey {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        if self.get_http_request_header("x-api-key").is_some() {
            return Action::Continue;
        }
        self.send_http_response(401, vec![], Some(b"Send an x-api-key.\n"));
        Action::Pause
    }
}
