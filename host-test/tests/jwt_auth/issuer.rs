//! What an issuer serves: key sets, documents, lists, answers about tokens. A test says what each path
//! answers, and sees what was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::upstream::{Connection, Upstream};

/// What a path answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This status and body.
    Status(u16, String),
    /// Half of a body, and then the connection is closed.
    Cut,
    /// Nothing until something else is put here.
    Held,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::Status(200, body.into())
    }

    /// What a service answers that is out of order.
    pub(crate) fn unavailable() -> Self {
        Self::Status(503, "no".to_owned())
    }
}

/// One that answers with status 503 where it wasn't told.
pub(crate) struct Issuer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    /// Each request: its path, its head and its body.
    asked: Vec<(String, String)>,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let upstream = Upstream::new(move |connection| own.serve(connection));
        Self {
            address: upstream.address,
            shared,
        }
    }

    /// Says what a path answers from now on.
    pub(crate) fn put(&self, path: &str, answer: Answer) {
        let mut state = self.shared.state();
        state.answers.insert(path.to_owned(), answer);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// The requests for a path so far: their heads and bodies.
    pub(crate) fn asked(&self, path: &str) -> Vec<String> {
        let state = self.shared.state();
        let asked = state.asked.iter().filter(|(other, _)| other == path);
        asked.map(|(_, request)| request.clone()).collect()
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        self.asked(path).len()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    fn serve(&self, mut connection: Connection) {
        while let Some(head) = connection.head() {
            let body = connection.body(&head);
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut state = self.state();
            state.asked.push((path.clone(), head + &body));
            let is_held = |state: &mut State| {
                let answer = state.answers.get(&path);
                matches!(answer, Some(Answer::Held))
            };
            let state = self.changed.wait_while(state, is_held).expect("no panic");
            let answer = state.answers.get(&path).cloned();
            drop(state);
            match answer.unwrap_or_else(Answer::unavailable) {
                Answer::Status(status, body) => connection.send(&format!(
                    "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )),
                Answer::Cut => {
                    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"keys\":[");
                    return;
                }
                Answer::Held => return,
            }
        }
    }
}
