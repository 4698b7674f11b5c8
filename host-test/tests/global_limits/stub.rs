//! A server of the Rate Limit Service protocol that does as a test says, right or wrong.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// What it does with a call.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// Answers with this message.
    Message(Vec<u8>),
    /// Answers with this gRPC status.
    Status(u16),
    /// Answers with this HTTP status and a page.
    Page(u16),
    /// Never answers.
    Silence,
    /// Closes the connection as soon as it is there.
    HangUp,
    /// Says that a message is longer than it is, and ends.
    Truncated,
}

/// The server; it ends with the test's process.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    calls: Arc<AtomicUsize>,
}

impl Stub {
    pub(crate) fn start(deed: Deed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("it can");
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .expect("a runtime")
                .block_on(serve(listener, deed, counted));
        });
        Self { address, calls }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, deed: Deed, calls: Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it can");
    while let Ok((stream, _)) = listener.accept().await {
        if matches!(deed, Deed::HangUp) {
            calls.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let (deed, calls) = (deed.clone(), Arc::clone(&calls));
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                calls.fetch_add(1, Ordering::SeqCst);
                answer(request, deed.clone())
            });
            let connection = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            // Whoever calls may hang up.
            let _ = connection.await;
        });
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>, deed: Deed) -> Result<Response<Body>, Infallible> {
    let _ = request.into_body().collect().await;
    let grpc = || Response::builder().header("content-type", "application/grpc");
    let response = match deed {
        Deed::Message(message) => grpc().body(message_body(message.len(), message)),
        Deed::Truncated => grpc().body(message_body(1000, vec![8, 1])),
        Deed::Status(status) => grpc().header("grpc-status", status).body(empty()),
        Deed::Page(status) => {
            let page = Full::new(Bytes::from_static(b"<html>no</html>"));
            Response::builder().status(status).body(page.boxed())
        }
        Deed::Silence | Deed::HangUp => std::future::pending().await,
    };
    Ok(response.expect("a response"))
}

fn empty() -> Body {
    Full::new(Bytes::new()).boxed()
}

/// A message with its five bytes before and `grpc-status: 0` after it.
fn message_body(length: usize, message: Vec<u8>) -> Body {
    let mut framed = vec![0];
    framed.extend(u32::try_from(length).expect("short").to_be_bytes());
    framed.extend(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(framed));
    body.with_trailers(std::future::ready(Some(Ok(trailers))))
        .boxed()
}
