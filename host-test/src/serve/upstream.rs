//! Sending a request to an endpoint of a cluster, over a connection that waits or a new one.

use std::error::Error as _;
use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::body::UpstreamBody;
use super::cluster::{Endpoint, Endpoints};
use super::host::Held;

/// A response has begun.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
}

/// Why there is no response, in the terms of Envoy's replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No connection could be made; the system's words.
    Connect(String),
    /// The connection took too long to be made.
    ConnectTimeout,
    /// The cluster has no endpoint.
    NoHost,
    /// A limit of the cluster was reached.
    Overflow,
    /// What came isn't HTTP.
    Protocol,
    /// The upstream refused the stream of HTTP/2.
    RefusedStream,
    /// The upstream reset the stream of HTTP/2.
    Reset,
    /// The connection ended before a response.
    Terminated,
}

impl Cause {
    /// The status that the failure counts as when hosts are judged.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::NoHost | Self::Overflow => None,
            _ => Some(503),
        }
    }
}

/// A connection in use, and the count of requests that it stands for.
pub(super) struct Lease {
    /// `None` for HTTP/2, whose connection is shared.
    sender: Option<http1::SendRequest<UpstreamBody>>,
    active: Active,
}

impl Lease {
    /// Gives the connection back: the response was read to its end, and the request was written to
    /// its end. A lease that is just dropped closes its connection.
    pub(super) fn give_back(self) {
        if let Some(sender) = self.sender
            && !sender.is_closed()
        {
            self.active.endpoint.idle.borrow_mut().push(sender);
            self.active.cluster.freed.notify_one();
        }
    }
}

/// Counts a request as on its way for as long as it lives.
struct Active {
    cluster: Rc<Endpoints>,
    endpoint: Rc<Endpoint>,
    _held: Held,
}

impl Active {
    fn new(cluster: &Rc<Endpoints>, endpoint: &Rc<Endpoint>, held: Held) -> Self {
        endpoint.active.set(endpoint.active.get() + 1);
        let numbers = &endpoint.host.numbers;
        numbers.active_requests.fetch_add(1, Ordering::Relaxed);
        cluster.stats.active_requests.increment();
        Self {
            cluster: Rc::clone(cluster),
            endpoint: Rc::clone(endpoint),
            _held: held,
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.endpoint.active.set(self.endpoint.active.get() - 1);
        let numbers = &self.endpoint.host.numbers;
        numbers.active_requests.fetch_sub(1, Ordering::Relaxed);
        self.cluster.stats.active_requests.decrement();
    }
}

/// Sends a request to an endpoint of a cluster and waits for the head of the response.
pub(super) async fn send(
    cluster: Rc<Endpoints>,
    endpoint: Rc<Endpoint>,
    request: Request<UpstreamBody>,
) -> Result<Answer, Cause> {
    let limit = cluster.group.cluster.limits.requests;
    let Some(held) = cluster.group.hold(|usage| &usage.requests, limit) else {
        return Err(overflow(&cluster));
    };
    let active = Active::new(&cluster, &endpoint, held);
    if cluster.group.cluster.protocol.http2 {
        send_http2(&cluster, &endpoint, active, request).await
    } else {
        send_http1(&cluster, &endpoint, active, request).await
    }
}

fn overflow(cluster: &Endpoints) -> Cause {
    cluster.stats.pending_overflow.increment();
    Cause::Overflow
}

fn count(cluster: &Endpoints, endpoint: &Endpoint) {
    cluster.stats.requests.increment();
    endpoint
        .host
        .numbers
        .requests
        .fetch_add(1, Ordering::Relaxed);
}

async fn send_http1(
    cluster: &Rc<Endpoints>,
    endpoint: &Rc<Endpoint>,
    active: Active,
    mut request: Request<UpstreamBody>,
) -> Result<Answer, Cause> {
    let mut counted = false;
    loop {
        let waiting = endpoint.idle.borrow_mut().pop();
        let (mut sender, reused) = match waiting {
            Some(mut sender) => {
                // A connection that the upstream has closed meanwhile; take the next.
                if sender.is_closed() || sender.ready().await.is_err() {
                    continue;
                }
                (sender, true)
            }
            None => match connection(cluster, endpoint).await? {
                Some(sender) => (sender, false),
                None => continue,
            },
        };
        if !std::mem::replace(&mut counted, true) {
            count(cluster, endpoint);
        }
        match sender.try_send_request(request).await {
            Ok(response) => {
                let lease = Lease {
                    sender: Some(sender),
                    active,
                };
                return Ok(Answer { response, lease });
            }
            Err(mut error) => {
                // Nothing of it was sent: the connection was closed just before.
                if let Some(unsent) = error.take_message()
                    && reused
                {
                    request = unsent;
                    continue;
                }
                let error = error.into_error();
                return Err(if error.is_parse() {
                    Cause::Protocol
                } else {
                    Cause::Terminated
                });
            }
        }
    }
}

/// How long a request that waits for a connection looks after those of other workers.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A new connection of HTTP/1.1, or `None` if one may have become free.
async fn connection(
    cluster: &Rc<Endpoints>,
    endpoint: &Rc<Endpoint>,
) -> Result<Option<http1::SendRequest<UpstreamBody>>, Cause> {
    let limits = cluster.group.cluster.limits;
    let Some(_pending) = cluster.group.hold(|usage| &usage.pending, limits.pending) else {
        return Err(overflow(cluster));
    };
    let held = loop {
        let held = cluster
            .group
            .hold(|usage| &usage.connections, limits.connections);
        if let Some(held) = held {
            break held;
        }
        // A worker may always have one, as in Envoy: else its requests might wait for ever.
        if endpoint.open.get() == 0 {
            break cluster.group.hold_anyway(|usage| &usage.connections);
        }
        let _ = tokio::time::timeout(LOOK_AGAIN, cluster.freed.notified()).await;
        if !endpoint.idle.borrow().is_empty() {
            return Ok(None);
        }
    };
    let stream = connect(cluster, endpoint).await?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|_| Cause::Terminated)?;
    run(cluster, endpoint, held, async move {
        // Its errors reach the request that is on the connection.
        let _ = connection.await;
    });
    Ok(Some(sender))
}

/// Lets a connection run beside the others of this worker.
fn run(
    cluster: &Rc<Endpoints>,
    endpoint: &Rc<Endpoint>,
    held: Held,
    connection: impl Future<Output = ()> + 'static,
) {
    let (cluster, endpoint) = (Rc::clone(cluster), Rc::clone(endpoint));
    endpoint.open.set(endpoint.open.get() + 1);
    let numbers = &endpoint.host.numbers;
    numbers.active_connections.fetch_add(1, Ordering::Relaxed);
    cluster.stats.active_connections.increment();
    spawn_local(async move {
        connection.await;
        drop(held);
        endpoint.open.set(endpoint.open.get() - 1);
        let numbers = &endpoint.host.numbers;
        numbers.active_connections.fetch_sub(1, Ordering::Relaxed);
        cluster.stats.active_connections.decrement();
        cluster.freed.notify_one();
    });
}

async fn connect(cluster: &Endpoints, endpoint: &Endpoint) -> Result<TcpStream, Cause> {
    let stats = &cluster.stats;
    let numbers = &endpoint.host.numbers;
    stats.connections.increment();
    numbers.connections.fetch_add(1, Ordering::Relaxed);
    let connecting = TcpStream::connect(endpoint.host.address);
    let limit = cluster.group.cluster.connect_timeout;
    let failed = || {
        stats.connect_failures.increment();
        numbers.connect_failures.fetch_add(1, Ordering::Relaxed);
    };
    match tokio::time::timeout(limit, connecting).await {
        Ok(Ok(stream)) => {
            // Requests are written whole: waiting for more would only delay them.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => {
            failed();
            Err(Cause::Connect(words(&error)))
        }
        Err(_) => {
            failed();
            stats.connect_timeouts.increment();
            Err(Cause::ConnectTimeout)
        }
    }
}

/// Spawns the tasks of HTTP/2 on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here;

impl<F: Future + 'static> Executor<F> for Here {
    fn execute(&self, future: F) {
        spawn_local(async move {
            let _ = future.await;
        });
    }
}

async fn send_http2(
    cluster: &Rc<Endpoints>,
    endpoint: &Rc<Endpoint>,
    active: Active,
    mut request: Request<UpstreamBody>,
) -> Result<Answer, Cause> {
    let mut counted = false;
    loop {
        let (mut sender, reused) = shared(cluster, endpoint).await?;
        if !std::mem::replace(&mut counted, true) {
            count(cluster, endpoint);
        }
        match sender.try_send_request(request).await {
            Ok(response) => {
                let lease = Lease {
                    sender: None,
                    active,
                };
                return Ok(Answer { response, lease });
            }
            Err(mut error) => {
                if let Some(unsent) = error.take_message()
                    && reused
                {
                    request = unsent;
                    continue;
                }
                return Err(broken(&error.into_error()));
            }
        }
    }
}

/// The connection of HTTP/2, made if there is none.
async fn shared(
    cluster: &Rc<Endpoints>,
    endpoint: &Rc<Endpoint>,
) -> Result<(http2::SendRequest<UpstreamBody>, bool), Cause> {
    let mut shared = endpoint.shared.lock().await;
    if let Some(sender) = &*shared
        && !sender.is_closed()
    {
        return Ok((sender.clone(), true));
    }
    *shared = None;
    let limits = cluster.group.cluster.limits;
    let Some(_pending) = cluster.group.hold(|usage| &usage.pending, limits.pending) else {
        return Err(overflow(cluster));
    };
    let held = cluster.group.hold_anyway(|usage| &usage.connections);
    let stream = connect(cluster, endpoint).await?;
    let handshake = http2::Builder::new(Here)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = handshake.map_err(|_| Cause::Terminated)?;
    run(cluster, endpoint, held, async move {
        let _ = connection.await;
    });
    *shared = Some(sender.clone());
    Ok((sender, false))
}

/// What an error of HTTP/2 before a response means.
fn broken(error: &hyper::Error) -> Cause {
    // The library's error isn't public here; its words are those of RFC 9113, section 7.
    let words = error.source().map(ToString::to_string).unwrap_or_default();
    if words.contains("refused stream") {
        Cause::RefusedStream
    } else if words.contains("stream error received") {
        Cause::Reset
    } else if words.contains("protocol error") || words.contains("frame") {
        Cause::Protocol
    } else {
        Cause::Terminated
    }
}

/// The system's text of an error without its number.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_owned()
}
