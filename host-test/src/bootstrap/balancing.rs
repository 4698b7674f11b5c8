//! How a cluster's endpoint is chosen: `lb_policy` and `load_balancing_policy`.

use consistent_hash::placement::maglev::is_table_size;

use super::any::type_of;
use super::fields::{Fields, Problems};
use super::yaml::{Node, Value};

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// The least busy of some at random.
    LeastRequest {
        /// How many are drawn, at least 2.
        choices: u32,
    },
    /// By a table that Maglev's algorithm fills.
    Maglev {
        /// Number of places in the table, a prime.
        table_size: u32,
    },
    /// The first of a list of addresses that is an endpoint.
    OverrideHost(Box<OverrideHost>),
    /// The cluster makes its endpoints itself: `ORIGINAL_DST`.
    Provided,
    /// Any.
    Random,
    /// By a ring of points.
    RingHash {
        /// Fewest points, 1 to 8388608.
        min_size: u32,
        /// Most points, 1 to 8388608.
        max_size: u32,
    },
    /// Each in turn.
    RoundRobin,
}

/// Envoy's `OverrideHost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideHost {
    /// Where the list of addresses stands; the first source that has one counts.
    pub sources: Vec<OverrideSource>,
    /// Metadata that the chosen address is noted in: namespace and path.
    pub selected: Option<MetadataKey>,
    /// Takes over when the list has no endpoint (any more).
    pub fallback: Balancing,
}

/// Where a list of addresses stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverrideSource {
    /// In a request header, lower case.
    Header(String),
    /// In dynamic metadata.
    Metadata(MetadataKey),
}

/// A value in dynamic metadata.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataKey {
    /// Name of the filter that it belongs to.
    pub namespace: String,
    /// Names of nested members; one or more.
    pub path: Vec<String>,
}

const POLICIES: &str = "envoy.extensions.load_balancing_policies.";
/// Envoy's defaults.
const RING: Balancing = Balancing::RingHash {
    min_size: 1024,
    max_size: 8 << 20,
};
const MAGLEV: Balancing = Balancing::Maglev { table_size: 65537 };
const LEAST: Balancing = Balancing::LeastRequest { choices: 2 };

const NAMES: [(&str, usize); 6] = [
    ("ROUND_ROBIN", 0),
    ("LEAST_REQUEST", 1),
    ("RANDOM", 2),
    ("RING_HASH", 3),
    ("MAGLEV", 4),
    ("CLUSTER_PROVIDED", 5),
];

/// The fields of a cluster that say how an endpoint is chosen.
pub(super) struct BalancingFields<'d> {
    policy: Option<&'d Node>,
    typed: Option<&'d Node>,
    ring: Option<&'d Node>,
    maglev: Option<&'d Node>,
    least: Option<&'d Node>,
    round: Option<&'d Node>,
}

impl<'d> BalancingFields<'d> {
    pub(super) fn take(fields: &mut Fields<'d, '_>) -> Self {
        Self {
            policy: fields.take("lb_policy"),
            typed: fields.take("load_balancing_policy"),
            ring: fields.take("ring_hash_lb_config"),
            maglev: fields.take("maglev_lb_config"),
            least: fields.take("least_request_lb_config"),
            round: fields.take("round_robin_lb_config"),
        }
    }

    /// The policy; an unsupported one is passed over by `--lenient`: any choice is a choice.
    pub(super) fn read(self, problems: &Problems) -> Balancing {
        if let Some(node) = self.typed {
            return policy(node, problems).unwrap_or(Balancing::RoundRobin);
        }
        let unsupported = ["LOAD_BALANCING_POLICY_CONFIG"];
        let name = match self.policy {
            Some(node) => problems.choice(node, "lb_policy", &NAMES, &unsupported),
            None => Some(0),
        };
        let read = match name {
            Some(1) => self.least.map_or(Some(LEAST), |node| {
                least(Fields::of(node, "least_request_lb_config", problems)?)
            }),
            Some(2) => Some(Balancing::Random),
            Some(3) => self
                .ring
                .map_or(Some(RING), |node| ring_config(node, problems)),
            Some(4) => self.maglev.map_or(Some(MAGLEV), |node| {
                maglev(Fields::of(node, "maglev_lb_config", problems)?)
            }),
            Some(5) => Some(Balancing::Provided),
            _ => self.round.map_or(Some(Balancing::RoundRobin), |node| {
                round(Fields::of(node, "round_robin_lb_config", problems)?)
            }),
        };
        read.unwrap_or(Balancing::RoundRobin)
    }
}

/// Reads a `LoadBalancingPolicy`: the first policy counts.
fn policy(node: &Node, problems: &Problems) -> Option<Balancing> {
    let mut fields = Fields::of(node, "a load_balancing_policy", problems)?;
    let policies = fields.require("policies");
    fields.finish(&[]);
    let list = problems.list(policies?, "policies");
    let Some(first) = list.first() else {
        problems.malformed(node.at, "policies needs a policy");
        return None;
    };
    if let Some(second) = list.get(1) {
        let message = "a second policy, for hosts that don't know the first, is not supported by this gateway";
        problems.unsupported(second.at, message);
    }
    let mut fields = Fields::of(first, "a policy", problems)?;
    let typed = fields.require("typed_extension_config");
    fields.finish(&[]);
    let mut fields = Fields::of(typed?, "typed_extension_config", problems)?;
    fields.require("name");
    let config = fields.require("typed_config");
    fields.finish(&[]);
    let mut fields = Fields::of(config?, "a policy's typed_config", problems)?;
    let kind = type_of(&mut fields)?;
    match kind.name.strip_prefix(POLICIES) {
        Some("round_robin.v3.RoundRobin") => round(fields),
        Some("least_request.v3.LeastRequest") => least(fields),
        Some("random.v3.Random") => {
            fields.finish(&["locality_lb_config"]);
            Some(Balancing::Random)
        }
        Some("ring_hash.v3.RingHash") => ring(fields),
        Some("maglev.v3.Maglev") => maglev(fields),
        Some("cluster_provided.v3.ClusterProvided") => {
            fields.finish(&[]);
            Some(Balancing::Provided)
        }
        Some("override_host.v3.OverrideHost") => override_host(fields),
        _ => {
            let message = format!(
                "a load balancing policy of type `{}` is not supported by this gateway; supported: \
                 round_robin, least_request, random, ring_hash, maglev, cluster_provided, \
                 override_host",
                kind.name
            );
            problems.unsupported(kind.at, message);
            None
        }
    }
}

fn round(fields: Fields<'_, '_>) -> Option<Balancing> {
    fields.finish(&["slow_start_config", "locality_lb_config"]);
    Some(Balancing::RoundRobin)
}

fn least(mut fields: Fields<'_, '_>) -> Option<Balancing> {
    let problems = fields.problems;
    let choices = fields.take("choice_count");
    fields.finish(&[
        "active_request_bias",
        "slow_start_config",
        "locality_lb_config",
        "enable_full_scan",
        "selection_method",
    ]);
    let choices = match choices {
        Some(node) => problems.integer(node, "choice_count", 2, u32::MAX)?,
        None => 2,
    };
    Some(Balancing::LeastRequest { choices })
}

fn maglev(mut fields: Fields<'_, '_>) -> Option<Balancing> {
    let problems = fields.problems;
    let size = fields.take("table_size");
    consistent(fields.take("consistent_hashing_lb_config"), problems);
    fields.finish(&["locality_weighted_lb_config"]);
    let table_size = match size {
        Some(node) => {
            let size = problems.integer(node, "table_size", 1, 5_000_011)?;
            if !is_table_size(size) {
                problems.malformed(node.at, "table_size must be a prime number");
                return None;
            }
            size
        }
        None => 65537,
    };
    Some(Balancing::Maglev { table_size })
}

const FUNCTIONS: [(&str, ()); 2] = [("XX_HASH", ()), ("DEFAULT_HASH", ())];

fn ring_config(node: &Node, problems: &Problems) -> Option<Balancing> {
    ring(Fields::of(node, "ring_hash_lb_config", problems)?)
}

fn ring(mut fields: Fields<'_, '_>) -> Option<Balancing> {
    let problems = fields.problems;
    let function = fields.take("hash_function");
    let min = fields.take("minimum_ring_size");
    let max = fields.take("maximum_ring_size");
    consistent(fields.take("consistent_hashing_lb_config"), problems);
    let at = fields.at;
    fields.finish(&[
        "use_hostname_for_hashing",
        "hash_balance_factor",
        "locality_weighted_lb_config",
    ]);
    if let Some(node) = function {
        problems.choice(node, "hash_function", &FUNCTIONS, &["MURMUR_HASH_2"])?;
    }
    let size = |node: Option<&Node>, what, default| match node {
        Some(node) => problems.integer(node, what, 1, 8 << 20),
        None => Some(default),
    };
    let (min_size, max_size) = (
        size(min, "minimum_ring_size", 1024)?,
        size(max, "maximum_ring_size", 8 << 20)?,
    );
    if min_size > max_size {
        problems.malformed(at, "minimum_ring_size is larger than maximum_ring_size");
        return None;
    }
    Some(Balancing::RingHash { min_size, max_size })
}

/// Envoy's `ConsistentHashingLbConfig`, of which nothing is supported but its defaults.
fn consistent(node: Option<&Node>, problems: &Problems) {
    if let Some(fields) =
        node.and_then(|node| Fields::of(node, "consistent_hashing_lb_config", problems))
    {
        fields.finish(&[
            "use_hostname_for_hashing",
            "hash_balance_factor",
            "hash_policy",
        ]);
    }
}

fn override_host(mut fields: Fields<'_, '_>) -> Option<Balancing> {
    let problems = fields.problems;
    let sources = fields.require("override_host_sources");
    let selected = fields.take("selected_host_key");
    let fallback = fields.require("fallback_policy");
    fields.finish(&[]);
    let sources: Vec<OverrideSource> = problems
        .list(sources?, "override_host_sources")
        .iter()
        .filter_map(|node| override_source(node, problems))
        .collect();
    Some(Balancing::OverrideHost(Box::new(OverrideHost {
        sources,
        selected: match selected {
            Some(node) => Some(MetadataKey::read(node, problems)?),
            None => None,
        },
        fallback: policy(fallback?, problems)?,
    })))
}

fn override_source(node: &Node, problems: &Problems) -> Option<OverrideSource> {
    let mut fields = Fields::of(node, "an override_host_source", problems)?;
    let source = fields.require_one(&["header", "metadata"]);
    fields.finish(&[]);
    match source? {
        ("header", node, _) => Some(OverrideSource::Header(
            problems.string(node, "header")?.to_ascii_lowercase(),
        )),
        (_, node, _) => Some(OverrideSource::Metadata(MetadataKey::read(node, problems)?)),
    }
}

impl MetadataKey {
    /// Reads `{key: NAMESPACE, path: [{key: NAME}, …]}`.
    pub(super) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a metadata key", problems)?;
        let key = fields.require("key");
        let path = fields.require("path");
        fields.finish(&[]);
        let segment = |node: &Node| {
            let mut fields = Fields::of(node, "a path segment", problems)?;
            let key = fields.require("key");
            fields.finish(&[]);
            problems.string(key?, "key")
        };
        let path: Vec<String> = problems
            .list(path?, "path")
            .iter()
            .filter_map(segment)
            .collect();
        if path.is_empty()
            && let Value::Sequence(_) = &node.value
        {
            problems.malformed(node.at, "path needs a segment");
        }
        Some(Self {
            namespace: problems.string(key?, "key")?,
            path,
        })
    }
}
