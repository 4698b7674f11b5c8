//! The admin listener: Envoy's pages, as far as this gateway has something to show.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use regex::Regex;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::spawn_local;

use super::config::Config;
use super::pages;
use super::prometheus::{exposition, text};
use super::stats::{Sums, WorkerStats, sum};
use crate::bootstrap::Listener;
use crate::inspector;

/// What the admin listener shows.
pub(super) struct Admin {
    config: RefCell<Arc<Config>>,
    /// The main thread's first, then the workers'.
    stats: RefCell<Vec<Arc<WorkerStats>>>,
    /// Name and address of each listener that accepts.
    listeners: RefCell<Vec<(String, SocketAddr)>>,
    state: Cell<State>,
    started: Instant,
    /// Asked to close the listeners.
    drain: Notify,
}

/// Envoy's `ServerInfo.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Initializing,
    Live,
    Draining,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Initializing => "INITIALIZING",
            Self::Live => "LIVE",
            Self::Draining => "DRAINING",
        }
    }
}

const HELP: &str = "admin commands are:
  /: this page
  /clusters: hosts of the clusters and their health (format=json for JSON)
  /config_dump: the configuration
  /drain_listeners (POST): close the listeners
  /healthcheck/fail (POST): have /ready say 503
  /healthcheck/ok (POST): have /ready say 200 again
  /help: this page
  /listeners: listeners and their addresses (format=json for JSON)
  /ready: LIVE once the gateway serves
  /server_info: version, state and options
  /stats: statistics of the gateway and metrics of the plugins
      filter: regular expression that a name has to hold
  /inspect: what filters did to each request, with `serve --inspect`
  /stats/prometheus: the same for Prometheus, with the labels of stats_tags
      filter: regular expression that a name has to hold
";

/// Pages that change something and are therefore asked for by POST.
const POSTED: [&str; 3] = ["/drain_listeners", "/healthcheck/fail", "/healthcheck/ok"];

/// Serves the admin listener for ever.
pub(super) async fn serve(admin: Rc<Admin>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of sockets, most likely: some will be closed.
            tokio::time::sleep(super::ACCEPT_AGAIN).await;
            continue;
        };
        let admin = Rc::clone(&admin);
        spawn_local(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let admin = Rc::clone(&admin);
                async move {
                    let inspector = admin.config.borrow().inspector.clone();
                    Ok::<_, Infallible>(match &inspector {
                        Some(inspector) if inspector::is_ours(request.uri().path()) => {
                            inspector::serve(inspector, &request).await
                        }
                        _ => admin.answer(&request).map(inspector::Body::from),
                    })
                }
            });
            let io = TokioIo::new(stream);
            // An error is the client's: it went away or doesn't speak HTTP.
            let _ = http1::Builder::new().serve_connection(io, service).await;
        });
    }
}

/// What a page says.
type Page = (StatusCode, &'static str, String);

const TEXT: &str = "text/plain; charset=UTF-8";
const JSON: &str = "application/json";

impl Admin {
    pub(super) fn new(config: Arc<Config>, stats: Vec<Arc<WorkerStats>>) -> Rc<Self> {
        Rc::new(Self {
            config: RefCell::new(config),
            stats: RefCell::new(stats),
            listeners: RefCell::default(),
            state: Cell::new(State::Initializing),
            started: Instant::now(),
            drain: Notify::new(),
        })
    }

    /// The gateway serves.
    pub(super) fn live(&self) {
        self.state.set(State::Live);
    }

    /// The gateway is to end.
    pub(super) fn draining(&self) {
        self.state.set(State::Draining);
    }

    /// Waits until somebody asks for the listeners to be closed.
    pub(super) async fn drained(&self) {
        self.drain.notified().await;
    }

    /// A listener accepts.
    pub(super) fn listens(&self, name: &str, address: SocketAddr) {
        self.listeners.borrow_mut().push((name.to_owned(), address));
    }

    /// A listener was closed.
    pub(super) fn listens_no_more(&self, name: &str) {
        let mut listeners = self.listeners.borrow_mut();
        if let Some(index) = listeners.iter().position(|(known, _)| known == name) {
            listeners.remove(index);
        }
    }

    /// Where listeners listen, in their order.
    pub(super) fn addresses_of(&self, listeners: &[Listener]) -> Vec<SocketAddr> {
        let bound = self.listeners.borrow();
        let address = |listener: &Listener| {
            let mut bound = bound.iter();
            let bound = bound.find(|(name, _)| *name == *listener.name);
            bound.map_or(listener.address, |(_, address)| *address)
        };
        listeners.iter().map(address).collect()
    }

    pub(super) fn stats(&self) -> Vec<Arc<WorkerStats>> {
        self.stats.borrow().clone()
    }

    /// Shows another configuration from now on.
    pub(super) fn show(&self, config: Arc<Config>, stats: Vec<Arc<WorkerStats>>) {
        self.config.replace(config);
        self.stats.replace(stats);
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Bytes> {
        let path = request.uri().path();
        let posted = POSTED.contains(&path);
        let (status, kind, body) = match *request.method() {
            Method::POST if posted => (StatusCode::OK, TEXT, self.act(path)),
            Method::GET | Method::HEAD if !posted => self.page(path, request.uri().query()),
            ref method => {
                let wanted = if posted { "POST" } else { "GET" };
                let body = format!("Method {method} not allowed, {wanted} required.");
                (StatusCode::METHOD_NOT_ALLOWED, TEXT, body)
            }
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-cache, max-age=0"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::SERVER, "envoy"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn act(&self, path: &str) -> String {
        match path {
            "/drain_listeners" => self.drain.notify_one(),
            "/healthcheck/fail" => self.state.set(State::Draining),
            _ => self.state.set(State::Live),
        }
        "OK\n".to_owned()
    }

    fn page(&self, path: &str, query: Option<&str>) -> Page {
        let query = query.unwrap_or_default();
        let filter = match filter(query) {
            Ok(filter) => filter,
            Err(message) => return (StatusCode::BAD_REQUEST, TEXT, message),
        };
        let filter = filter.as_ref();
        let config = self.config.borrow();
        let metrics = || config.environment.shared.metrics();
        let json = query.split('&').any(|pair| pair == "format=json");
        let ok = |body| (StatusCode::OK, TEXT, body);
        let ok_json = |body| (StatusCode::OK, JSON, body);
        match path {
            "/ready" => {
                let status = if self.state.get() == State::Live {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                (status, TEXT, format!("{}\n", self.state.get().name()))
            }
            "/stats" => ok(text(&self.sums(), &metrics(), filter)),
            "/stats/prometheus" => {
                let tags = &config.bootstrap.stats_tags;
                ok(exposition(&self.sums(), &metrics(), tags, filter))
            }
            "/clusters" if json => ok_json(pages::clusters_json(&config.groups)),
            "/clusters" => ok(pages::clusters_text(&config.groups)),
            "/listeners" if json => ok_json(pages::listeners_json(&self.listeners.borrow())),
            "/listeners" => ok(pages::listeners_text(&self.listeners.borrow())),
            "/config_dump" => ok_json(pages::config_dump(&config.bootstrap.source)),
            "/server_info" => {
                let workers = self.stats.borrow().len().saturating_sub(1);
                let state = self.state.get().name();
                ok_json(pages::server_info(state, self.started.elapsed(), workers))
            }
            "/" | "/help" => ok(HELP.to_owned()),
            _ => {
                let body = format!("invalid path. {HELP}");
                (StatusCode::NOT_FOUND, TEXT, body)
            }
        }
    }

    fn sums(&self) -> Sums {
        let config = self.config.borrow();
        let stats = self.stats.borrow();
        let mut sums = sum(&config.bootstrap, stats.iter().map(AsRef::as_ref));
        pages::add_membership(&config.groups, &mut sums);
        sums
    }
}

/// The `filter` of a query; other parameters are Envoy's and change only how much is shown.
fn filter(query: &str) -> Result<Option<Regex>, String> {
    let Some(text) = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("filter="))
    else {
        return Ok(None);
    };
    Regex::new(&decoded(text))
        .map(Some)
        .map_err(|_| format!("filter {text:?} is not a regular expression\n"))
}

/// Replaces `%XX` and `+` of a query.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((byte, rest)) = bytes.split_first() {
        bytes = rest;
        let hex = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let value = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, value) {
            (b'%', Some(value)) => {
                out.push(value);
                bytes = &rest[2..];
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_queries_are_decoded() {
        let filter = filter("usedonly&filter=%5Ehttp%5C.").unwrap().unwrap();
        assert_eq!(filter.as_str(), "^http\\.");
        assert_eq!(decoded("a+b%2"), "a b%2");
        assert!(super::filter("filter=%28").is_err());
        assert!(super::filter("").unwrap().is_none());
    }
}
