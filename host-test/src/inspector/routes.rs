//! The inspector's part of the admin listener.
//!
//! What it shows is for whoever sits at this machine. A page of somebody else's that runs in their
//! browser could ask this listener, too: by a name that it has pointed at the loopback (DNS
//! rebinding), or by a form. So a request has to name the listener by an address or as `localhost`,
//! and a browser's has to come from the inspector's own page.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Frame, Incoming};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use super::scenario::{self, Item};
use super::{Inspector, entry, lock, page, replay};

/// Where all of it is.
const ROOT: &str = "/inspect";

/// Keys of a `vm_id` that are shown; all are counted.
pub(super) const KEYS_SHOWN: usize = 1_000;

/// Requests that are sent to a page at once.
const BATCH: usize = 500;

/// A page is told of new requests no more often than this.
const PACE: Duration = Duration::from_millis(50);

/// How often metrics are sampled while a page looks.
const SAMPLING: Duration = Duration::from_secs(1);

/// Of a scenario, requests that came before the one that is meant.
const BEFORE: usize = 200;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The body of an answer.
pub(crate) enum Body {
    /// Known.
    Full(Option<Bytes>),
    /// Server-sent events, as they come.
    Events(mpsc::Receiver<Bytes>),
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Full((!bytes.is_empty()).then_some(bytes))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.get_mut() {
            Self::Full(data) => data.take(),
            Self::Events(events) => match events.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(data) => data,
            },
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Full(data) => {
                let size = data.as_ref().map_or(0, Bytes::len);
                hyper::body::SizeHint::with_exact(size as u64)
            }
            Self::Events(_) => hyper::body::SizeHint::default(),
        }
    }
}

/// Whether a path is the inspector's.
pub(crate) fn is_ours(path: &str) -> bool {
    path.strip_prefix(ROOT)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a request for one of its paths.
pub(crate) async fn serve(
    inspector: &Arc<Inspector>,
    request: &Request<Incoming>,
) -> Response<Body> {
    if let Err(sentence) = check_origin(request.headers()) {
        return plain(StatusCode::FORBIDDEN, sentence);
    }
    let path = request.uri().path().trim_end_matches('/');
    let path = path.strip_prefix(ROOT).unwrap_or_default();
    let query = request.uri().query().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let method = request.method();
    match (method, parts.as_slice()) {
        (&Method::POST, ["api", "requests", id, "replay"]) => {
            match replay::replay(inspector, number(id)).await {
                Ok(answer) => value(&answer),
                Err((status, sentence)) => plain(status, sentence),
            }
        }
        (&Method::GET | &Method::HEAD, parts) => get(inspector, request, parts, query),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed here\n"),
    }
}

fn get(
    inspector: &Arc<Inspector>,
    request: &Request<Incoming>,
    parts: &[&str],
    query: &str,
) -> Response<Body> {
    match parts {
        [] => answer(StatusCode::OK, "text/html; charset=utf-8", page::HTML),
        ["app.css"] => answer(StatusCode::OK, "text/css; charset=utf-8", page::css()),
        ["app.js"] => answer(StatusCode::OK, "text/javascript; charset=utf-8", page::js()),
        ["api", "info"] => value(&inspector.info()),
        ["api", "events"] => {
            let last = request.headers().get("last-event-id");
            let last = last.and_then(|last| last.to_str().ok());
            events(
                inspector,
                last.map_or_else(|| parameter(query, "after"), number),
            )
        }
        ["api", "requests"] => {
            let ring = lock(&inspector.ring);
            let (summaries, _) = ring.after(parameter(query, "after"), BATCH);
            answer(StatusCode::OK, JSON, list(&summaries))
        }
        ["api", "requests", id] => match lock(&inspector.ring).get(number(id)) {
            Some(kept) => answer(StatusCode::OK, JSON, kept.detail.clone()),
            None => plain(StatusCode::NOT_FOUND, GONE),
        },
        ["api", "requests", id, "scenario"] => {
            let before = parameter(query, "before").min(BEFORE as u64);
            match inspector.scenario(number(id), before as usize) {
                Ok(text) => answer(StatusCode::OK, "application/yaml; charset=utf-8", text),
                Err(sentence) => plain(StatusCode::UNPROCESSABLE_ENTITY, sentence),
            }
        }
        ["api", "shared"] => value(&inspector.shared_data()),
        ["api", "background"] => {
            let background = lock(&inspector.background);
            value(&json!({
                "count": background.count,
                "callbacks": background.callbacks,
            }))
        }
        _ => plain(StatusCode::NOT_FOUND, "there is no such page\n"),
    }
}

const JSON: &str = "application/json";
const GONE: &str = "this request isn't kept any more\n";

impl Inspector {
    fn info(&self) -> Json {
        let (count, bytes) = lock(&self.ring).size();
        let samples = lock(&self.samples);
        let samples = samples
            .iter()
            .map(|sample| json!([sample.at, sample.values]));
        json!({
            "instance": self.instance,
            "version": env!("CARGO_PKG_VERSION"),
            "masked": !self.settings.secrets,
            "counted": self.settings.instructions,
            "capacity": self.settings.requests,
            "kept": count,
            "bytes": bytes,
            "samples": samples.collect::<Vec<_>>(),
        })
    }

    /// A scenario of a request, and of so many before it.
    fn scenario(&self, id: u64, before: usize) -> Result<String, String> {
        let ring = lock(&self.ring);
        let meant = ring.get(id).ok_or(GONE)?;
        let listener = meant.original.as_ref().map(|original| original.listener);
        let surroundings = listener.and_then(|listener| self.surroundings.get(listener));
        let surroundings = surroundings.ok_or("its listener isn't there any more")?;
        let same = |kept: &&super::Kept| {
            let original = kept.original.as_ref();
            original.map(|original| original.listener) == listener
        };
        let mut items: Vec<Item> = std::iter::once(meant)
            .chain(ring.before(id).filter(same).take(before))
            .map(|kept| Item {
                detail: serde_json::from_str(&kept.detail).unwrap_or_default(),
                body: kept
                    .original
                    .as_ref()
                    .and_then(|original| original.body.clone()),
            })
            .collect();
        drop(ring);
        items.reverse();
        let others: Vec<Json> = lock(&self.background)
            .callouts
            .iter()
            .map(|call| entry::callout(call, None, self.mask))
            .collect();
        scenario::write(surroundings, &items, &others)
    }
}

/// Tells a page what there is after a request, and then what comes.
fn events(inspector: &Arc<Inspector>, after: u64) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(4);
    spawn_local(tell(Arc::clone(inspector), after, sender));
    let mut response = Response::new(Body::Events(receiver));
    equip(&mut response, "text/event-stream");
    response
}

async fn tell(inspector: Arc<Inspector>, after: u64, sender: mpsc::Sender<Bytes>) {
    let mut changed = inspector.changed.subscribe();
    let mut last = after;
    if sender
        .send(event("info", None, &inspector.info().to_string()))
        .await
        .is_err()
    {
        return;
    }
    // After a restart the page knows of requests that never were.
    if last >= lock(&inspector.ring).next() {
        last = 0;
    }
    let mut sampling = tokio::time::interval(SAMPLING);
    loop {
        changed.borrow_and_update();
        let (batch, upto, full) = {
            let ring = lock(&inspector.ring);
            let (summaries, upto) = ring.after(last, BATCH);
            (list(&summaries), upto, summaries.len())
        };
        if full > 0 {
            last = upto;
            if sender
                .send(event("requests", Some(upto), &batch))
                .await
                .is_err()
            {
                return;
            }
        }
        if full == BATCH {
            continue;
        }
        tokio::select! {
            // An error means that the gateway ends.
            changed = changed.changed() => match changed {
                Ok(()) => tokio::time::sleep(PACE).await,
                Err(_) => return,
            },
            _ = sampling.tick() => {
                inspector.sample();
                let sample = json!([super::now(), inspector.metrics()]);
                if sender.send(event("metrics", None, &sample.to_string())).await.is_err() {
                    return;
                }
            }
            () = sender.closed() => return,
        }
    }
}

fn event(name: &str, id: Option<u64>, data: &str) -> Bytes {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    // JSON in one line.
    format!("event: {name}\n{id}data: {data}\n\n").into()
}

fn list(summaries: &[&str]) -> String {
    format!("[{}]", summaries.join(","))
}

/// Refuses what isn't asked by somebody at this machine, or by the inspector's own page.
fn check_origin(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if !is_of_this_machine(host) {
        return Err(format!(
            "the inspector is not {host:?}: name it by its address, or as localhost\n"
        ));
    }
    let origin = headers.get(header::ORIGIN);
    let own = format!("http://{host}");
    if origin.is_some_and(|origin| origin.as_bytes() != own.as_bytes()) {
        return Err("the inspector answers to its own page alone\n".to_owned());
    }
    // Browsers tell it even where they send no Origin; a link into the page is a navigation.
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let navigates = headers
        .get("sec-fetch-mode")
        .is_some_and(|mode| mode == "navigate");
    match site {
        Some(b"cross-site" | b"same-site") if !navigates => {
            Err("the inspector answers to its own page alone\n".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether a `Host` can't be a name that somebody has pointed at this machine.
fn is_of_this_machine(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split(']').next().unwrap_or_default();
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.split(':').next().unwrap_or_default();
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn parameter(query: &str, name: &str) -> u64 {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(known, _)| *known == name);
    found.map_or(0, |(_, value)| number(value))
}

fn value(json: &Json) -> Response<Body> {
    answer(StatusCode::OK, JSON, json.to_string())
}

fn plain(status: StatusCode, sentence: impl Into<Bytes>) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", sentence)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    equip(&mut response, kind);
    response
}

fn equip(response: &mut Response<Body>, kind: &'static str) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        check_origin(&map).is_ok()
    }

    #[test]
    fn names_that_could_be_rebound_are_refused() {
        for host in [
            "127.0.0.1:9901",
            "localhost:9901",
            "localhost",
            "[::1]:9901",
            "10.0.0.7",
        ] {
            assert!(checked(&[("host", host)]), "{host}");
        }
        for host in [
            "evil.example:9901",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert!(!checked(&[("host", host)]), "{host}");
        }
    }

    #[test]
    fn pages_of_others_are_refused() {
        let from = |origin| checked(&[("host", "127.0.0.1:9901"), ("origin", origin)]);
        assert!(from("http://127.0.0.1:9901"));
        for origin in ["http://127.0.0.1:9902", "https://evil.example", "null"] {
            assert!(!from(origin), "{origin}");
        }
        let site = |site, mode| {
            checked(&[
                ("host", "localhost:1"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
            ])
        };
        assert!(site("same-origin", "cors"));
        assert!(site("none", "navigate"));
        assert!(site("cross-site", "navigate"));
        assert!(!site("cross-site", "no-cors"));
    }

    #[test]
    fn only_paths_below_its_own_are_the_inspectors() {
        assert!(is_ours("/inspect") && is_ours("/inspect/app.js"));
        assert!(!is_ours("/inspection") && !is_ours("/stats"));
    }
}
