//! A second store that several gateways share, as it is written.

use filter_core::config::fields::DurationText;
use serde::Deserialize;

/// A second store that several gateways share, reached by HTTP through a cluster of the gateway. An
/// error of it is a miss and never more.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRemote {
    /// The cluster.
    pub cluster: String,
    /// What it speaks.
    #[serde(default)]
    pub protocol: RemoteProtocol,
    /// The host that requests to it name.
    #[serde(default = "authority")]
    pub authority: String,
    /// What keys in it begin with; gateways that share entries have the same one.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// User and password (`user:password`), if it asks for them.
    pub credentials: Option<String>,
    /// How long an answer may take; then it is a miss.
    #[serde(default = "timeout")]
    pub timeout: DurationText,
    /// How long a request waits for an answer before it goes to the origin as well; whichever answers
    /// first is the client's.
    #[serde(default = "hedge_after")]
    pub hedge_after: DurationText,
}

/// What a remote store speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum RemoteProtocol {
    /// webdis in front of Redis.
    #[default]
    Webdis,
}

/// A second store, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The cluster.
    pub cluster: String,
    /// The host that requests to it name.
    pub authority: String,
    /// What keys in it begin with.
    pub prefix: String,
    /// User and password.
    pub credentials: Option<String>,
    /// Milliseconds that an answer may take.
    pub timeout: u32,
    /// Milliseconds that a request waits for one.
    pub hedge_after: u32,
}

fn authority() -> String {
    "cache".to_owned()
}

fn prefix() -> String {
    "penstock".to_owned()
}

fn timeout() -> DurationText {
    // Read back from text: the type makes whole seconds only.
    serde_duration("50ms")
}

fn hedge_after() -> DurationText {
    serde_duration("10ms")
}

/// A default that is no whole number of seconds.
fn serde_duration(text: &str) -> DurationText {
    let from: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        serde::de::value::StrDeserializer::new(text);
    DurationText::deserialize(from).unwrap_or(DurationText::from_secs(1))
}

impl RawRemote {
    /// Makes settings, or reports all that is wrong at `place`.
    pub(super) fn check(self, place: &filter_core::config::Place<'_>) -> Option<Remote> {
        let texts = [
            ("cluster", &self.cluster),
            ("authority", &self.authority),
            ("prefix", &self.prefix),
        ];
        for (name, text) in texts {
            let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '?' | '#');
            if text.is_empty() || (name != "cluster" && !text.chars().all(fits)) {
                place
                    .field(name)
                    .refuse("text of visible characters without \"/\", \"?\" and \"#\"");
            }
        }
        let millis = |name: &str, duration: &DurationText| {
            let millis = u32::try_from(duration.get().as_millis()).unwrap_or(u32::MAX);
            if millis == 0 || millis > 60_000 {
                place
                    .field(name)
                    .refuse("a duration from \"1ms\" to \"1m\"");
            }
            millis
        };
        let timeout = millis("timeout", &self.timeout);
        let hedge_after = millis("hedge_after", &self.hedge_after);
        Some(Remote {
            cluster: self.cluster,
            authority: self.authority,
            prefix: self.prefix,
            credentials: self.credentials,
            timeout,
            hedge_after,
        })
    }
}
