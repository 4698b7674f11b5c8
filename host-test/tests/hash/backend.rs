//! Hosts that say who they are, count what they serve, and can die and come back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use crate::ports::unused_address;

/// A host.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    running: Option<Running>,
}

/// What a host has seen, and what it answers.
#[derive(Default)]
pub(crate) struct Seen {
    in_flight: AtomicUsize,
    /// Heads of requests, if they are kept.
    heads: Mutex<Vec<String>>,
    /// Requests to `/slow…` wait for this.
    gate: Mutex<bool>,
    opened: Condvar,
    /// The answer to requests to `/discovery`; none is no answer.
    pub(crate) answer: Mutex<Option<(u16, String)>>,
    /// How often that was asked for.
    asked: AtomicUsize,
}

struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Backend {
    pub(crate) fn start() -> Self {
        let mut backend = Self {
            address: unused_address(),
            seen: Arc::default(),
            running: None,
        };
        backend.revive();
        backend
    }

    /// Requests that it serves at the moment.
    pub(crate) fn in_flight(&self) -> usize {
        self.seen.in_flight.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> &Arc<Seen> {
        &self.seen
    }

    /// Takes the heads of the requests since the last call.
    pub(crate) fn take_heads(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.heads.lock().expect("no panic"))
    }

    /// Dies: refuses connections and breaks those that are open.
    pub(crate) fn kill(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.stop.store(true, Ordering::SeqCst);
        // Wakes the thread; it drops the listener.
        let _ = TcpStream::connect(self.address);
        running.thread.join().expect("no panic");
        for connection in running.connections.lock().expect("no panic").drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Lives again, at the same address.
    pub(crate) fn revive(&mut self) {
        let listener = TcpListener::bind(self.address).expect("the port is still ours");
        let stop = Arc::new(AtomicBool::new(false));
        let connections: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (seen, stopped) = (Arc::clone(&self.seen), Arc::clone(&stop));
        let open = Arc::clone(&connections);
        let port = self.address.port();
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                open.lock().expect("no panic").extend(stream.try_clone());
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(stream, &seen, port));
            }
        });
        self.running = Some(Running {
            stop,
            thread,
            connections,
        });
    }
}

impl Seen {
    /// Lets slow requests end, those to come too; or makes those to come wait.
    pub(crate) fn open_gate(&self, open: bool) {
        *self.gate.lock().expect("no panic") = open;
        self.opened.notify_all();
    }

    /// What `/discovery` is answered from now on.
    pub(crate) fn answer(&self, answer: Option<(u16, String)>) {
        *self.answer.lock().expect("no panic") = answer;
    }

    /// How often `/discovery` was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, seen: &Seen, port: u16) {
    let mut stream = BufReader::new(stream);
    while let Some(head) = read_head(&mut stream) {
        if read_body(&mut stream, &head).is_none() {
            return;
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let (mut status, mut body) = (200, port.to_string());
        if path == "/discovery" {
            seen.asked.fetch_add(1, Ordering::SeqCst);
            let answer = seen.answer.lock().expect("no panic").clone();
            match answer {
                Some(answer) => (status, body) = answer,
                None => return,
            }
        } else if path != "/health" {
            seen.in_flight.fetch_add(1, Ordering::SeqCst);
            seen.heads.lock().expect("no panic").push(head.clone());
            if path.starts_with("/slow") {
                let gate = seen.gate.lock().expect("no panic");
                drop(seen.opened.wait_while(gate, |open| !*open));
            }
            // Before the answer: the client may look right after it.
            seen.in_flight.fetch_sub(1, Ordering::SeqCst);
        }
        let answer = format!(
            "HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.get_ref().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read_head(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

fn read_body(stream: &mut BufReader<TcpStream>, head: &str) -> Option<()> {
    let header = |name: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let skip = |stream: &mut BufReader<TcpStream>, len: usize| {
        let mut bytes = vec![0; len];
        stream.read_exact(&mut bytes).ok()
    };
    if let Some(length) = header("content-length") {
        return skip(stream, length.parse().ok()?);
    }
    if header("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
            skip(stream, size + 2)?;
            if size == 0 {
                break;
            }
        }
    }
    Some(())
}
