//! A client's socket as the HTTP library sees it, and what passes through it.
//!
//! The library answers requests that it can't parse by itself and says nothing of it. Here it is
//! seen: bytes that are written while no request is being answered are such an answer, and are
//! swallowed, so that the gateway can answer as Envoy does.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::scan::{Head, Scanner};

/// What is known of a connection's bytes.
#[derive(Debug)]
pub(super) struct Traffic {
    /// A request is being answered, or its answer isn't written whole.
    answering: Cell<bool>,
    /// The answer has been given to the library whole.
    given: Cell<bool>,
    /// The library has tried to answer by itself.
    refused: Cell<bool>,
    /// When bytes came or went last.
    last: Cell<Instant>,
    /// When the head that isn't whole yet began.
    head_since: Cell<Option<Instant>>,
    heads: RefCell<VecDeque<Head>>,
    pub(super) scanner: RefCell<Scanner>,
    /// Of HTTP/2 nothing but the times is looked at.
    http2: Cell<bool>,
}

impl Traffic {
    pub(super) fn new(http2: bool) -> Rc<Self> {
        Rc::new(Self {
            answering: Cell::new(false),
            given: Cell::new(false),
            refused: Cell::new(false),
            last: Cell::new(Instant::now()),
            head_since: Cell::new(None),
            heads: RefCell::default(),
            scanner: RefCell::default(),
            http2: Cell::new(http2),
        })
    }

    /// A request has come; tells what its head has.
    pub(super) fn begin(&self) -> Head {
        self.answering.set(true);
        self.given.set(false);
        self.heads.borrow_mut().pop_front().unwrap_or_default()
    }

    /// The library has the whole answer.
    pub(super) fn give(&self) {
        self.given.set(true);
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.get()
    }

    /// Whether no request is being answered and none has begun.
    pub(super) fn is_idle(&self) -> bool {
        !self.answering.get() && !self.scanner.borrow().is_within_head()
    }

    pub(super) fn is_answering(&self) -> bool {
        self.answering.get()
    }

    pub(super) fn last(&self) -> Instant {
        self.last.get()
    }

    pub(super) fn head_since(&self) -> Option<Instant> {
        self.head_since.get()
    }

    pub(super) fn read(&self, bytes: &[u8]) {
        let now = Instant::now();
        self.last.set(now);
        if self.http2.get() || bytes.is_empty() {
            return;
        }
        let mut scanner = self.scanner.borrow_mut();
        scanner.read(bytes, |head| self.heads.borrow_mut().push_back(head));
        if !scanner.is_within_head() {
            self.head_since.set(None);
        } else if self.head_since.get().is_none() {
            self.head_since.set(Some(now));
        }
    }
}

/// The socket.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    /// Read already, while it was found out what the client speaks.
    before: Vec<u8>,
    traffic: Rc<Traffic>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, before: Vec<u8>, traffic: Rc<Traffic>) -> Self {
        traffic.read(&before);
        Self {
            stream,
            before,
            traffic,
        }
    }

    /// Whether what is written now is the library's own answer.
    fn is_refusal(&self) -> bool {
        !self.traffic.http2.get() && !self.traffic.answering.get()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let length = self.before.len().min(buffer.remaining());
            let rest = self.before.split_off(length);
            buffer.put_slice(&self.before);
            self.before = rest;
            return Poll::Ready(Ok(()));
        }
        let filled = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let new = buffer.filled().get(filled..).unwrap_or_default();
        self.traffic.read(new);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_refusal() {
            self.traffic.refused.set(true);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.traffic.last.set(Instant::now());
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_refusal() {
            self.traffic.refused.set(true);
            return Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces));
        self.traffic.last.set(Instant::now());
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        // The library flushes once all that it has is written.
        if self.traffic.given.get() {
            self.traffic.answering.set(false);
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.traffic.refused.get() {
            // The gateway's own answer is still to be written.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Reads until it is known whether a client begins with the preface of HTTP/2; the second part is
/// what was read.
pub(super) async fn sniff(stream: &TcpStream) -> io::Result<(bool, Vec<u8>)> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut piece) {
            Ok(0) => return Ok((false, read)),
            Ok(length) => read.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let seen = read.len().min(PREFACE.len());
        if read[..seen] != PREFACE[..seen] {
            return Ok((false, read));
        }
        if seen == PREFACE.len() {
            return Ok((true, read));
        }
    }
}
