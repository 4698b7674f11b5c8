//! What a cache needs to know of a request, gathered in one pass over its headers.

use filter_core::headers::Headers;

use crate::cache_control::{Delta, Directives};
use crate::list;

/// What a method means to a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    #[default]
    Get,
    /// `HEAD`.
    Head,
    /// `POST`: unsafe, but its answer can be cached.
    Post,
    /// `QUERY` (RFC 10008): safe, with a body that belongs to the key.
    Query,
    /// Another safe method; nothing is cached or invalidated.
    Safe,
    /// A method that changes something, or that isn't known: "a cache MUST write through requests
    /// with methods that are unsafe" (section 4).
    Unsafe,
}

impl Method {
    fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"QUERY" => Self::Query,
            // Safe by the IANA registry.
            b"OPTIONS" | b"TRACE" | b"PRI" | b"PROPFIND" | b"REPORT" | b"SEARCH" => Self::Safe,
            _ => Self::Unsafe,
        }
    }

    /// Whether a successful answer invalidates what is stored (section 4.4).
    pub const fn invalidates(self) -> bool {
        matches!(self, Self::Post | Self::Unsafe)
    }
}

/// A request as a cache sees it.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    /// All of its headers.
    pub headers: Headers<'a>,
    /// What its method means.
    pub method: Method,
    /// Its method's name.
    pub method_name: &'a [u8],
    /// `:scheme`.
    pub scheme: &'a [u8],
    /// `:authority`.
    pub authority: &'a [u8],
    /// `:path`, with the query.
    pub target: &'a [u8],
    /// Its `Cache-Control`, and what `Pragma` says without one.
    pub directives: Directives,
    /// It has credentials in `Authorization`.
    pub is_authorized: bool,
    /// `Range`.
    pub range: Option<&'a [u8]>,
    /// `If-Range`.
    pub if_range: Option<&'a [u8]>,
    /// It has `If-None-Match`.
    pub if_none_match: bool,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a [u8]>,
    /// It has `If-Match` or `If-Unmodified-Since`, "not applicable to a cache" (section 4.3.2).
    pub has_origin_condition: bool,
    /// It is for a gRPC server, or wants another protocol.
    pub is_no_plain_http: bool,
    /// `Content-Type`.
    pub content_type: &'a [u8],
}

impl<'a> Seen<'a> {
    /// Gathers what there is in the headers.
    pub fn of(headers: Headers<'a>) -> Self {
        let mut seen = Self {
            headers,
            ..Self::default()
        };
        let (mut has_control, mut pragma) = (false, None);
        for (name, value) in headers {
            match name {
                b":method" => {
                    seen.method = Method::of(value);
                    seen.method_name = value;
                }
                b":scheme" => seen.scheme = value,
                b":authority" => seen.authority = value,
                b":path" => seen.target = value,
                b"authorization" => seen.is_authorized = true,
                b"cache-control" => has_control = true,
                b"pragma" => pragma = pragma.or(Some(value)),
                b"range" => seen.range = Some(value),
                b"if-range" => seen.if_range = Some(value),
                b"if-none-match" => seen.if_none_match = true,
                b"if-modified-since" => seen.if_modified_since = Some(value),
                b"if-match" | b"if-unmodified-since" => seen.has_origin_condition = true,
                b"upgrade" | b":protocol" => seen.is_no_plain_http = true,
                b"content-type" => {
                    seen.content_type = value;
                    seen.is_no_plain_http |= value.starts_with(b"application/grpc");
                }
                _ => {}
            }
        }
        seen.is_no_plain_http |= seen.method_name == b"CONNECT";
        if has_control {
            seen.directives = Directives::parse(headers.all("cache-control"));
        } else if let Some(pragma) = pragma
            && list::members([pragma]).any(|member| member.eq_ignore_ascii_case(b"no-cache"))
        {
            // "Pragma: no-cache" of HTTP/1.0 clients, which know no `Cache-Control` (RFC 7234
            // section 5.4; deprecated by RFC 9111).
            seen.directives.set(b"no-cache", None);
        }
        seen
    }

    /// Whether it asks for the response only if it changed.
    pub const fn is_conditional(&self) -> bool {
        self.if_none_match || self.if_modified_since.is_some()
    }

    /// Leaves clients' directives out but `no-store`, which is about their own privacy.
    pub fn ignore_directives(&mut self) {
        self.directives = Directives {
            no_store: self.directives.no_store,
            ..Directives::default()
        };
    }

    /// Whether a response of that age and remaining freshness suits its directives (section 5.2.1).
    /// `stale` is for how long the response has been stale, and `may_be_stale` whether it can be
    /// used so at all.
    pub fn accepts(&self, age: u64, lifetime: u64, stale: Option<u64>, may_be_stale: bool) -> bool {
        let asked = &self.directives;
        if !asked.no_cache.fields().is_empty() || asked.no_cache.is_all() {
            return false;
        }
        let young = match asked.max_age {
            Delta::Seconds(most) => age <= most,
            Delta::Invalid => false,
            Delta::Absent => true,
        };
        let stays = match asked.min_fresh {
            Delta::Seconds(least) => lifetime.saturating_sub(age) >= least,
            Delta::Invalid => false,
            Delta::Absent => true,
        };
        let fresh_enough = match (stale, asked.max_stale) {
            (None, _) => true,
            (Some(_), Delta::Absent) => false,
            (Some(by), Delta::Seconds(most)) => may_be_stale && by <= most,
            // "If no value is assigned to max-stale, then the client will accept a stale response
            // of any age."
            (Some(_), Delta::Invalid) => may_be_stale,
        };
        young && stays && fresh_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        Headers::encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    fn accepts(control: &str, age: u64, lifetime: u64) -> bool {
        let block = block(&[("cache-control", control)]);
        let seen = Seen::of(Headers::decode(&block));
        seen.accepts(age, lifetime, age.checked_sub(lifetime), true)
    }

    #[test]
    fn max_age_prefers_a_response_whose_age_is_no_greater() {
        assert!(!accepts("max-age=0", 1, 3600));
        assert!(accepts("max-age=600", 600, 3600));
        assert!(!accepts("max-age=600", 1800, 3600));
        assert!(!accepts("max-age=x", 0, 3600));
    }

    #[test]
    fn max_stale_accepts_a_response_that_has_exceeded_its_lifetime() {
        assert!(accepts("max-stale=1000", 2000, 1500));
        assert!(!accepts("max-stale=10", 2000, 1500));
        assert!(accepts("max-stale", 2000, 1500));
        assert!(!accepts("x", 2000, 1500));
    }

    #[test]
    fn max_stale_does_not_help_where_staleness_is_prohibited() {
        let block = block(&[("cache-control", "max-stale")]);
        let seen = Seen::of(Headers::decode(&block));
        assert!(!seen.accepts(20, 10, Some(10), false));
    }

    #[test]
    fn min_fresh_prefers_a_response_that_stays_fresh() {
        assert!(!accepts("min-fresh=2000", 0, 1500));
        assert!(!accepts("min-fresh=1000", 1000, 1500));
        assert!(accepts("min-fresh=500", 1000, 1500));
    }

    #[test]
    fn no_cache_prefers_a_validated_response() {
        assert!(!accepts("no-cache", 0, 1500));
        assert!(!accepts("No-Cache=\"x\"", 0, 1500));
    }

    #[test]
    fn pragma_counts_without_cache_control_only() {
        let no_cache = |fields: &[(&str, &str)]| {
            Seen::of(Headers::decode(&block(fields)))
                .directives
                .no_cache
                .is_all()
        };
        assert!(no_cache(&[("pragma", "no-cache")]));
        assert!(!no_cache(&[("pragma", "x"), ("cookie", "no-cache")]));
        assert!(!no_cache(&[
            ("pragma", "no-cache"),
            ("cache-control", "max-age=3")
        ]));
    }

    #[test]
    fn methods_that_are_not_known_are_unsafe() {
        for name in ["PUT", "DELETE", "PATCH", "M-SEARCH", "get", "", "POST"] {
            assert!(Method::of(name.as_bytes()).invalidates(), "{name}");
        }
        for name in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND"] {
            assert!(!Method::of(name.as_bytes()).invalidates(), "{name}");
        }
    }
}
