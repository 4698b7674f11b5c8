//! What is fetched again and again, by one worker for all: keys, or what is revoked.

use std::rc::Rc;

use filter_core::time::Span;

use crate::care::Standing;
use crate::config::jwks::{Endpoint, Pace, RemoteJwks};
use crate::config::provider::{KeySource, Provider};
use crate::config::revocation::{OnUnavailable, Revocation};
use crate::decision::Call;
use crate::discovery::{self, Discovered};
use crate::jose::keys::KeySet;
use crate::policy::Revoked;
use crate::revocation::DenyList;

/// What is fetched.
#[derive(Clone, Debug)]
pub enum Feed {
    /// A provider's keys.
    Keys(RemoteJwks),
    /// What a provider revoked.
    Revocations(Revocation),
}

/// What was fetched, read.
#[derive(Clone, Debug)]
pub enum Content {
    /// Keys.
    Keys(Rc<KeySet>),
    /// What is revoked.
    Revocations(Rc<DenyList>),
}

/// What comes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This is what the workers share of it.
    Content(Vec<u8>),
    /// The keys are elsewhere, and have to be fetched there.
    Elsewhere(Box<Discovered>),
}

impl Feed {
    /// Returns what is to be fetched for a provider.
    pub fn all(provider: &Provider) -> Vec<Self> {
        let keys = match &provider.keys {
            KeySource::Remote(remote) => Some(Self::Keys((**remote).clone())),
            KeySource::Local(_) | KeySource::None => None,
        };
        let revocation = provider.revocation.as_deref().cloned();
        keys.into_iter()
            .chain(revocation.map(Self::Revocations))
            .collect()
    }

    /// Returns where it is, or where it begins.
    pub const fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Keys(remote) => &remote.endpoint,
            Self::Revocations(revocation) => &revocation.endpoint,
        }
    }

    /// Returns when it is fetched.
    pub const fn pace(&self) -> &Pace {
        match self {
            Self::Keys(remote) => &remote.pace,
            Self::Revocations(revocation) => &revocation.pace,
        }
    }

    /// Returns how long a request waits for it, and how many may at once.
    pub const fn hold(&self) -> (Span, usize) {
        match self {
            Self::Keys(remote) => (remote.hold, remote.max_held),
            Self::Revocations(revocation) => (revocation.hold, MOST_HELD),
        }
    }

    /// Returns what it is in metrics.
    pub const fn call(&self) -> Call {
        match self {
            Self::Keys(_) => Call::Keys,
            Self::Revocations(_) => Call::Revocations,
        }
    }

    /// Returns the word for it in logs and in the names of what is shared. All that are read alike and
    /// come from the same place may share it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Keys(RemoteJwks {
                discovery: None, ..
            }) => "jwks",
            Self::Keys(_) => "discovery",
            Self::Revocations(_) => "revocations",
        }
    }

    /// Reads an answer. `found` is what an answer before said.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn answer(
        &self,
        text: Vec<u8>,
        found: Option<&Discovered>,
    ) -> Result<Answer, &'static str> {
        match self {
            Self::Keys(RemoteJwks {
                endpoint,
                discovery: Some(expected),
                ..
            }) if found.is_none() => {
                let found = discovery::read(text, endpoint, expected)?;
                Ok(Answer::Elsewhere(Box::new(found)))
            }
            Self::Keys(_) => {
                match KeySet::read_remote(text.clone()) {
                    Ok(set) if !set.is_empty() => {}
                    Ok(_) => return Err("the key set has no usable key"),
                    Err(_) => return Err("the answer isn't a key set"),
                }
                Ok(Answer::Content(match found {
                    Some(found) => discovery::pack(found.algorithms, &text),
                    None => text,
                }))
            }
            Self::Revocations(revocation) => {
                let list = DenyList::read(text.clone(), revocation.max_entries);
                list.ok_or("the answer isn't a list of revoked tokens, or is too long")?;
                Ok(Answer::Content(text))
            }
        }
    }

    /// Reads what the workers share.
    pub fn read(&self, shared: Vec<u8>) -> Option<Content> {
        match self {
            Self::Keys(remote) => {
                let set = match remote.discovery {
                    Some(_) => discovery::unpack(&shared),
                    None => KeySet::read_remote(shared).ok(),
                };
                set.map(|set| Content::Keys(Rc::new(set)))
            }
            Self::Revocations(revocation) => {
                let list = DenyList::read(shared, revocation.max_entries)?;
                Some(Content::Revocations(Rc::new(list)))
            }
        }
    }
}

/// Requests that may wait for the first list of what is revoked.
const MOST_HELD: usize = 1000;

impl Revocation {
    /// Returns what a worker knows that has this list, or none.
    pub fn known(&self, standing: Standing, list: Option<Rc<DenyList>>) -> Revoked {
        match (list, standing, self.on_unavailable) {
            (Some(list), _, _) => Revoked::List(list),
            (None, Standing::Usable | Standing::Awaited, _) => Revoked::Awaited,
            (None, Standing::Unavailable, OnUnavailable::Allow) => Revoked::Nothing,
            (None, Standing::Unavailable, OnUnavailable::Deny) => Revoked::Unavailable,
        }
    }
}
