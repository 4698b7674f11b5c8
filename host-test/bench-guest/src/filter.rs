//! The filter, written as the Rust SDK's own examples are.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

/// What a request costs.
#[derive(Clone, Copy, Default)]
enum Work {
    /// No hostcall.
    #[default]
    Nothing,
    /// Reads a header and adds one.
    TwoHeaders,
    /// Reads all headers and one of them, and logs each and the end.
    LogsHeaders,
}

/// The plugin's context.
#[derive(Default)]
pub(crate) struct Root(Work);

struct Stream(Work);

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.0 = match self.get_plugin_configuration().as_deref() {
            Some(b"0") => Work::Nothing,
            Some(b"2") => Work::TwoHeaders,
            Some(b"11") => Work::LogsHeaders,
            _ => return false,
        };
        true
    }

    fn create_http_context(&self, _context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream(self.0)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, _end: bool) -> Action {
        match self.0 {
            Work::Nothing => {}
            Work::TwoHeaders => {
                if let Some(agent) = self.get_http_request_header("user-agent") {
                    self.add_http_request_header("x-agent", &agent);
                }
            }
            Work::LogsHeaders => {
                for (name, value) in self.get_http_request_headers() {
                    log::info!("-> {name}: {value}");
                }
                if self.get_http_request_header(":path").is_none() {
                    log::error!("a request without a path");
                }
            }
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if matches!(self.0, Work::LogsHeaders) {
            log::info!("completed");
        }
    }
}
