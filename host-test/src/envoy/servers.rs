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

use super::grpc_server;
use super::http1::{Head, Lines};

/// Running servers; they end with the value.
pub(super) struct Servers {
    /// In the order of the scenario, the upstream first.
    clusters: Vec<Cluster>,
    shared: Arc<Shared>,
    acceptors: Vec<(SocketAddr, JoinHandle<()>)>,
    /// Sockets that have a port and don't listen at it.
    _silent: Vec<TcpSocket>,
}

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    over: AtomicBool,
}

impl Shared {
    /// Whether the servers are to end.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

pub(super) struct State {
    upstream: Script,
    pub(super) services: Script,
    pub(super) received: Vec<Received>,
    /// Requests that are not answered, and where an answer would go to.
    held: Vec<(u64, Received, TcpStream)>,
    /// The same of gRPC services.
    pub(super) held_rpcs: Vec<grpc_server::Held>,
    pub(super) traffic: Traffic,
    /// Some connection was broken off: what was on its way in it is never read.
    pub(super) broke_off: bool,
    /// Threads that are at work, not waiting for Envoy.
    pub(super) busy: usize,
    pub(super) last_connection: u64,
}

/// A cluster and its only host.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) host: Option<SocketAddr>,
    /// Whether it speaks gRPC over HTTP/2.
    pub(super) grpc: bool,
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
                held_rpcs: Vec::new(),
                traffic: Traffic::default(),
                broke_off: false,
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
        servers.listen(UPSTREAM, false)?;
        for block in &scenario.callouts {
            if servers
                .clusters
                .iter()
                .any(|cluster| cluster.name == block.cluster)
            {
                continue;
            }
            match block.reply {
                Some(CalloutReply::NoHost) => servers.add(&block.cluster, None, block.grpc),
                Some(CalloutReply::Refused) => servers.refuse(&block.cluster, block.grpc)?,
                _ => servers.listen(&block.cluster, block.grpc)?,
            }
        }
        Ok(servers)
    }

    fn add(&mut self, name: &str, host: Option<SocketAddr>, grpc: bool) {
        self.clusters.push(Cluster {
            name: name.to_owned(),
            host,
            grpc,
        });
    }

    fn listen(&mut self, cluster: &str, grpc: bool) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::clone(&self.shared);
        let name: Arc<str> = cluster.into();
        let acceptor = std::thread::spawn(move || match grpc {
            true => grpc_server::run(listener, name, shared),
            false => accept(&listener, &name, &shared),
        });
        self.acceptors.push((address, acceptor));
        self.add(cluster, Some(address), grpc);
        Ok(())
    }

    /// Takes a port at which no one listens, for as long as the value lives.
    fn refuse(&mut self, cluster: &str, grpc: bool) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let _inside = runtime.enter();
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = socket.local_addr()?;
        self._silent.push(socket);
        self.add(cluster, Some(address), grpc);
        Ok(())
    }

    /// The clusters and their only hosts.
    pub(super) fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// Takes the requests that came since the last call, in the order in which they were whole.
    pub(super) fn take_received(&self) -> Vec<Received> {
        std::mem::take(&mut self.state().received)
    }

    /// Whether no answer is being made, and Envoy has seen the same as the servers. With `long` it
    /// has seen nothing new for long: then the bytes needn't agree once a connection was broken off.
    pub(super) fn agree(&self, envoy: Traffic, long: bool) -> bool {
        let state = self.state();
        let connections = state.traffic.connections == envoy.connections;
        let lost = long && state.broke_off && connections;
        state.busy == 0 && (state.traffic == envoy || lost)
    }

    /// Answers the oldest request that is held and fits; false if there is none.
    pub(super) fn answer(&self, fields: &AnswerFields) -> bool {
        let mut state = self.state();
        let fits = |(_, request, _): &(u64, Received, TcpStream)| {
            request.cluster == fields.cluster && fields.matches.fits(request)
        };
        let Some(position) = state.held.iter().position(fits) else {
            let fits = |held: &&grpc_server::Held| {
                held.request.cluster == fields.cluster && fields.matches.fits(&held.request)
            };
            let commands = state
                .held_rpcs
                .iter()
                .find(fits)
                .map(|held| held.commands.clone());
            drop(state);
            return commands.is_some_and(|commands| {
                let (taken, is_taken) = std::sync::mpsc::channel();
                // From then on the service is busy until the answer is out.
                commands.send((fields.reply.answer(), taken)).is_ok() && is_taken.recv().is_ok()
            });
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
        if shared.is_over() {
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
        if matches!(outcome, Answer::Never | Answer::Open { .. }) {
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
        Answer::Never | Answer::Open { .. } => return Ok(()),
        Answer::Refused | Answer::Reset => {
            lock(&shared.state).broke_off = true;
            return stream.shutdown(Shutdown::Both);
        }
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
        Answer::Break { .. } => {
            lock(&shared.state).broke_off = true;
            stream.shutdown(Shutdown::Both)
        }
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
