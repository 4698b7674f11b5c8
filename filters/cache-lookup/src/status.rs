//! `Cache-Status` (RFC 9211).

use crate::decision::Outcome;

/// What a member of `Cache-Status` says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The cache's name.
    pub name: &'a str,
    /// What became of the request.
    pub outcome: Option<Outcome>,
    /// The status that came from upstream.
    pub forwarded_status: Option<u16>,
    /// Seconds for which the response stays fresh; less than 0 if it is stale.
    pub ttl: Option<i64>,
    /// Whether the response is stored.
    pub stored: bool,
    /// Whether the request waited for another one.
    pub collapsed: bool,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// Why, in short.
    pub detail: Option<&'a str>,
}

/// Writes the member.
pub fn member(facts: &Facts<'_>) -> String {
    // Without the machinery of formatting, which would be the largest part of it.
    let mut out = String::with_capacity(64);
    out.push_str(facts.name);
    match facts.outcome {
        Some(Outcome::Hit | Outcome::Stale) => out.push_str("; hit"),
        Some(outcome) => {
            out.push_str("; fwd=");
            out.push_str(outcome.forwarded_as());
            if let Some(status) = facts.forwarded_status {
                out.push_str("; fwd-status=");
                out.push_str(&status.to_string());
            }
        }
        None => {}
    }
    if let Some(ttl) = facts.ttl {
        out.push_str("; ttl=");
        out.push_str(&ttl.to_string());
    }
    if facts.stored {
        out.push_str("; stored");
    }
    if facts.collapsed {
        out.push_str("; collapsed");
    }
    if let Some(key) = facts.key {
        out.push_str("; key=\"");
        for &byte in key {
            match byte {
                b'"' | b'\\' => {
                    out.push('\\');
                    out.push(char::from(byte));
                }
                0x20..=0x7e => out.push(char::from(byte)),
                _ => out.push('.'),
            }
        }
        out.push('"');
    }
    if let Some(detail) = facts.detail {
        out.push_str("; detail=");
        out.push_str(detail);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: Facts<'_> = Facts {
        name: "penstock",
        outcome: None,
        forwarded_status: None,
        ttl: None,
        stored: false,
        collapsed: false,
        key: None,
        detail: None,
    };

    #[test]
    fn a_hit_says_how_long_it_stays_fresh() {
        let facts = Facts {
            outcome: Some(Outcome::Hit),
            ttl: Some(376),
            ..NAMED
        };
        assert_eq!(member(&facts), "penstock; hit; ttl=376");
    }

    #[test]
    fn a_forwarded_request_says_why_and_what_came() {
        let facts = Facts {
            outcome: Some(Outcome::Revalidated),
            forwarded_status: Some(304),
            ttl: Some(-5),
            collapsed: true,
            ..NAMED
        };
        let expected = "penstock; fwd=stale; fwd-status=304; ttl=-5; collapsed";
        assert_eq!(member(&facts), expected);
        let facts = Facts {
            outcome: Some(Outcome::Miss),
            forwarded_status: Some(200),
            stored: true,
            detail: Some("x"),
            ..NAMED
        };
        let expected = "penstock; fwd=uri-miss; fwd-status=200; stored; detail=x";
        assert_eq!(member(&facts), expected);
    }

    #[test]
    fn a_key_is_a_string_without_control_characters() {
        let facts = Facts {
            key: Some(b"a\"b\\\r\n\xff"),
            ..NAMED
        };
        assert_eq!(member(&facts), "penstock; key=\"a\\\"b\\\\...\"");
    }
}
