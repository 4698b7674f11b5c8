//! Bodies: of the request on its way upstream, and of the response on its way to the client.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

/// A body that can be waited for on one side and filled on the other, within one thread.
#[derive(Default)]
struct Pipe {
    pieces: VecDeque<Bytes>,
    buffered: usize,
    state: State,
    trailers: Option<HeaderMap>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// All was written.
    Ended,
    /// The writer went away before the end.
    Broken,
    /// The reader went away.
    Unread,
}

/// The end that fills a body. Dropped before [`PipeWriter::end`], it breaks the body off.
pub(super) struct PipeWriter(Rc<RefCell<Pipe>>);

/// The end that is read.
pub(super) struct PipeReader(Rc<RefCell<Pipe>>);

/// Bytes that wait before the writer should stop.
const HIGH_WATER: usize = 256 * 1024;

/// Makes the two ends of a body.
pub(super) fn pipe() -> (PipeWriter, PipeReader) {
    let pipe = Rc::new(RefCell::new(Pipe::default()));
    (PipeWriter(Rc::clone(&pipe)), PipeReader(pipe))
}

impl PipeWriter {
    /// Whether the reader keeps up; if not, the task is woken once it does.
    pub(super) fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let mut pipe = self.0.borrow_mut();
        if pipe.buffered < HIGH_WATER || pipe.state != State::Open {
            return Poll::Ready(());
        }
        pipe.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Has the task woken when the reader goes away, or keeps up again.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        self.0.borrow_mut().writer = Some(cx.waker().clone());
    }

    /// Adds a piece.
    pub(super) fn push(&self, data: Bytes) {
        let mut pipe = self.0.borrow_mut();
        if data.is_empty() || pipe.state != State::Open {
            return;
        }
        pipe.buffered += data.len();
        pipe.pieces.push_back(data);
        wake(&mut pipe.reader);
    }

    /// Ends the body.
    pub(super) fn end(self) {
        self.close(State::Ended);
    }

    /// Ends the body with trailers.
    pub(super) fn end_with(self, trailers: HeaderMap) {
        self.0.borrow_mut().trailers = Some(trailers);
        self.close(State::Ended);
    }

    /// Whether nobody will read what is written.
    pub(super) fn is_unread(&self) -> bool {
        self.0.borrow().state == State::Unread
    }

    fn close(&self, state: State) {
        let mut pipe = self.0.borrow_mut();
        if pipe.state == State::Open {
            pipe.state = state;
        }
        wake(&mut pipe.reader);
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.close(State::Broken);
    }
}

impl PipeReader {
    /// Whether the end has been written and read.
    pub(super) fn is_done(&self) -> bool {
        let pipe = self.0.borrow();
        pipe.state == State::Ended && pipe.pieces.is_empty() && pipe.trailers.is_none()
    }

    /// The next piece, or the trailers after the last.
    pub(super) fn poll_frame(
        &self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.poll(cx) {
            Poll::Ready(Some(data)) => Poll::Ready(Some(data.map(Frame::data))),
            Poll::Ready(None) => {
                let trailers = self.0.borrow_mut().trailers.take();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let mut pipe = self.0.borrow_mut();
        if let Some(data) = pipe.pieces.pop_front() {
            let was_full = pipe.buffered >= HIGH_WATER;
            pipe.buffered -= data.len();
            if was_full && pipe.buffered < HIGH_WATER {
                wake(&mut pipe.writer);
            }
            return Poll::Ready(Some(Ok(data)));
        }
        match pipe.state {
            State::Open => {
                pipe.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Broken => Poll::Ready(Some(Err(Broken))),
            State::Ended | State::Unread => Poll::Ready(None),
        }
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut pipe = self.0.borrow_mut();
        pipe.state = State::Unread;
        pipe.pieces.clear();
        pipe.buffered = 0;
        wake(&mut pipe.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// The message ends in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message was broken off")
    }
}

impl std::error::Error for Broken {}

impl From<Infallible> for Broken {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The body of a request on its way upstream.
pub(super) enum UpstreamBody {
    Empty,
    /// Whole, for callouts.
    Full(Bytes),
    Piped(PipeReader),
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(data) => {
                let data = std::mem::take(data);
                Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
            }
            Self::Piped(reader) => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(data) => data.is_empty(),
            // Even if the end is known already: a chunked body is to end as one.
            Self::Piped(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(data) => SizeHint::with_exact(data.len() as u64),
            Self::Piped(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn what_is_written_is_read_in_order_and_ends() {
        let (writer, reader) = pipe();
        writer.push("a".into());
        writer.push(Bytes::new());
        writer.push("b".into());
        let read = || reader.poll(&context());
        assert_eq!(read(), Poll::Ready(Some(Ok("a".into()))));
        assert_eq!(read(), Poll::Ready(Some(Ok("b".into()))));
        assert_eq!(read(), Poll::Pending);
        writer.end();
        assert!(reader.is_done());
        assert_eq!(read(), Poll::Ready(None));
    }

    #[test]
    fn a_writer_that_goes_away_breaks_the_body_off() {
        let (writer, reader) = pipe();
        writer.push("a".into());
        drop(writer);
        assert_eq!(reader.poll(&context()), Poll::Ready(Some(Ok("a".into()))));
        assert_eq!(reader.poll(&context()), Poll::Ready(Some(Err(Broken))));
    }

    #[test]
    fn a_writer_waits_for_a_slow_reader_but_not_for_one_that_left() {
        let (writer, reader) = pipe();
        assert!(writer.poll_ready(&context()).is_ready());
        writer.push(vec![0; HIGH_WATER].into());
        assert!(writer.poll_ready(&context()).is_pending());
        assert!(reader.poll(&context()).is_ready());
        assert!(writer.poll_ready(&context()).is_ready());
        writer.push(vec![0; HIGH_WATER].into());
        drop(reader);
        assert!(writer.poll_ready(&context()).is_ready());
        assert!(writer.is_unread());
    }
}
