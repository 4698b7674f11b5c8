//! Limits for many gateways, kept by a service that each of them asks.
//!
//! [`Flight`] says what is to be asked about one request and what becomes of it; [`Service`] is what
//! a worker remembers of the answers, so that most requests need none. Neither does any I/O: the
//! shell makes the calls.

mod breaker;
mod flight;
mod memory;
pub mod redis;
pub mod rls;
mod wire;

use filter_core::request::Request;
use filter_core::time::Timestamp;

use self::breaker::Breaker;
use self::memory::Memory;
use crate::config::Backend;
use crate::policy::Policy;

pub use self::flight::{Ending, Flight};
pub(crate) use self::memory::Holder;

/// What a service is asked about a request: whether a client has units left under a rule.
#[derive(Clone, Debug)]
pub struct Question {
    pub(crate) holder: Holder,
    /// Whether the answer counts.
    pub(crate) enforced: bool,
    /// Units.
    pub(crate) cost: u64,
    /// The client's key under the rule.
    pub(crate) key: Vec<u8>,
}

/// A call to be made to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// An HTTP GET of that path.
    Http(String),
    /// That message to [`rls::METHOD`] of [`rls::SERVICE`].
    Grpc(Vec<u8>),
}

/// What a worker knows of the service.
pub struct Service {
    backend: Backend,
    memory: Memory,
    breaker: Breaker,
}

/// When and about which request a service is asked.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The service.
    pub service: &'a Service,
    /// The rules.
    pub policy: &'a Policy,
    /// The request.
    pub request: &'a Request<'a>,
    /// The time.
    pub now: Timestamp,
}

impl Service {
    /// Nothing is known of it yet.
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            memory: Memory::default(),
            breaker: Breaker::default(),
        }
    }

    /// Its configuration.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }
}
