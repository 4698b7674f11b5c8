//! An origin whose bodies tell what they are, so that a wrong byte is seen wherever it comes from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::upstream::Upstream;

/// A running origin. A path is `/LENGTH/NAME…`: so many bytes, all of them from the path and the path's
/// version. A `POST`, `PUT` or `DELETE` makes a new version.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    requests: AtomicU64,
    is_dead: AtomicBool,
    is_closed: Mutex<bool>,
    opened: Condvar,
    versions: Mutex<BTreeMap<String, u64>>,
    headers: String,
}

impl Origin {
    /// Starts one whose responses have these headers, each with its line end.
    pub(crate) fn start(headers: &str) -> Self {
        let state = Arc::new(State {
            headers: headers.to_owned(),
            ..State::default()
        });
        let served = Arc::clone(&state);
        let upstream = Upstream::new(move |mut connection| {
            while let Some(head) = connection.head() {
                let request = connection.body(&head);
                drop(request);
                if served.is_dead.load(Ordering::SeqCst) {
                    return;
                }
                connection.send(&served.answer(&head));
            }
        });
        Self {
            address: upstream.address,
            state,
        }
    }

    /// How many requests came so far.
    pub(crate) fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// From now on it closes each connection that a request comes by, or not any more.
    pub(crate) fn die(&self, is_dead: bool) {
        self.state.is_dead.store(is_dead, Ordering::SeqCst);
    }

    /// Lets responses wait.
    pub(crate) fn close(&self) {
        *self.state.is_closed.lock().expect("no panic") = true;
    }

    /// Lets the responses go that wait.
    pub(crate) fn open(&self) {
        *self.state.is_closed.lock().expect("no panic") = false;
        self.state.opened.notify_all();
    }

    /// The version of a path.
    pub(crate) fn version(&self, path: &str) -> u64 {
        let versions = self.state.versions.lock().expect("no panic");
        versions.get(path).copied().unwrap_or(0)
    }

    /// Makes a new version of a path.
    pub(crate) fn change(&self, path: &str) {
        let mut versions = self.state.versions.lock().expect("no panic");
        *versions.entry(path.to_owned()).or_default() += 1;
    }
}

impl State {
    fn answer(&self, head: &str) -> String {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut is_closed = self.is_closed.lock().expect("no panic");
        while *is_closed {
            is_closed = self.opened.wait(is_closed).expect("no panic");
        }
        drop(is_closed);
        let mut words = head.split(' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().unwrap_or_default();
        if ["POST", "PUT", "DELETE"].contains(&method) {
            let mut versions = self.versions.lock().expect("no panic");
            let version = versions.entry(path.to_owned()).or_default();
            *version += 1;
            return format!("HTTP/1.1 204 No Content\r\nx-version: {version}\r\n\r\n");
        }
        let version = self
            .versions
            .lock()
            .expect("no panic")
            .get(path)
            .copied()
            .unwrap_or(0);
        let body = body(path, version);
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\netag: \"{version}\"\r\nx-version: {version}\r\n\
             {}content-length: {}\r\n\r\n{body}",
            self.headers,
            body.len()
        )
    }
}

/// The body of a version of a path.
pub(crate) fn body(path: &str, version: u64) -> String {
    let length = path
        .split('/')
        .nth(1)
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let line = format!("{path} {version}\n");
    let mut body = line.repeat(length / line.len() + 1);
    body.truncate(length);
    body
}
