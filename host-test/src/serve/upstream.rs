//! Sending a request to an endpoint of a cluster, over a connection that waits or a new one.

use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::UpstreamBody;
use super::cluster::Endpoint;
use super::local::Local;

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
    /// What came isn't HTTP.
    Protocol,
    /// The connection ended before a response.
    Terminated,
}

/// A connection in use, and the count of requests that it stands for.
pub(super) struct Lease {
    sender: SendRequest<UpstreamBody>,
    _active: Active,
    endpoint: Rc<Endpoint>,
}

impl Lease {
    /// Gives the connection back: the response was read to its end, and the request was written to
    /// its end. A lease that is just dropped closes its connection.
    pub(super) fn give_back(self) {
        if !self.sender.is_closed() {
            self.endpoint.idle.borrow_mut().push(self.sender);
        }
    }
}

/// Counts a request as on its way for as long as it lives.
struct Active {
    local: Rc<Local>,
    cluster: usize,
    endpoint: Rc<Endpoint>,
}

impl Active {
    fn new(local: &Rc<Local>, cluster: usize, endpoint: &Rc<Endpoint>) -> Self {
        endpoint.active.set(endpoint.active.get() + 1);
        let stats = &local.stats.clusters[cluster];
        stats.active_requests.increment();
        Self {
            local: Rc::clone(local),
            cluster,
            endpoint: Rc::clone(endpoint),
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.endpoint.active.set(self.endpoint.active.get() - 1);
        let stats = &self.local.stats.clusters[self.cluster];
        stats.active_requests.decrement();
    }
}

/// Sends a request to an endpoint of a cluster and waits for the head of the response.
pub(super) async fn send(
    local: Rc<Local>,
    cluster: usize,
    endpoint: Rc<Endpoint>,
    mut request: Request<UpstreamBody>,
) -> Result<Answer, Cause> {
    let active = Active::new(&local, cluster, &endpoint);
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
            None => (connect(&local, cluster, &endpoint).await?, false),
        };
        if !std::mem::replace(&mut counted, true) {
            local.stats.clusters[cluster].requests.increment();
        }
        match sender.try_send_request(request).await {
            Ok(response) => {
                let lease = Lease {
                    sender,
                    _active: active,
                    endpoint,
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

/// Makes a connection and lets it run beside the others of this worker.
async fn connect(
    local: &Rc<Local>,
    cluster: usize,
    endpoint: &Endpoint,
) -> Result<SendRequest<UpstreamBody>, Cause> {
    let stats = &local.stats.clusters[cluster];
    let limit = local.config.bootstrap.clusters[cluster].connect_timeout;
    stats.connections.increment();
    let connecting = TcpStream::connect(endpoint.address);
    let stream = match tokio::time::timeout(limit, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            stats.connect_failures.increment();
            return Err(Cause::Connect(words(&error)));
        }
        Err(_) => {
            stats.connect_failures.increment();
            stats.connect_timeouts.increment();
            return Err(Cause::ConnectTimeout);
        }
    };
    // Requests are written whole: waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|_| Cause::Terminated)?;
    let local = Rc::clone(local);
    tokio::task::spawn_local(async move {
        let stats = &local.stats.clusters[cluster];
        stats.active_connections.increment();
        // Its errors reach the request that is on the connection.
        let _ = connection.await;
        stats.active_connections.decrement();
    });
    Ok(sender)
}

/// The system's text of an error without its number.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_owned()
}
