//! Where hosts are asked for.

use filter_core::config::Place;
use filter_core::config::fields::DurationText;
use filter_core::time::Span;
use serde::Deserialize;

/// An HTTP endpoint that knows the hosts. One worker asks for all; as long as it doesn't answer, or
/// answers nonsense or no hosts, the last good answer counts.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawDiscovery {
    /// The gateway's cluster through which it is asked.
    pub cluster: String,
    /// The path, with its query.
    pub path: String,
    /// The host that is asked for; the cluster's name by default.
    pub authority: Option<String>,
    /// What it answers.
    pub format: RawFormat,
    /// How often it is asked.
    #[serde(default = "five_seconds")]
    pub interval: DurationText,
    /// How long an answer may take.
    #[serde(default = "a_second")]
    pub timeout: DurationText,
}

/// What a discovery endpoint answers.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RawFormat {
    /// What Envoy's admin interface answers to `/clusters?format=json`: the hosts of the cluster of this
    /// name, with their weights, zones and what Envoy thinks of their health.
    EnvoyClusters(String),
    /// What Consul answers to `/v1/health/service/NAME?passing`: addresses and ports, with their weights.
    ConsulHealth,
    /// A list of addresses, or of objects as in `hosts`.
    List,
}

/// Where hosts are asked for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The gateway's cluster.
    pub cluster: String,
    /// Path and query.
    pub path: String,
    /// Host that is asked for.
    pub authority: String,
    /// What it answers.
    pub format: Format,
    /// Time from one question to the next.
    pub interval: Span,
    /// Milliseconds that an answer may take.
    pub timeout: u32,
}

/// What a discovery endpoint answers, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Envoy's clusters, and which of them.
    EnvoyClusters(String),
    /// Consul's health of a service.
    ConsulHealth,
    /// A list.
    List,
}

impl RawDiscovery {
    /// Makes it, or reports all that is wrong at `place`.
    pub(super) fn check(self, place: &Place<'_>) -> Option<Discovery> {
        let cluster = some_text(&self.cluster, &place.field("cluster"));
        let path = path(&self.path, &place.field("path"));
        let format = match self.format {
            RawFormat::EnvoyClusters(name) => {
                let at = place.field("format");
                some_text(&name, &at.field("envoy_clusters")).map(Format::EnvoyClusters)
            }
            RawFormat::ConsulHealth => Some(Format::ConsulHealth),
            RawFormat::List => Some(Format::List),
        };
        let interval = interval(&self.interval, &place.field("interval"))?;
        Some(Discovery {
            authority: self.authority.unwrap_or_else(|| self.cluster.clone()),
            cluster: cluster?,
            path: path?,
            format: format?,
            interval,
            timeout: millis(self.timeout),
        })
    }
}

/// How often somebody is asked: at least every 100 ms apart.
pub(super) fn interval(text: &DurationText, place: &Place<'_>) -> Option<Span> {
    let interval = Span::from_duration(text.get());
    if interval < Span::from_nanos(100_000_000) {
        place.refuse("a duration of at least \"100ms\"");
        return None;
    }
    Some(interval)
}

/// Text that is a name of the gateway's.
pub(super) fn some_text(text: &str, place: &Place<'_>) -> Option<String> {
    if text.is_empty() {
        place.refuse("text that is not empty");
        return None;
    }
    Some(text.to_owned())
}

/// Text that is a request's target.
pub(super) fn path(text: &str, place: &Place<'_>) -> Option<String> {
    let is_plain = text.bytes().all(|byte| matches!(byte, 0x21..=0x7e));
    if !text.starts_with('/') || !is_plain {
        place.refuse("a path such as \"/health\", without blanks");
        return None;
    }
    Some(text.to_owned())
}

/// Milliseconds for a call; the longest that the ABI has for more.
pub(super) fn millis(duration: DurationText) -> u32 {
    const LONGEST: u32 = i32::MAX.unsigned_abs();
    u32::try_from(duration.get().as_millis())
        .unwrap_or(LONGEST)
        .min(LONGEST)
}

const fn five_seconds() -> DurationText {
    DurationText::from_secs(5)
}

const fn a_second() -> DurationText {
    DurationText::from_secs(1)
}
