//! A gRPC service of a scenario: HTTP/2 on loopback, answered by the script. Its traffic is counted
//! with that of the other servers.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{LocalSet, spawn_local};

use super::servers::{Shared, lock};
use crate::headers::Headers;
use crate::host::{Answer, Received};

/// An answer for a request that is held, and whom to tell that it was taken.
pub(super) type Command = (Answer, std::sync::mpsc::Sender<()>);

/// A request that is held.
pub(super) struct Held {
    id: u64,
    pub(super) request: Received,
    pub(super) commands: mpsc::UnboundedSender<Command>,
}

/// What requests of one service have in common.
struct Service {
    cluster: Arc<str>,
    shared: Arc<Shared>,
}

/// Serves until the servers are over.
pub(super) fn run(listener: StdListener, cluster: Arc<str>, shared: Arc<Shared>) {
    let (parked, woken) = (Arc::clone(&shared), Arc::clone(&shared));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        // Who waits for Envoy is idle.
        .on_thread_park(move || lock(&parked.state).busy -= 1)
        .on_thread_unpark(move || lock(&woken.state).busy += 1)
        .build();
    lock(&shared.state).busy += 1;
    let service = Rc::new(Service {
        cluster,
        shared: Arc::clone(&shared),
    });
    // Without a runtime no connection is answered, and the scenario tells so.
    if let Ok(runtime) = runtime {
        LocalSet::new().block_on(&runtime, accept(listener, service));
    }
    lock(&shared.state).busy -= 1;
}

async fn accept(listener: StdListener, service: Rc<Service>) {
    let listener = listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener));
    let Ok(listener) = listener else { return };
    while let Ok((stream, _)) = listener.accept().await {
        if service.shared.is_over() {
            return;
        }
        spawn_local(serve(stream, Rc::clone(&service)));
    }
}

async fn serve(stream: TcpStream, service: Rc<Service>) {
    let shared = Arc::clone(&service.shared);
    lock(&shared.state).traffic.connections += 1;
    let counted = Counted {
        stream,
        shared: Arc::clone(&shared),
    };
    let broken = Rc::new(Notify::new());
    let handler = service_fn(|request| {
        let (service, broken) = (Rc::clone(&service), Rc::clone(&broken));
        async move { Ok::<_, Infallible>(answer(request, service, broken).await) }
    });
    let connection = http2::Builder::new(Local)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(counted), handler);
    tokio::select! {
        // An error is a connection that Envoy gave up.
        _ = connection => {}
        () = broken.notified() => {}
    }
    lock(&shared.state).traffic.connections -= 1;
}

/// Takes a request and answers it by the script.
async fn answer(
    request: Request<Incoming>,
    service: Rc<Service>,
    broken: Rc<Notify>,
) -> Response<Parts> {
    let (parts, body) = request.into_parts();
    let mut headers: Headers = [
        (":method", parts.method.as_str()),
        (":path", parts.uri.path()),
        (
            ":authority",
            parts.uri.authority().map_or("", |a| a.as_str()),
        ),
    ]
    .into_iter()
    .collect();
    for (name, value) in &parts.headers {
        headers.append(name, value);
    }
    let received = Received {
        cluster: (*service.cluster).to_owned(),
        headers,
        ..Received::default()
    };
    let (commands, mut incoming) = mpsc::unbounded_channel();
    let (scripted, id) = {
        let mut state = lock(&service.shared.state);
        state.last_connection += 1;
        let id = state.last_connection;
        let scripted = state.services.answer(&received);
        state.held_rpcs.push(Held {
            id,
            request: received.clone(),
            commands,
        });
        (scripted, id)
    };
    let call = Call {
        received,
        ended: false,
        id,
        shared: Arc::clone(&service.shared),
    };
    let reading = spawn_local(read(call, body));
    let first = match scripted {
        Answer::Never => None,
        // It begins with the stream, others when the guest has ended its side.
        open @ Answer::Open { .. } => Some(open),
        other => {
            // A request that breaks off has no one who could be answered.
            let _ = reading.await;
            Some(other)
        }
    };
    let first = match first {
        Some(first) => first,
        None => match incoming.recv().await {
            Some((answer, taken)) => {
                let _ = taken.send(());
                answer
            }
            // Envoy has given up.
            None => Answer::Never,
        },
    };
    if matches!(first, Answer::Refused | Answer::Reset) {
        lock(&service.shared.state).broke_off = true;
        broken.notify_one();
        // The connection goes, and this with it.
        return std::future::pending().await;
    }
    let (sender, parts) = mpsc::unbounded_channel();
    let mut response = Response::new(Parts(parts));
    if let Answer::Open { headers, .. }
    | Answer::Break { headers, .. }
    | Answer::Respond { headers, .. } = &first
    {
        fill(&mut response, headers);
    }
    // Without a body the headers end the answer.
    if let Answer::Respond {
        chunks, trailers, ..
    } = &first
        && chunks.is_empty()
        && trailers.is_empty()
    {
        return response;
    }
    let mut next = Some(first);
    spawn_local(async move {
        while let Some(answer) = next.take() {
            if matches!(
                answer,
                Answer::Refused | Answer::Reset | Answer::Break { .. }
            ) {
                lock(&service.shared.state).broke_off = true;
            }
            if !write(&sender, &answer, &broken) {
                return;
            }
            if let Some((answer, taken)) = incoming.recv().await {
                let _ = taken.send(());
                next = Some(answer);
            }
        }
    });
    response
}

/// Sends a part of an answer; false if it is the last.
fn write(sender: &Sender, answer: &Answer, broken: &Notify) -> bool {
    // A client that has gone away takes nothing more.
    let send = |frame| sender.send(frame).is_ok();
    let data = |chunks: &[Bytes]| {
        let data = Bytes::from(chunks.concat());
        data.is_empty() || send(Ok(Frame::data(data)))
    };
    match answer {
        Answer::Never => true,
        Answer::Open { chunks, .. } => data(chunks),
        Answer::Refused | Answer::Reset => {
            broken.notify_one();
            false
        }
        Answer::Break { chunks, .. } => {
            data(chunks);
            send(Err(io::ErrorKind::ConnectionReset.into()));
            false
        }
        Answer::Respond {
            chunks, trailers, ..
        } => {
            data(chunks);
            if !trailers.is_empty() {
                let mut response = Response::new(());
                fill(&mut response, trailers);
                send(Ok(Frame::trailers(std::mem::take(response.headers_mut()))));
            }
            false
        }
    }
}

/// Puts a map's headers, and its status, into a message.
fn fill<T>(response: &mut Response<T>, headers: &Headers) {
    for (name, value) in headers.iter() {
        if name == b":status" {
            if let Ok(status) = hyper::StatusCode::from_bytes(value) {
                *response.status_mut() = status;
            }
            continue;
        }
        let name = hyper::header::HeaderName::from_bytes(name);
        let value = hyper::header::HeaderValue::from_bytes(value);
        // What can't be a header in a scenario is left out; HTTP/2 has no place for it.
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
}

/// A request as far as it has come. It is kept once it is whole, or broken off.
struct Call {
    received: Received,
    ended: bool,
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        let received = std::mem::take(&mut self.received);
        state.received.push(received);
        if !self.ended {
            state.held_rpcs.retain(|held| held.id != self.id);
        }
    }
}

async fn read(mut call: Call, mut body: Incoming) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { break };
        if let Ok(data) = frame.into_data() {
            bytes.extend(data);
            call.received.body = Bytes::copy_from_slice(&bytes);
        }
    }
    call.ended = body.is_end_stream();
}

type Sender = mpsc::UnboundedSender<io::Result<Frame<Bytes>>>;

/// A response's body, as it is made.
struct Parts(mpsc::UnboundedReceiver<io::Result<Frame<Bytes>>>);

impl Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

/// Runs a connection's tasks in its own thread.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output: 'static> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}

/// Counts what passes.
struct Counted {
    stream: TcpStream,
    shared: Arc<Shared>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        lock(&self.shared.state).traffic.read += read as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        lock(&self.shared.state).traffic.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
