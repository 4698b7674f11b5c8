//! The filters, each in the idiom of one of the SDK's examples.

use std::collections::BTreeMap;
use std::time::Duration;

use log::{error, info};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MetricType};

/// A request to a cluster that authorizes or has a part of the answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// The plugin's context.
#[derive(Default)]
pub(crate) struct Root {
    kind: String,
    ticks: u32,
    served: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_vm_start(&mut self, size: usize) -> bool {
        info!("vm_start {size} {:?}", self.get_vm_configuration());
        true
    }

    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        self.kind = String::from_utf8(bytes).unwrap_or_default();
        match self.kind.as_str() {
            "headers" | "body" | "auth" | "parts" => return true,
            "store" => {}
            other => {
                error!("no such kind of filter: {other}");
                return false;
            }
        }
        self.set_tick_period(Duration::from_secs(1));
        let queue = self.register_shared_queue("items");
        info!("queue {queue}");
        match hostcalls::define_metric(MetricType::Counter, "sdk_guest_served") {
            Ok(metric) => self.served = metric,
            Err(status) => info!("no metric: {status:?}"),
        }
        true
    }

    fn on_tick(&mut self) {
        self.ticks += 1;
        let now = self.get_current_time();
        let since = now.duration_since(std::time::UNIX_EPOCH);
        info!("tick {} at {since:?}", self.ticks);
    }

    fn on_queue_ready(&mut self, queue: u32) {
        info!("ready {:?}", self.dequeue_shared_queue(queue));
        info!("then {:?}", self.dequeue_shared_queue(queue));
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(match self.kind.as_str() {
            "headers" => Box::new(Headers { id }),
            "body" => Box::new(Body),
            "auth" => Box::new(Auth),
            "parts" => Box::new(Parts::default()),
            _ => Box::new(Store {
                served: self.served,
            }),
        })
    }
}

/// Logs what passes, and answers one path by itself.
struct Headers {
    id: u32,
}

impl Context for Headers {}

impl HttpContext for Headers {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        for (name, value) in self.get_http_request_headers() {
            info!("#{} -> {name}: {value}", self.id);
        }
        if self.get_http_request_header(":path").as_deref() == Some("/hello") {
            let headers = vec![("hello", "world"), ("powered-by", "proxy-wasm")];
            self.send_http_response(200, headers, Some(b"Hello, World!\n"));
            return Action::Pause;
        }
        self.set_http_request_header("x-set", Some("1"));
        self.add_http_request_header("x-added", "2");
        self.set_http_request_header("x-gone", None);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        for (name, value) in self.get_http_response_headers() {
            info!("#{} <- {name}: {value}", self.id);
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        let code = self.get_property(vec!["response", "code"]);
        info!("#{} completed: {code:?}", self.id);
    }
}

/// Replaces bodies that say what they should not.
struct Body;

impl Context for Body {}

impl HttpContext for Body {
    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.set_http_response_header("content-length", None);
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if !end {
            return Action::Pause;
        }
        let body = self.get_http_response_body(0, size).unwrap_or_default();
        if body.windows(6).any(|part| part == b"secret") {
            let text = format!("Original message body ({size} bytes) redacted.\n");
            self.set_http_response_body(0, size, text.as_bytes());
        }
        Action::Continue
    }
}

/// Asks a service whether a request may pass.
struct Auth;

impl Context for Auth {
    fn on_http_call_response(&mut self, _: u32, headers: usize, size: usize, _: usize) {
        let body = self
            .get_http_call_response_body(0, size)
            .unwrap_or_default();
        info!("asked: {headers} headers, {} bytes", body.len());
        if body == b"yes" {
            self.set_http_request_header("x-asked", Some("yes"));
            self.resume_http_request();
        } else {
            self.send_http_response(403, vec![("powered-by", "proxy-wasm")], Some(b"No.\n"));
        }
    }
}

impl HttpContext for Auth {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let headers = vec![
            (":method", "GET"),
            (":path", "/may"),
            (":authority", "auth"),
        ];
        match self.dispatch_http_call("auth", headers, None, vec![], CALL_TIMEOUT) {
            Ok(_) => Action::Pause,
            Err(status) => {
                info!("not asked: {status:?}");
                self.send_http_response(500, vec![], None);
                Action::Pause
            }
        }
    }
}

/// Puts an answer together from three calls under way at once.
#[derive(Default)]
struct Parts {
    waiting: BTreeMap<u32, usize>,
    parts: [String; 3],
}

impl Context for Parts {
    fn on_http_call_response(&mut self, token: u32, _: usize, size: usize, _: usize) {
        let body = self
            .get_http_call_response_body(0, size)
            .unwrap_or_default();
        let part = self
            .waiting
            .remove(&token)
            .and_then(|part| self.parts.get_mut(part));
        if let Some(part) = part {
            *part = String::from_utf8_lossy(&body).into_owned();
        }
        if self.waiting.is_empty() {
            self.send_http_response(200, vec![], Some(self.parts.join("|").as_bytes()));
        }
    }
}

impl HttpContext for Parts {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        for part in 0..self.parts.len() {
            let path = format!("/{part}");
            let headers = vec![
                (":method", "GET"),
                (":path", &path),
                (":authority", "parts"),
            ];
            if let Ok(token) = self.dispatch_http_call("parts", headers, None, vec![], CALL_TIMEOUT)
            {
                self.waiting.insert(token, part);
            }
        }
        Action::Pause
    }
}

/// Uses what plugins share: data, queues, metrics, properties and foreign functions.
struct Store {
    served: u32,
}

impl Context for Store {
    fn on_done(&mut self) -> bool {
        info!("done");
        true
    }
}

impl HttpContext for Store {
    fn on_http_request_headers(&mut self, count: usize, end: bool) -> Action {
        info!("request {count} {end}");
        let counted = hostcalls::increment_metric(self.served, 1);
        info!(
            "metric {counted:?} {:?}",
            hostcalls::get_metric(self.served)
        );
        let (value, cas) = self.get_shared_data("key");
        info!("data {value:?} {:?}", cas.is_some());
        info!("set {:?}", self.set_shared_data("key", Some(b"value"), cas));
        info!(
            "lost {:?}",
            self.set_shared_data("key", Some(b"other"), Some(u32::MAX))
        );
        if let Some(queue) = self.resolve_shared_queue("", "items") {
            info!(
                "enqueued {:?}",
                self.enqueue_shared_queue(queue, Some(b"item"))
            );
        }
        for path in [
            vec!["request", "path"],
            vec!["plugin_name"],
            vec!["request", "headers", "x-a"],
            vec!["nothing"],
        ] {
            let value = self.get_property(path.clone());
            let text = value.map(|value| String::from_utf8_lossy(&value).into_owned());
            info!("{} is {text:?}", path.join("."));
        }
        self.set_property(vec!["mine"], Some(b"1"));
        info!("mine is {:?}", self.get_property(vec!["mine"]));
        info!("foreign {:?}", self.call_foreign_function("nothing", None));
        let packed = self.call_foreign_function("compress", Some(&[b'a'; 64]));
        let unpacked =
            packed.map(|packed| self.call_foreign_function("uncompress", packed.as_deref()));
        info!(
            "foreign {:?}",
            unpacked.map(|bytes| bytes.map(|bytes| bytes.map(|bytes| bytes.len())))
        );
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        info!(
            "body {size} {end} {:?}",
            self.get_http_request_body(0, size).map(|body| body.len())
        );
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        info!("trailers {count} {:?}", self.get_http_request_trailers());
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, count: usize) -> Action {
        info!(
            "response trailers {count} {:?}",
            self.get_http_response_trailers()
        );
        Action::Continue
    }
}
