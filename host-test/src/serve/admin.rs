//! The admin listener: `/ready`, `/stats`, `/stats/prometheus`.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use regex::Regex;
use tokio::net::TcpListener;
use tokio::task::spawn_local;

use super::config::Config;
use super::prometheus::{exposition, text};
use super::stats::{Sums, WorkerStats, sum};
use crate::inspector;

/// What the admin listener shows.
pub(super) struct Admin {
    pub(super) config: Arc<Config>,
    pub(super) stats: Vec<Arc<WorkerStats>>,
}

const HELP: &str = "admin commands are:
  /ready: LIVE once the gateway serves
  /stats: statistics of the gateway and metrics of the plugins
      filter: regular expression that a name has to hold
  /inspect: what filters did to each request, with `serve --inspect`
  /stats/prometheus: the same for Prometheus, with the labels of stats_tags
      filter: regular expression that a name has to hold
";

/// Serves the admin listener for ever.
pub(super) async fn serve(admin: Admin, listener: TcpListener) {
    let admin = Arc::new(admin);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of sockets, most likely: some will be closed.
            tokio::time::sleep(super::ACCEPT_AGAIN).await;
            continue;
        };
        let admin = Arc::clone(&admin);
        spawn_local(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let admin = Arc::clone(&admin);
                async move {
                    let inspector = admin.config.inspector.as_ref();
                    Ok::<_, Infallible>(match inspector {
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

impl Admin {
    fn answer(&self, request: &Request<Incoming>) -> Response<Bytes> {
        let (status, body) = match *request.method() {
            Method::GET | Method::HEAD => self.page(request.uri().path(), request.uri().query()),
            _ => {
                let body = format!("Method {} not allowed, use GET.\n", request.method());
                (StatusCode::METHOD_NOT_ALLOWED, body)
            }
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "text/plain; charset=UTF-8"),
            (header::CACHE_CONTROL, "no-cache, max-age=0"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::SERVER, "envoy"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn page(&self, path: &str, query: Option<&str>) -> (StatusCode, String) {
        let filter = match filter(query.unwrap_or_default()) {
            Ok(filter) => filter,
            Err(message) => return (StatusCode::BAD_REQUEST, message),
        };
        let filter = filter.as_ref();
        let metrics = || self.config.environment.shared.metrics();
        match path {
            "/ready" => (StatusCode::OK, "LIVE\n".to_owned()),
            "/stats" => (StatusCode::OK, text(&self.sums(), &metrics(), filter)),
            "/stats/prometheus" => {
                let tags = &self.config.bootstrap.stats_tags;
                let body = exposition(&self.sums(), &metrics(), tags, filter);
                (StatusCode::OK, body)
            }
            "/" | "/help" => (StatusCode::OK, HELP.to_owned()),
            _ => {
                let body = format!("invalid path. {HELP}");
                (StatusCode::NOT_FOUND, body)
            }
        }
    }

    fn sums(&self) -> Sums {
        let workers = self.stats.iter().map(AsRef::as_ref);
        sum(&self.config.bootstrap, workers)
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
