//! A client's connection: requests in, exchanges, responses out.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::body::{Broken, PipeReader, PipeWriter, pipe};
use super::config::ListenerConfig;
use super::exchange::{Exchange, Part};
use super::head::{Peer, client_response, request_head};
use super::local::Local;
use super::record::Record;
use super::reply::Reply;
use super::router::Found;
use super::stats::HttpStats;
use crate::bootstrap::{Forward, Listener};
use crate::inspector::Tape;

/// Envoy's default `max_request_headers_kb`.
const MAX_HEADER_BYTES: usize = 60 * 1024;
/// Envoy's default `max_headers_count`.
const MAX_HEADERS: usize = 100;
/// Envoy's default `delayed_close_timeout`.
const LINGER: Duration = Duration::from_secs(1);

/// A connection and where it came in.
pub(super) struct Client {
    pub(super) local: Rc<Local>,
    /// Position of the listener in the bootstrap.
    pub(super) listener: usize,
    pub(super) peer: Peer,
}

impl Client {
    pub(super) fn listener(&self) -> &Listener {
        &self.local.config.bootstrap.listeners[self.listener]
    }

    pub(super) fn prepared(&self) -> &ListenerConfig {
        &self.local.config.listeners[self.listener]
    }

    pub(super) fn http_stats(&self) -> &HttpStats {
        &self.local.stats.http[self.listener]
    }

    /// Whether streams are logged.
    pub(super) fn logs(&self) -> bool {
        self.local.logs.any(self.listener)
    }

    /// The cluster that a request of this route goes to, by weight.
    pub(super) fn choose_cluster(&self, found: Found, forward: &Forward) -> Option<usize> {
        let targets = self.prepared().targets(found);
        let [_, _, ..] = targets else {
            return targets.first().copied();
        };
        let weights = forward.clusters.iter().map(|(_, weight)| *weight as usize);
        let mut drawn = self.local.random.below(weights.clone().sum());
        for (target, weight) in targets.iter().zip(weights) {
            match drawn.checked_sub(weight) {
                Some(rest) => drawn = rest,
                None => return Some(*target),
            }
        }
        None
    }

    /// The first cluster of a route that forwards.
    pub(super) fn first_cluster(&self, found: Found) -> Option<usize> {
        self.prepared().targets(found).first().copied()
    }
}

/// Serves a connection until it ends, or until its current request is answered once `drain` changes.
pub(super) async fn serve(client: Client, stream: TcpStream, mut drain: watch::Receiver<bool>) {
    let client = Rc::new(client);
    client.http_stats().connections.increment();
    client.http_stats().active_connections.increment();
    // Small responses aren't to wait for the client's acknowledgements.
    let _ = stream.set_nodelay(true);
    let unread = Rc::new(Cell::new(false));
    let service = {
        let client = Rc::clone(&client);
        let unread = Rc::clone(&unread);
        service_fn(move |request| answer(Rc::clone(&client), request, Rc::clone(&unread)))
    };
    let mut connection = http1::Builder::new()
        .allow_multiple_spaces_in_request_line_delimiters(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut draining = false;
    let ended = loop {
        tokio::select! {
            // First, so that a response that is just coming says that it is the last.
            biased;
            changed = drain.changed(), if !draining => {
                draining = true;
                if changed.is_ok() {
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
            ended = &mut connection => break ended,
        }
    };
    // What hyper couldn't parse has been answered, and may not have been read to its end.
    let unparsed = ended.is_err_and(|error| error.is_parse());
    if unread.get() || unparsed {
        linger(connection.into_parts().io.inner()).await;
    }
    client.http_stats().active_connections.decrement();
}

/// Reads what a client may still be sending for a while: closing a socket with unread data resets it,
/// and the client might never see the response.
async fn linger(stream: &TcpStream) {
    let drained = async {
        let mut rest = [0; 4096];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut rest) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drained).await;
}

/// Answers one request.
async fn answer(
    client: Rc<Client>,
    request: Request<Incoming>,
    unread: Rc<Cell<bool>>,
) -> Result<Response<ClientBody>, Broken> {
    let (parts, body) = request.into_parts();
    let local = &client.local;
    let manager = &client.listener().manager;
    let inspector = local.config.inspector.as_ref();
    let tape = inspector.map(|inspector| Tape::begin(inspector, &parts, client.listener));
    let exchange = match request_head(&parts, manager, &client.peer, || local.random.uuid()) {
        Ok((headers, remote)) => {
            let body = (!body.is_end_stream()).then_some(body);
            Exchange::new(Rc::clone(&client), headers, body, Record::new(remote))
        }
        Err(refusal) => {
            let record = Record::new(client.peer.remote);
            Exchange::refused(Rc::clone(&client), record, &Reply::refusal(refusal))
        }
    };
    let mut exchange = Box::new(exchange);
    exchange.record_on(tape);
    let Some(Part::Head(status, headers, end)) = poll_fn(|cx| exchange.poll(cx)).await else {
        // Dropping the request without an answer closes the connection.
        return Err(Broken);
    };
    let (mut response, dropped) = client_response(status, &headers, ClientBody::Empty);
    for name in dropped {
        eprintln!("[warning] a response header can't be written and is left out: {name}");
    }
    let rest = if end {
        Some(Bytes::new())
    } else {
        exchange.take_rest()
    };
    if exchange.is_request_unread() && (rest.is_some() || !exchange.wants_request()) {
        unread.set(true);
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    *response.body_mut() = match rest {
        // A 304 may tell the length of what it stands for, which hyper writes for a body alone.
        Some(data) if data.is_empty() && status != StatusCode::NOT_MODIFIED => ClientBody::Empty,
        Some(data) => ClientBody::Last(data),
        None if exchange.wants_request() => {
            // The client may be sending for as long as it isn't reading: the request must go on
            // even if nobody asks for the response.
            let (writer, reader) = pipe();
            spawn_local(drive(exchange, writer, unread));
            ClientBody::Piped(reader)
        }
        None => ClientBody::Live(exchange),
    };
    Ok(response)
}

/// The body of a response on its way to the client.
enum ClientBody {
    Empty,
    /// The rest of it is known.
    Last(Bytes),
    /// It comes as it is asked for.
    Live(Box<Exchange>),
    /// It comes from a task.
    Piped(PipeReader),
}

/// Carries an exchange on whose request is still coming in.
async fn drive(mut exchange: Box<Exchange>, writer: PipeWriter, unread: Rc<Cell<bool>>) {
    let next = |cx: &mut Context<'_>| {
        writer.watch(cx);
        if writer.is_unread() {
            return Poll::Ready(None);
        }
        if writer.poll_ready(cx).is_ready() {
            return exchange.poll(cx);
        }
        exchange.poll_request_alone(cx);
        Poll::Pending
    };
    let mut next = Box::pin(poll_fn(next));
    // Anything but data, and dropping the writer before its end, breaks the response off.
    while let Some(Part::Data(data, end)) = next.as_mut().await {
        writer.push(data);
        if end {
            drop(next);
            unread.set(exchange.is_request_unread());
            writer.end();
            return;
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Last(data) => {
                let data = std::mem::take(data);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Self::Piped(reader) => reader
                .poll(cx)
                .map(|data| data.map(|data| data.map(Frame::data))),
            Self::Live(exchange) => match exchange.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Part::Data(data, end))) => {
                    if end {
                        *self = Self::Empty;
                        if data.is_empty() {
                            return Poll::Ready(None);
                        }
                    }
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Poll::Ready(_) => {
                    *self = Self::Empty;
                    Poll::Ready(Some(Err(Broken)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Piped(reader) => reader.is_done(),
            Self::Last(_) | Self::Live(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            // A content-length that a plugin has set counts, right or wrong.
            Self::Last(_) | Self::Live(_) | Self::Piped(_) => SizeHint::default(),
        }
    }
}
