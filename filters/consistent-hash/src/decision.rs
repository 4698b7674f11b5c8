//! What becomes of a request, as data: the shell carries it out and decides nothing.

use filter_core::metrics::labelled;
use filter_core::reply::{GrpcStatus, Reply, details};
use placement::hosts::HostId;

use crate::places::Places;

/// Where a request is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Places of hosts in the set, the chosen one first and then those for retries; none if there is no
    /// host, or none is to be chosen.
    pub hosts: Places,
    /// Why the first.
    pub reason: Reason,
    /// XXH64 of the key, if there is one.
    pub hash: Option<u64>,
}

/// Why a host was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The key's own host.
    Key,
    /// The next host of the key: its own is out, comes back slowly, or drains.
    Failover,
    /// A host of the key with room: those before have too many requests in flight.
    Overflow,
    /// One of the hosts that a hot key is spread over.
    Hot,
    /// The host of the key in another zone than its own.
    Zone,
    /// The key's own host, though it fails: so many do that health is ignored.
    Panic,
    /// Without a key: whose turn it is.
    RoundRobin,
    /// Without a key: the less busy one of two.
    LeastRequest,
    /// Without a key: by chance.
    Random,
    /// There is no host.
    None,
}

const REASONS: [(Reason, &str); 10] = [
    (Reason::Key, "key"),
    (Reason::Failover, "failover"),
    (Reason::Overflow, "overflow"),
    (Reason::Hot, "hot"),
    (Reason::Zone, "zone"),
    (Reason::Panic, "panic"),
    (Reason::RoundRobin, "round_robin"),
    (Reason::LeastRequest, "least_request"),
    (Reason::Random, "random"),
    (Reason::None, "none"),
];

impl Reason {
    /// Returns the word in metrics, logs and headers.
    pub fn word(self) -> &'static str {
        let mut reasons = REASONS.into_iter();
        let found = reasons.find(|(reason, _)| *reason == self);
        found.map_or("", |(_, word)| word)
    }
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = REASONS.len();

    /// Returns the position among all reasons. Their counters come behind those of [`Count`].
    #[expect(
        clippy::as_conversions,
        reason = "there is no From for the number of a variant"
    )]
    pub const fn number(self) -> usize {
        self as usize
    }
}

/// What the shell must do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Whether it goes on, and how the gateway learns where to.
    pub verdict: Verdict<'a>,
    /// The place of the host that it counts for, and why; none where the gateway chooses.
    pub count: Option<(Option<usize>, Reason)>,
    /// The hosts that the gateway will try, in order, if something is to be learned of them.
    pub hosts: Option<Vec<HostId>>,
    /// Value for access logs; nothing for a key's own host.
    pub log: Option<String>,
    /// Value of the response header that explains the choice.
    pub explanation: Option<String>,
    /// Value of `Set-Cookie`.
    pub cookie: Option<String>,
}

/// Whether a request goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It does, with this header in place of all of its name.
    Header {
        /// Name in lower case.
        name: &'a str,
        /// Value.
        value: Vec<u8>,
    },
    /// It does, with this value in the filter state `envoy.hashable_string`.
    FilterState(Vec<u8>),
    /// It does without a choice, and without what the client may have sent in this header.
    Unsteered {
        /// Name in lower case.
        name: Option<&'a str>,
    },
    /// Answer so instead.
    Refuse(Box<Reply>),
}

/// The answer to a request without the key that it needs.
pub fn reject_missing() -> Reply {
    refuse(
        400,
        GrpcStatus::InvalidArgument,
        "missing_key",
        "The request lacks what it is routed by.",
    )
}

/// The answer to a request for which there is no host.
pub fn reject_no_host() -> Reply {
    refuse(
        503,
        GrpcStatus::Unavailable,
        "no_host",
        "No host is available.",
    )
}

fn refuse(status: u16, grpc_status: GrpcStatus, reason: &str, body: &str) -> Reply {
    Reply {
        status,
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: format!("{body}\n"),
        details: details("consistent_hash", &[("reason", reason)]),
        grpc_status: Some(grpc_status),
    }
}

/// A counter that every plugin has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A write to shared data that another worker's came before.
    Conflict,
    /// Other workers were faster too often.
    Contention,
    /// The host refused the clock, shared data or a call.
    Host,
    /// The host's header block doesn't add up; it was taken for no headers.
    Headers,
    /// A cookie was given to a client.
    Session,
    /// A discovery endpoint told of other hosts, and they count now.
    DiscoveryChanged,
    /// It told of the same hosts.
    DiscoverySame,
    /// It didn't answer, or with another status than 200.
    DiscoveryFailed,
    /// It answered something that is no set of hosts.
    DiscoveryLied,
    /// A host answered a question after its health well.
    CheckPassed,
    /// It didn't.
    CheckFailed,
    /// A host was left out.
    HostOut,
    /// A host came back.
    HostIn,
}

const COUNTS: [(Count, &str, &str, &str); 13] = [
    (Count::Conflict, "consistent_hash_conflicts_total", "", ""),
    (
        Count::Contention,
        "consistent_hash_errors_total",
        "cause",
        "contention",
    ),
    (Count::Host, "consistent_hash_errors_total", "cause", "host"),
    (
        Count::Headers,
        "consistent_hash_errors_total",
        "cause",
        "headers",
    ),
    (Count::Session, "consistent_hash_sessions_total", "", ""),
    (
        Count::DiscoveryChanged,
        "consistent_hash_discovery_total",
        "outcome",
        "changed",
    ),
    (
        Count::DiscoverySame,
        "consistent_hash_discovery_total",
        "outcome",
        "same",
    ),
    (
        Count::DiscoveryFailed,
        "consistent_hash_discovery_total",
        "outcome",
        "failed",
    ),
    (
        Count::DiscoveryLied,
        "consistent_hash_discovery_total",
        "outcome",
        "lied",
    ),
    (
        Count::CheckPassed,
        "consistent_hash_checks_total",
        "outcome",
        "passed",
    ),
    (
        Count::CheckFailed,
        "consistent_hash_checks_total",
        "outcome",
        "failed",
    ),
    (
        Count::HostOut,
        "consistent_hash_health_changes_total",
        "to",
        "out",
    ),
    (
        Count::HostIn,
        "consistent_hash_health_changes_total",
        "to",
        "in",
    ),
];

impl Count {
    /// How many there are.
    pub const ALL: usize = COUNTS.len();

    /// The names of all of them in the order of [`Count::index`], and then those of choices by reason in
    /// that of [`Reason::number`].
    pub fn names() -> Vec<String> {
        let names = COUNTS
            .into_iter()
            .map(|(_, name, label, value)| match label {
                "" => name.to_owned(),
                _ => labelled(name, &[(label, value)]),
            });
        let reasons = REASONS
            .into_iter()
            .map(|(_, word)| labelled("consistent_hash_choices_total", &[("reason", word)]));
        names.chain(reasons).collect()
    }

    /// Returns the position among all.
    #[expect(
        clippy::as_conversions,
        reason = "there is no From for the number of a variant"
    )]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The name of the counter of requests to a host.
pub fn requests_metric(host: &str) -> String {
    labelled("consistent_hash_requests_total", &[("host", host)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_at_its_index() {
        for (index, (count, ..)) in COUNTS.into_iter().enumerate() {
            assert_eq!(count.index(), index, "{count:?}");
        }
        let mut names = Count::names();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), COUNTS.len() + REASONS.len());
        for (reason, word) in REASONS {
            assert!(
                Count::names()[Count::ALL + reason.number()].ends_with(word),
                "{word}"
            );
        }
    }

    #[test]
    fn every_reason_has_a_word() {
        let words: std::collections::BTreeSet<_> = REASONS
            .into_iter()
            .map(|(reason, _)| reason.word())
            .collect();
        assert_eq!(words.len(), REASONS.len());
    }
}
