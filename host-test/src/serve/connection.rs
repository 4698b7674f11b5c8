//! A client's connection: requests in, exchanges, responses out.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::body::{Broken, PipeReader, PipeWriter, pipe};
use super::config::ListenerConfig;
use super::exchange::{Exchange, Part};
use super::head::{Peer, Refusal, client_response, request_head, trailer_map};
use super::local::Local;
use super::record::Record;
use super::reply::Reply;
use super::router::Found;
use super::stats::HttpStats;
use super::upstream::Here;
use super::wire::{Traffic, Wire, sniff};
use crate::bootstrap::{Codec, Forward, Listener};
use crate::inspector::Tape;

/// Envoy's default `max_headers_count`.
const MAX_HEADERS: usize = 100;
/// Envoy's default `delayed_close_timeout`.
const LINGER: Duration = Duration::from_secs(1);
/// How often it is looked whether a connection has rested too long, or may be closed.
const LOOK: Duration = Duration::from_millis(200);
/// How long a connection has to be without a request until a gateway that is to end closes it: one
/// that was sent before the client could know is answered.
const QUIET: Duration = Duration::from_millis(300);
/// Envoy's default `idle_timeout` of a connection.
const IDLE: Duration = Duration::from_secs(3600);

/// A connection under a configuration, and where it came in.
pub(super) struct Client {
    pub(super) local: Rc<Local>,
    /// Position of the listener in the bootstrap.
    pub(super) listener: usize,
    pub(super) peer: Peer,
}

/// The configuration that a worker works under.
pub(super) type Current = Rc<RefCell<Rc<Local>>>;

/// A connection over all configurations.
pub(super) struct Connection {
    current: Current,
    listener: Rc<str>,
    client: RefCell<Rc<Client>>,
    /// The next response is the last.
    closing: Cell<bool>,
    traffic: Rc<Traffic>,
    unread: Cell<bool>,
}

impl Connection {
    pub(super) fn client(&self) -> Rc<Client> {
        let mut client = self.client.borrow_mut();
        let current = self.current.borrow();
        if !Rc::ptr_eq(&client.local, &current) {
            let listeners = &current.config.bootstrap.listeners;
            match listeners.iter().position(|l| *l.name == *self.listener) {
                Some(listener) => {
                    *client = Rc::new(Client {
                        local: Rc::clone(&current),
                        listener,
                        peer: client.peer,
                    });
                }
                // The listener is gone; what was accepted is answered.
                None => self.closing.set(true),
            }
        }
        Rc::clone(&client)
    }
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

/// Serves a connection of a listener until it ends, or until its current request is answered once
/// `drain` changes.
pub(super) async fn serve(
    current: Current,
    listener: Rc<str>,
    peer: Peer,
    stream: TcpStream,
    drain: watch::Receiver<bool>,
) {
    let local = Rc::clone(&current.borrow());
    let listeners = &local.config.bootstrap.listeners;
    let Some(index) = listeners.iter().position(|l| *l.name == *listener) else {
        return;
    };
    let manager = &listeners[index].manager;
    let (codec, head_bytes) = (manager.codec, manager.max_head_bytes);
    let client = Client {
        local,
        listener: index,
        peer,
    };
    let stats = std::sync::Arc::clone(&client.local.stats.http[index]);
    stats.connections.increment();
    stats.active_connections.increment();
    // Small responses aren't to wait for the client's acknowledgements.
    let _ = stream.set_nodelay(true);
    let sniffed = match codec {
        Codec::Http1 => Ok((false, Vec::new())),
        Codec::Http2 => Ok((true, Vec::new())),
        Codec::Auto => first_bytes(&stream, drain.clone()).await,
    };
    if let Ok((http2, before)) = sniffed {
        let connection = Rc::new(Connection {
            current,
            listener,
            client: RefCell::new(Rc::new(client)),
            closing: Cell::new(false),
            traffic: Traffic::new(http2),
            unread: Cell::new(false),
        });
        let wire = Wire::new(stream, before, Rc::clone(&connection.traffic));
        if http2 {
            serve_http2(connection, wire, drain).await;
        } else {
            serve_http1(connection, wire, drain, head_bytes).await;
        }
    }
    stats.active_connections.decrement();
}

/// What a client begins with, unless it says nothing until the gateway is to end.
async fn first_bytes(
    stream: &TcpStream,
    mut drain: watch::Receiver<bool>,
) -> io::Result<(bool, Vec<u8>)> {
    let silent = async {
        let _ = drain.wait_for(|drain| *drain).await;
        tokio::time::sleep(QUIET).await;
    };
    tokio::select! {
        sniffed = sniff(stream) => sniffed,
        () = silent => Err(io::ErrorKind::TimedOut.into()),
        () = tokio::time::sleep(IDLE) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn serve_http2(connection: Rc<Connection>, wire: Wire, mut drain: watch::Receiver<bool>) {
    let service = {
        let connection = Rc::clone(&connection);
        service_fn(move |request| answer(Rc::clone(&connection), request))
    };
    let serving = http2::Builder::new(Here)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(1024)
        .max_header_list_size(1 << 16)
        .serve_connection(TokioIo::new(wire), service);
    let mut serving = std::pin::pin!(serving);
    let mut ending = false;
    loop {
        tokio::select! {
            biased;
            changed = drain.changed(), if !ending => {
                ending = true;
                if changed.is_ok() {
                    serving.as_mut().graceful_shutdown();
                }
            }
            _ = &mut serving => return,
            () = tokio::time::sleep(LOOK), if !ending => {
                connection.client();
                if connection.closing.get() {
                    ending = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

async fn serve_http1(
    connection: Rc<Connection>,
    wire: Wire,
    drain: watch::Receiver<bool>,
    head_bytes: usize,
) {
    let service = {
        let connection = Rc::clone(&connection);
        service_fn(move |request| answer(Rc::clone(&connection), request))
    };
    let mut serving = http1::Builder::new()
        .allow_multiple_spaces_in_request_line_delimiters(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(head_bytes)
        .serve_connection(TokioIo::new(wire), service);
    let mut shutting = false;
    let mut refusal = None;
    let mut look = std::pin::pin!(tokio::time::sleep(LOOK));
    let ended = loop {
        let ended = poll_fn(|cx| {
            // First, so that a response that is just coming says that it is the last.
            if *drain.borrow() {
                connection.closing.set(true);
            }
            if let Poll::Ready(ended) = Pin::new(&mut serving).poll(cx) {
                return Poll::Ready(Some(ended));
            }
            look.as_mut().poll(cx).map(|()| None)
        });
        if let Some(ended) = ended.await {
            break Some(ended);
        }
        look.as_mut().reset(tokio::time::Instant::now() + LOOK);
        match connection.look() {
            Look::Fine => {}
            Look::Shut if !shutting => {
                shutting = true;
                Pin::new(&mut serving).graceful_shutdown();
            }
            Look::Shut => {}
            Look::TooSlow => {
                refusal = Some(Refusal::HeadTimeout);
                break None;
            }
            Look::Dead => break None,
        }
    };
    // What couldn't be parsed may not have been read to its end.
    let unparsed = matches!(&ended, Some(Err(error)) if error.is_parse());
    if connection.traffic.is_refused() {
        let too_large = matches!(&ended, Some(Err(error)) if error.is_parse_too_large());
        refusal = Some(connection.why_refused(too_large, head_bytes));
    }
    let mut stream = serving.into_parts().io.into_inner().stream;
    if let Some(refusal) = refusal {
        let answer = refused(&connection, refusal).await;
        // The client may be gone.
        let _ = stream.write_all(answer.as_bytes()).await;
        linger(&mut stream).await;
    } else if connection.unread.get() || unparsed {
        linger(&mut stream).await;
    }
}

/// How a connection fares.
enum Look {
    Fine,
    /// It may be closed if it has no request.
    Shut,
    /// A request's head doesn't come.
    TooSlow,
    /// Nothing moves any more.
    Dead,
}

impl Connection {
    fn look(&self) -> Look {
        let client = self.client();
        let manager = &client.listener().manager;
        let traffic = &self.traffic;
        let since = |instant: Instant| instant.elapsed();
        let limit = manager.head_timeout;
        if !limit.is_zero()
            && traffic
                .head_since()
                .is_some_and(|head| since(head) >= limit)
        {
            return Look::TooSlow;
        }
        let resting = since(traffic.last());
        let limit = manager.stream_idle_timeout;
        if !traffic.is_idle() && !limit.is_zero() && resting >= limit {
            return Look::Dead;
        }
        if traffic.is_idle() && resting >= IDLE
            || self.closing.get() && resting >= QUIET && !traffic.is_answering()
        {
            return Look::Shut;
        }
        Look::Fine
    }

    /// Why the library hasn't taken a head, in Envoy's terms.
    fn why_refused(&self, too_large: bool, head_bytes: usize) -> Refusal {
        let scanner = self.traffic.scanner.borrow();
        if too_large || scanner.headers() > MAX_HEADERS || scanner.head_bytes() > head_bytes {
            let many = scanner.headers() > MAX_HEADERS;
            return Refusal::HeadersTooLarge(if many {
                "http1.too_many_headers"
            } else {
                "http1.headers_too_large"
            });
        }
        if scanner.is_old() {
            return Refusal::LowVersion;
        }
        Refusal::Codec(if scanner.has_control() {
            "http1.invalid_characters"
        } else {
            "http1.codec_error"
        })
    }
}

/// The answer to a request that the library hasn't taken, as it goes over the wire.
async fn refused(connection: &Connection, refusal: Refusal) -> String {
    let client = connection.client();
    let record = Record::new(client.peer.remote);
    let mut exchange = Exchange::refused(client, record, &Reply::refusal(refusal));
    let mut answer = String::new();
    while let Some(part) = poll_fn(|cx| exchange.poll(cx)).await {
        match part {
            Part::Head(status, headers, end) => {
                answer += &format!("HTTP/1.1 {status}\r\n");
                for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(b":")) {
                    let text = String::from_utf8_lossy;
                    answer += &format!("{}: {}\r\n", text(name), text(value));
                }
                if end {
                    answer += "content-length: 0\r\n";
                }
                answer += "connection: close\r\n\r\n";
            }
            Part::Data(data, _) => answer += &String::from_utf8_lossy(&data),
            Part::Trailers(_) | Part::Reset => {}
        }
    }
    answer
}

/// Reads what a client may still be sending for a while: closing a socket with unread data resets it,
/// and the client might never see the response.
async fn linger(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
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
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ClientBody>, Broken> {
    let head = connection.traffic.begin();
    let client = connection.client();
    let (parts, body) = request.into_parts();
    let http2 = parts.version == Version::HTTP_2;
    let local = &client.local;
    let manager = &client.listener().manager;
    let inspector = local.config.inspector.as_ref();
    let tape = inspector.map(|inspector| Tape::begin(inspector, &parts, client.listener));
    let taken = if head.two_lengths {
        let details = "http1.content_length_and_chunked_not_allowed";
        Err(Refusal::Codec(details))
    } else if head.fragment {
        Err(Refusal::Fragment)
    } else {
        request_head(&parts, manager, &client.peer, || local.random.uuid())
    };
    let exchange = match taken {
        Ok((headers, remote)) => {
            let body = (!body.is_end_stream()).then_some(body);
            let mut record = Record::new(remote);
            if http2 {
                record.protocol = "HTTP/2";
            }
            Exchange::new(Rc::clone(&client), headers, body, record)
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
    let (mut response, dropped) = client_response(status, &headers, ClientBody::new(&connection));
    for name in dropped {
        eprintln!("[warning] a response header can't be written and is left out: {name}");
    }
    let rest = if end {
        Some(Bytes::new())
    } else {
        exchange.take_rest()
    };
    let mut close = exchange.close_after || connection.closing.get();
    if exchange.is_request_unread() && (rest.is_some() || !exchange.wants_request()) {
        connection.unread.set(true);
        close = true;
    }
    if close && !http2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response.body_mut().kind = match rest {
        // A 304 may tell the length of what it stands for, which hyper writes for a body alone.
        Some(data) if data.is_empty() && status != StatusCode::NOT_MODIFIED => Kind::Empty,
        Some(data) => Kind::Last(data),
        None if exchange.wants_request() => {
            // The client may be sending for as long as it isn't reading: the request must go on
            // even if nobody asks for the response.
            let (writer, reader) = pipe();
            spawn_local(drive(exchange, writer, connection));
            Kind::Piped(reader)
        }
        None => Kind::Live(exchange),
    };
    Ok(response)
}

/// The body of a response on its way to the client.
struct ClientBody {
    kind: Kind,
    traffic: Rc<Traffic>,
}

enum Kind {
    Empty,
    /// The rest of it is known.
    Last(Bytes),
    /// It comes as it is asked for.
    Live(Box<Exchange>),
    /// It comes from a task.
    Piped(PipeReader),
}

impl ClientBody {
    fn new(connection: &Connection) -> Self {
        Self {
            kind: Kind::Empty,
            traffic: Rc::clone(&connection.traffic),
        }
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        self.traffic.give();
    }
}

/// Carries an exchange on whose request is still coming in.
async fn drive(mut exchange: Box<Exchange>, writer: PipeWriter, connection: Rc<Connection>) {
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
    // Anything else, and dropping the writer before its end, breaks the response off.
    loop {
        match next.as_mut().await {
            Some(Part::Data(data, end)) => {
                writer.push(data);
                if !end {
                    continue;
                }
                drop(next);
                connection.unread.set(exchange.is_request_unread());
                writer.end();
            }
            Some(Part::Trailers(trailers)) => {
                drop(next);
                connection.unread.set(exchange.is_request_unread());
                writer.end_with(trailer_map(&trailers));
            }
            _ => {}
        }
        return;
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let kind = &mut self.kind;
        match kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Last(data) => {
                let data = std::mem::take(data);
                *kind = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Kind::Piped(reader) => reader.poll_frame(cx),
            Kind::Live(exchange) => match exchange.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Part::Data(data, end))) => {
                    if end {
                        *kind = Kind::Empty;
                        if data.is_empty() {
                            return Poll::Ready(None);
                        }
                    }
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Poll::Ready(Some(Part::Trailers(trailers))) => {
                    *kind = Kind::Empty;
                    Poll::Ready(Some(Ok(Frame::trailers(trailer_map(&trailers)))))
                }
                Poll::Ready(_) => {
                    *kind = Kind::Empty;
                    Poll::Ready(Some(Err(Broken)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Piped(reader) => reader.is_done(),
            Kind::Last(_) | Kind::Live(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            // A content-length that a plugin has set counts, right or wrong.
            Kind::Last(_) | Kind::Live(_) | Kind::Piped(_) => SizeHint::default(),
        }
    }
}
