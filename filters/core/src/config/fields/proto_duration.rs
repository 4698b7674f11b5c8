//! Durations as protobuf's JSON form has them, and as people write them.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};

use super::duration;

/// A duration of 0 to 366 days: `300s`, `0.5s`, `{seconds: 300}`, and also `250ms`, `5m`, `1h`, `1d`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ProtoDuration(Duration);

const ALLOWED: &str = "a duration up to 366 days, such as \"300s\", \"0.5s\", \"250ms\", \"5m\" or \
     {\"seconds\": 300}";

const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl ProtoDuration {
    /// Makes one of whole seconds; the longest one for more.
    pub const fn from_secs(seconds: u64) -> Self {
        let longest = duration::LONGEST.as_secs();
        Self(Duration::from_secs(if seconds < longest {
            seconds
        } else {
            longest
        }))
    }

    /// Returns the duration.
    pub const fn get(self) -> Duration {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        duration::parse(text).or_else(|| seconds(text)).map(Self)
    }
}

/// Reads decimal seconds with up to nine digits after the point, such as `1.5s`.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.strip_suffix('s')?.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    let duration = Duration::new(whole.parse().ok()?, nanos);
    (duration <= duration::LONGEST).then_some(duration)
}

struct DurationVisitor;

impl<'de> Visitor<'de> for DurationVisitor {
    type Value = ProtoDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALLOWED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ProtoDuration, E> {
        ProtoDuration::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    // What is left of a configuration with mistakes.
    fn visit_unit<E: Error>(self) -> Result<ProtoDuration, E> {
        Ok(ProtoDuration::from_secs(1))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ProtoDuration, A::Error> {
        let (mut seconds, mut nanos) = (0_u64, 0_u64);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "seconds" => seconds = map.next_value()?,
                "nanos" => nanos = map.next_value()?,
                _ => return Err(A::Error::unknown_field(&name, &["seconds", "nanos"])),
            }
        }
        let nanos = u32::try_from(nanos)
            .ok()
            .filter(|nanos| u64::from(*nanos) < NANOS_PER_SECOND);
        let duration = nanos.map(|nanos| Duration::new(seconds, nanos));
        duration
            .filter(|duration| *duration <= duration::LONGEST)
            .map(ProtoDuration)
            .ok_or_else(|| A::Error::invalid_value(Unexpected::Map, &self))
    }
}

impl<'de> Deserialize<'de> for ProtoDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(DurationVisitor)
    }
}

impl fmt::Display for ProtoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_nanos() {
            0 => write!(f, "{}s", self.0.as_secs()),
            nanos => {
                let fraction = format!("{nanos:09}");
                write!(
                    f,
                    "{}.{}s",
                    self.0.as_secs(),
                    fraction.trim_end_matches('0')
                )
            }
        }
    }
}

// For defaults in a schema.
#[cfg(not(target_arch = "wasm32"))]
impl serde::Serialize for ProtoDuration {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl schemars::JsonSchema for ProtoDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ProtoDuration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "object"],
            "description": ALLOWED,
            "pattern": "^([0-9]+(ms|s|m|h|d)|[0-9]+[.][0-9]{1,9}s)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_protobuf_seconds_and_units() {
        let cases = [
            ("300s", Some("300s")),
            ("0s", Some("0s")),
            ("1.5s", Some("1.5s")),
            ("0.000000001s", Some("0.000000001s")),
            ("250ms", Some("0.25s")),
            ("5m", Some("300s")),
            ("366d", Some("31622400s")),
            ("367d", None),
            ("31622400.1s", None),
            ("1.s", None),
            (".5s", None),
            ("1.0000000001s", None),
            ("-1s", None),
            ("1", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let duration = ProtoDuration::parse(text).map(|duration| duration.to_string());
            assert_eq!(duration.as_deref(), expected, "{text}");
        }
    }
}
