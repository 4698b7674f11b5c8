//! The upstream and the services of a scenario as servers on loopback: they answer by the script,
//! keep what came, and count bytes, so that it can be told when nothing is under way.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::net::TcpSocket;

use crate::headers::Headers;
use crate::host::{Answer, Received};
use crate::scenario::{AnswerFields, CalloutReply, Scenario, Script, UPSTREAM};

use super::http1::{Head, Lines};

/// Running servers; they end with the value.
pub(super) struct Servers {
    /// Clusters in the order of the scenario, the upstream first; none has an address without host.
    clusters: Vec<(String, Option<SocketAddr>)>,
    shared: Arc<Shared>,
    acceptors: Vec<(SocketAddr, JoinHandle<()>)>,
    /// Sockets that have a port and don't listen at it.
    _silent: Vec<TcpSocket>,
}

struct Shared {
    state: Mutex<State>,
    over: AtomicBool,
}

struct State {
    upstream: Script,
    services: Script,
    received: Vec<Received>,
    /// Requests that are not answered, and where an answer would go to.
    held: Vec<(u64, Received, TcpStream)>,
    traffic: Traffic,
    /// Threads that are at work, not waiting for Envoy.
    busy: usize,
    last_connection: u64,
}

/// What has passed between Envoy and servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Open connections.
    pub(super) connections: u64,
    /// Bytes that came from Envoy.
    pub(super) read: u64,
    /// Bytes that went to Envoy.
    pub(super) written: u64,
}

impl Servers {
    /// Starts to listen on free ports.
    pub(super) fn start(scenario: &Scenario) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                upstream: Script::new(&scenario.upstreams),
                services: Script::of_callouts(&scenario.callouts),
                received: Vec::new(),
                held: Vec::new(),
                traffic: Traffic::default(),
                busy: 0,
                last_connection: 0,
            }),
            over: AtomicBool::new(false),
        });
        let mut servers = Self {
            clusters: Vec::new(),
            shared,
            acceptors: Vec::new(),
            _silent: Vec::new(),
        };
        servers.listen(UPSTREAM)?;
        for block in &scenario.callouts {
            if servers
                .clusters
                .iter()
                .any(|(name, _)| *name == block.cluster)
            {
                continue;
            }
            match block.reply {
                Some(CalloutReply::NoHost) => servers.clusters.push((block.cluster.clone(), None)),
                Some(CalloutReply::Refused) => servers.refuse(&block.cluster)?,
                _ => servers.listen(&block.cluster)?,
            }
        }
        Ok(servers)
    }

    fn listen(&mut self, cluster: &str) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::clone(&self.shared);
        let name: Arc<str> = cluster.into();
        let acceptor = std::thread::spawn(move || accept(&listener, &name, &shared));
        self.acceptors.push((address, acceptor));
        self.clusters.push((cluster.to_owned(), Some(address)));
        Ok(())
    }

    /// Takes a port at which no one listens, for as long as the value lives.
    fn refuse(&mut self, cluster: &str) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let _inside = runtime.enter();
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = socket.local_addr()?;
        self._silent.push(socket);
        self.clusters.push((cluster.to_owned(), Some(address)));
        Ok(())
    }

    /// The clusters and their only hosts.
    pub(super) fn clusters(&self) -> &[(String, Option<SocketAddr>)] {
        &self.clusters
    }

    /// Takes the requests that came since the last call, in the order in which they were whole.
    pub(super) fn take_received(&self) -> Vec<Received> {
        std::mem::take(&mut self.state().received)
    }

    /// What has passed until now; `None` while some answer is being made.
    pub(super) fn traffic(&self) -> Option<Traffic> {
        let state = self.state();
        (state.busy == 0).then_some(state.traffic)
    }

    /// Answers the oldest request that is held and fits; false if there is none.
    pub(super) fn answer(&self, fields: &AnswerFields) -> bool {
        let mut state = self.state();
        let fits = |(_, request, _): &(u64, Received, TcpStream)| {
            request.cluster == fields.cluster && fields.matches.fits(request)
        };
        let Some(position) = state.held.iter().position(fits) else {
            return false;
        };
        let (_, request, stream) = state.held.remove(position);
        drop(state);
        // An error is a connection that Envoy gave up, which leaves nothing to answer.
        answer(&self.shared, &stream, &request, &fields.reply.answer()).is_ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        for (address, acceptor) in self.acceptors.drain(..) {
            // Wakes the acceptor. Its connections' threads end when Envoy closes them.
            let _ = TcpStream::connect(address);
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, cluster: &Arc<str>, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.over.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let connection = {
            let mut state = lock(&shared.state);
            state.traffic.connections += 1;
            state.busy += 1;
            state.last_connection += 1;
            state.last_connection
        };
        let (shared, cluster) = (Arc::clone(shared), Arc::clone(cluster));
        std::thread::spawn(move || {
            // An error is a connection that Envoy gave up.
            let _ = serve(&stream, connection, &cluster, &shared);
            let mut state = lock(&shared.state);
            state.held.retain(|(held, ..)| *held != connection);
            state.traffic.connections -= 1;
            state.busy -= 1;
            // Closed within the lock: who sees one connection less can rely on it.
            drop(stream);
        });
    }
}

/// Reads what Envoy sends. The thread counts as idle while it waits for that.
struct Counted<'s> {
    stream: &'s TcpStream,
    shared: &'s Shared,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        lock(&self.shared.state).busy -= 1;
        let read = (&mut &*self.stream).read(buffer);
        let mut state = lock(&self.shared.state);
        state.busy += 1;
        state.traffic.read += *read.as_ref().unwrap_or(&0) as u64;
        read
    }
}

fn serve(stream: &TcpStream, connection: u64, cluster: &str, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(Counted { stream, shared });
    while let Some(head) = Head::read(&mut reader)? {
        let (body, trailers) = head.read_rest(&mut reader)?;
        let request = received(cluster, &head, body, trailers)?;
        let mut state = lock(&shared.state);
        let script = match cluster {
            UPSTREAM => &mut state.upstream,
            _ => &mut state.services,
        };
        let outcome = script.answer(&request);
        state.received.push(request.clone());
        if matches!(outcome, Answer::Never) {
            // The connection stays open until Envoy closes it.
            state.held.push((connection, request, stream.try_clone()?));
            continue;
        }
        drop(state);
        answer(shared, stream, &request, &outcome)?;
    }
    Ok(())
}

/// Does with a request what the script says.
fn answer(
    shared: &Shared,
    stream: &TcpStream,
    request: &Received,
    answer: &Answer,
) -> io::Result<()> {
    let (headers, chunks, trailers) = match answer {
        Answer::Never => return Ok(()),
        Answer::Refused | Answer::Reset => return stream.shutdown(Shutdown::Both),
        Answer::Break { headers, chunks } => (headers, chunks, &Headers::new()),
        Answer::Respond {
            headers,
            chunks,
            trailers,
        } => (headers, chunks, trailers),
    };
    let mut out = response_head(headers);
    let is_head = request.headers.first(":method") == Some(b"HEAD");
    if !is_head {
        out.extend(response_body(headers, &chunks.concat(), trailers));
    }
    // Counted first: Envoy may have read it before this thread goes on.
    lock(&shared.state).traffic.written += out.len() as u64;
    (&mut &*stream).write_all(&out)?;
    match answer {
        Answer::Break { .. } => stream.shutdown(Shutdown::Both),
        _ => Ok(()),
    }
}

fn received(cluster: &str, head: &Head, body: Vec<u8>, trailers: Lines) -> io::Result<Received> {
    let mut line = head.start.split(' ');
    let (Some(method), Some(path)) = (line.next(), line.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut headers: Headers = [(":method", method), (":path", path)].into_iter().collect();
    for (name, value) in &head.headers {
        headers.append(name, value);
    }
    Ok(Received {
        cluster: cluster.to_owned(),
        headers,
        body: Bytes::from(body),
        trailers: trailers.into_iter().collect(),
        bare: false,
    })
}

fn response_head(headers: &Headers) -> Vec<u8> {
    let status = headers.text(":status").unwrap_or_default();
    let mut out = format!("HTTP/1.1 {status} \r\n").into_bytes();
    for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(b":")) {
        out.extend([name, b": ", value, b"\r\n"].concat());
    }
    out.extend(b"\r\n");
    out
}

fn response_body(headers: &Headers, body: &[u8], trailers: &Headers) -> Vec<u8> {
    if headers.first("transfer-encoding") != Some(b"chunked") {
        return body.to_vec();
    }
    let mut out = Vec::new();
    if !body.is_empty() {
        out.extend(format!("{:x}\r\n", body.len()).into_bytes());
        out.extend([body, b"\r\n"].concat());
    }
    out.extend(b"0\r\n");
    for (name, value) in trailers.iter() {
        out.extend([name, b": ", value, b"\r\n"].concat());
    }
    out.extend(b"\r\n");
    out
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
