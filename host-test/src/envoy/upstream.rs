//! The upstream of a scenario as a server on loopback: answers by the script and keeps what came.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

use crate::headers::Headers;
use crate::host::{Answer, Received};
use crate::scenario::{Script, UPSTREAM};

use super::http1::Head;

/// A running upstream; it ends with the value.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    script: Mutex<Script>,
    received: Mutex<Vec<Received>>,
    over: AtomicBool,
}

impl Upstream {
    /// Starts to listen on a free port.
    pub(super) fn start(script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            received: Mutex::new(Vec::new()),
            over: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, &for_thread));
        Ok(Self {
            address,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// Takes the requests that came since the last call.
    pub(super) fn take_received(&self) -> Vec<Received> {
        std::mem::take(&mut lock(&self.shared.received))
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        // Wakes the acceptor. Its connections' threads end when Envoy closes them.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.over.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // An error is a connection that Envoy gave up.
            let _ = serve(stream, &shared);
        });
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut reader)? {
        let body = head.read_body(&mut reader)?;
        let request = received(head, body)?;
        let answer = lock(&shared.script).answer(&request);
        let is_head = request.headers.first(":method") == Some(b"HEAD");
        lock(&shared.received).push(request);
        match answer {
            Answer::Refused | Answer::Reset => return Ok(()),
            Answer::Break { headers, chunks } => {
                let mut out = response_head(&headers);
                out.extend(chunks.concat());
                return (&stream).write_all(&out);
            }
            // Held open until Envoy closes it.
            Answer::Never => {}
            Answer::Respond {
                headers, chunks, ..
            } => {
                let mut out = response_head(&headers);
                if !is_head {
                    out.extend(chunks.concat());
                }
                (&stream).write_all(&out)?;
            }
        }
    }
    Ok(())
}

fn received(head: Head, body: Vec<u8>) -> io::Result<Received> {
    let mut line = head.start.split(' ');
    let (Some(method), Some(path)) = (line.next(), line.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut headers: Headers = [(":method", method), (":path", path)].into_iter().collect();
    for (name, value) in &head.headers {
        headers.append(name, value);
    }
    Ok(Received {
        cluster: UPSTREAM.to_owned(),
        headers,
        body: Bytes::from(body),
        trailers: Headers::new(),
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
