//! Upstreams that do as a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// An upstream; its threads end with the test's process.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// One connection to an upstream.
pub(crate) struct Connection {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Upstream {
    /// Serves each connection with `serve`.
    pub(crate) fn new(serve: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                let stream = BufReader::new(stream);
                thread::spawn(move || serve(Connection { stream }));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// Answers 200 with the request as it came: its head, then its body.
    pub(crate) fn echo() -> Self {
        Self::new(|mut connection| {
            while let Some(head) = connection.head() {
                let body = connection.body(&head);
                connection.send(&format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}{body}",
                    head.len() + body.len()
                ));
            }
        })
    }

    /// Answers each request with these bytes.
    pub(crate) fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::new(move |mut connection| {
            while let Some(head) = connection.head() {
                connection.body(&head);
                connection.send(&answer);
            }
        })
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Connection {
    /// Reads a request's head with its empty line; `None` if the gateway closes.
    pub(crate) fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        loop {
            let read = self.stream.read_line(&mut head).ok()?;
            if read == 0 {
                return None;
            }
            if head.ends_with("\r\n\r\n") {
                return Some(head);
            }
        }
    }

    /// Reads the body that a head announces; chunks are put together.
    pub(crate) fn body(&mut self, head: &str) -> String {
        if let Some(length) = header(head, "content-length") {
            return self.bytes(length.parse().expect("a length"));
        }
        let mut body = String::new();
        if header(head, "transfer-encoding").is_some() {
            while let Some(piece) = self.chunk() {
                body.push_str(&piece);
            }
        }
        body
    }

    /// Reads a chunk; `None` at the end.
    pub(crate) fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        self.stream.read_line(&mut size).expect("a chunk");
        let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
        let piece = self.bytes(size);
        self.bytes(2);
        (size > 0).then_some(piece)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).expect("it comes");
        String::from_utf8(bytes).expect("text")
    }

    /// What else comes until the gateway closes or resets the connection.
    pub(crate) fn drain(&mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new());
    }

    pub(crate) fn send(&self, bytes: &str) {
        // The gateway may have gone away, which some tests are about.
        let _ = self.stream.get_ref().write_all(bytes.as_bytes());
    }
}

/// The first value of a header in a head.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(": ")?;
        (known == name).then_some(value)
    })
}
