//! The clusters that guests' callouts may name.

use std::collections::BTreeMap;

use crate::abi::Status;

/// The names of clusters, and which of them have a host to send to. As long as none is named, any
/// name is good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clusters {
    known: BTreeMap<String, bool>,
}

impl Clusters {
    /// Names a cluster that has hosts.
    pub fn add(&mut self, name: &str) {
        self.known.insert(name.to_owned(), true);
    }

    /// Names a cluster that has no hosts, or none that is healthy.
    pub fn add_without_hosts(&mut self, name: &str) {
        self.known.insert(name.to_owned(), false);
    }

    /// Forgets the clusters that have none of these names.
    pub fn keep(&mut self, names: &[&str]) {
        self.known
            .retain(|known, _| names.contains(&known.as_str()));
    }

    /// Whether a cluster of that name may be called: an unknown one can't be.
    pub fn knows(&self, name: &str) -> bool {
        self.known.is_empty() || self.known.contains_key(name)
    }

    /// Whether there is a cluster of that name; where none is named, all but the empty name are.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.knows(name) && !name.is_empty()
    }

    /// What a call to a cluster that is known answers: without a host it fails at once.
    pub(crate) fn reach(&self, name: &str) -> Result<(), Status> {
        match self.known.get(name) {
            Some(false) => Err(Status::InternalFailure),
            Some(true) | None => Ok(()),
        }
    }
}
