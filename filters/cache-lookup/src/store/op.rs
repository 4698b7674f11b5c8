//! Work on shared data that is told step by step.
//!
//! What the store does takes several reads and writes that depend on one another. Each such piece of
//! work is an `async` function whose only await is one read or one write: the compiler makes the
//! state machine. An [`Op`] is that machine. It does no I/O; whoever drives it does, one [`Step`] at a
//! time. So the gateway runs it against shared data, and a test can let two workers take turns at
//! every step.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use filter_core::transaction::Cas;

pub use super::key::Key;

/// What the driver does next.
#[derive(Debug)]
pub enum Step<T> {
    /// Read this key, then answer with [`Answer::Value`].
    Read(Key),
    /// Write this, then answer with [`Answer::Written`].
    Write(Write),
    /// The work is done.
    Done(T),
    /// The driver gave no answer, or one to another question. The work can't go on.
    Stuck,
}

/// A value to be written.
#[derive(Debug)]
pub struct Write {
    /// Under which key.
    pub key: Key,
    /// The value.
    pub value: Vec<u8>,
    /// The version that the stored value must have; `None` overwrites whatever is there.
    pub cas: Option<Cas>,
}

/// What came of a step.
#[derive(Debug)]
pub enum Answer {
    /// A value, if there is one, and its version.
    Value(Option<Vec<u8>>, Cas),
    /// Whether the value was written: its version was still the one expected. And the value, if it is to
    /// be tried again.
    Written(bool, Vec<u8>),
}

enum Question {
    Read(Key),
    Write(Write),
}

/// Where questions and answers pass between an [`Op`] and its driver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Io {
    mail: Rc<Mail>,
}

#[derive(Default)]
struct Mail {
    question: Cell<Option<Question>>,
    answer: Cell<Option<Answer>>,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mail(..)")
    }
}

impl Io {
    /// Reads a value and its version.
    pub(crate) async fn read(&self, key: Key) -> (Option<Vec<u8>>, Cas) {
        self.mail.question.set(Some(Question::Read(key)));
        poll_fn(|_| match self.mail.answer.take() {
            Some(Answer::Value(value, cas)) => Poll::Ready((value, cas)),
            _ => Poll::Pending,
        })
        .await
    }

    /// Writes a value; returns whether the stored one still had the version `cas`.
    pub(crate) async fn write(&self, key: Key, value: Vec<u8>, cas: Option<Cas>) -> bool {
        let mut value = value;
        self.rewrite(key, &mut value, cas).await
    }

    /// Writes a value that may have to be written again.
    pub(crate) async fn rewrite(&self, key: Key, value: &mut Vec<u8>, cas: Option<Cas>) -> bool {
        let write = Write {
            key,
            value: std::mem::take(value),
            cas,
        };
        self.mail.question.set(Some(Question::Write(write)));
        let (written, back) = poll_fn(|_| match self.mail.answer.take() {
            Some(Answer::Written(written, back)) => Poll::Ready((written, back)),
            _ => Poll::Pending,
        })
        .await;
        *value = back;
        written
    }
}

/// A piece of work under way.
pub struct Op<'a, T> {
    mail: Rc<Mail>,
    work: Pin<Box<dyn Future<Output = T> + 'a>>,
}

impl<T> std::fmt::Debug for Op<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Op(..)")
    }
}

impl<'a, T> Op<'a, T> {
    /// Makes an op of a function that does all its I/O through the [`Io`] it gets.
    pub(crate) fn new<F: Future<Output = T> + 'a>(work: impl FnOnce(Io) -> F) -> Self {
        let io = Io::default();
        Self {
            mail: Rc::clone(&io.mail),
            work: Box::pin(work(io)),
        }
    }

    /// Goes on to the next step; `answer` is what came of the last one, nothing at first. Not to be
    /// called again after [`Step::Done`].
    pub fn step(&mut self, answer: Option<Answer>) -> Step<T> {
        self.mail.answer.set(answer);
        match self
            .work
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(output) => Step::Done(output),
            Poll::Pending => match self.mail.question.take() {
                Some(Question::Read(key)) => Step::Read(key),
                Some(Question::Write(write)) => Step::Write(write),
                None => Step::Stuck,
            },
        }
    }

    /// Does all steps, with `read` and `write` for the I/O.
    ///
    /// # Errors
    /// The first error of `read` or `write`: nothing more is done then, and what is stored stays.
    pub fn drive<E>(
        mut self,
        mut read: impl FnMut(&[u8]) -> Result<(Option<Vec<u8>>, Cas), E>,
        mut write: impl FnMut(&Write) -> Result<bool, E>,
    ) -> Result<Option<T>, E> {
        let mut answer = None;
        loop {
            answer = Some(match self.step(answer) {
                Step::Read(key) => {
                    let (value, cas) = read(&key)?;
                    Answer::Value(value, cas)
                }
                Step::Write(what) => {
                    let written = write(&what)?;
                    Answer::Written(written, what.value)
                }
                Step::Done(output) => return Ok(Some(output)),
                // Only a driver that doesn't answer comes here.
                Step::Stuck => return Ok(None),
            });
        }
    }
}
