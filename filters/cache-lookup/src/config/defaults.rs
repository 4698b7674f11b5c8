//! Defaults that need a name.

use filter_core::config::fields::{Bounded, DurationText, HeaderName, ProtoDuration};

use super::raw::*;

/// Request headers by which responses of well-known frameworks were poisoned.
const UNKEYED: [&str; 12] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-path",
    "x-host",
    "x-http-method-override",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
];

const TEN_PERCENT: Bounded<0, 100> = Bounded::new(10).unwrap();
const MEBIBYTES_64: Bounded<1_048_576, 1_073_741_824> = Bounded::new(64 << 20).unwrap();
const MEBIBYTES_8: Bounded<1, 134_217_728> = Bounded::new(8 << 20).unwrap();
const MEBIBYTES_16: Bounded<0, 268_435_456> = Bounded::new(16 << 20).unwrap();
const KIBIBYTES_64: Bounded<1, 1_048_576> = Bounded::new(64 << 10).unwrap();

fn names(names: &[&str]) -> Vec<HeaderName> {
    names
        .iter()
        .filter_map(|name| HeaderName::new(name))
        .collect()
}

pub(super) fn targets() -> Vec<HeaderName> {
    names(&["penstock-cache-control", "cdn-cache-control"])
}

pub(super) fn tag_headers() -> Vec<HeaderName> {
    names(&["surrogate-key", "cache-tag"])
}

pub(super) fn late_bodies() -> bool {
    true
}

pub(super) fn purge_method() -> String {
    "PURGE".to_owned()
}

pub(super) fn secret_header() -> HeaderName {
    let mut names = names(&["x-purge-secret"]);
    names.pop().unwrap_or_else(secret_header)
}

pub(super) const fn longest_body() -> Bounded<1, 1_048_576> {
    KIBIBYTES_64
}

impl Default for RawHeuristic {
    fn default() -> Self {
        Self {
            percent: TEN_PERCENT,
            max: ProtoDuration::from_secs(24 * 60 * 60),
        }
    }
}

impl Default for RawStale {
    fn default() -> Self {
        Self {
            while_revalidate: ProtoDuration::from_secs(0),
            if_error: ProtoDuration::from_secs(10 * 60),
            keep: ProtoDuration::from_secs(60 * 60),
            cluster: None,
        }
    }
}

impl Default for RawPartial {
    fn default() -> Self {
        Self {
            store: true,
            content_range: ContentRange::Repair,
            complete_without_validator: false,
        }
    }
}

impl Default for RawPoisoning {
    fn default() -> Self {
        Self {
            unkeyed_headers: names(&UNKEYED),
        }
    }
}

impl Default for RawCollapse {
    fn default() -> Self {
        Self {
            enabled: true,
            wait: DurationText::from_secs(5),
            remember_uncacheable: DurationText::from_secs(2 * 60),
        }
    }
}

impl Default for RawStore {
    fn default() -> Self {
        Self {
            max_bytes: MEBIBYTES_64,
            max_object_bytes: MEBIBYTES_8,
            worker_bytes: MEBIBYTES_16,
        }
    }
}

impl Default for RawCacheStatus {
    fn default() -> Self {
        Self {
            name: "penstock".to_owned(),
            key: false,
        }
    }
}
