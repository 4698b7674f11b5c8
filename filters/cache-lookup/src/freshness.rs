//! How long a response is fresh, and how old it is (RFC 9111 section 4.2).

use filter_core::headers::Headers;

use crate::cache_control::{self, Delta, Directives};
use crate::date::{self, Seconds};
use crate::{list, targeted};

/// "A cache MUST consider the value to be 2147483648 (2^31) or the greatest positive integer it can
/// conveniently represent" (section 1.2.2): larger ages are this one.
pub const OLDEST: u64 = 2_147_483_648;

/// What a response says about its reuse, read from its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The directives that count: the targeted field's, or those of `Cache-Control`.
    pub directives: Directives,
    /// Whether a targeted field takes the place of `Cache-Control` and `Expires`.
    pub is_targeted: bool,
}

impl Control {
    /// Reads the first of the targeted fields that is there and valid, or else `Cache-Control`
    /// (RFC 9213 section 2.2).
    pub fn of(fields: &Headers<'_>, targets: &[String]) -> Self {
        for target in targets {
            if let Some(directives) = targeted::parse(fields.all(target)) {
                return Self {
                    directives,
                    is_targeted: true,
                };
            }
        }
        Self {
            directives: Directives::parse(fields.all("cache-control")),
            is_targeted: false,
        }
    }
}

/// Where a lifetime comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The origin said it.
    Explicit,
    /// It is estimated from `Last-Modified` (section 4.2.2).
    Heuristic,
    /// The configuration says it.
    Configured,
    /// Nothing tells of one.
    None,
}

/// How long a response is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Seconds from its generation.
    pub seconds: u64,
    /// Why.
    pub source: Source,
}

/// How lifetimes are estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heuristic {
    /// The share of the time since the last modification, in percent; 0 estimates none.
    pub percent: u64,
    /// The longest estimate, in seconds.
    pub most: u64,
}

/// Status codes that are "defined as cacheable by default", also called heuristically cacheable
/// (RFC 9110 section 15.1).
pub const fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(
        status,
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// The freshness lifetime (section 4.2.1) in a shared cache: `s-maxage`, else `max-age`, else
/// `Expires` less `Date`, else an estimate. `date` is when the response was generated.
pub fn lifetime(
    fields: &Headers<'_>,
    control: &Control,
    status: u16,
    date: Seconds,
    heuristic: Heuristic,
) -> Lifetime {
    let explicit = |seconds| Lifetime {
        seconds,
        source: Source::Explicit,
    };
    for delta in [control.directives.s_maxage, control.directives.max_age] {
        match delta {
            Delta::Seconds(seconds) => return explicit(seconds),
            Delta::Invalid => return explicit(0),
            Delta::Absent => {}
        }
    }
    if !control.is_targeted {
        let mut expires = fields.all("expires");
        if let Some(first) = expires.next() {
            // "A cache recipient MUST interpret invalid date formats, especially the value "0", as
            // representing a time in the past" (section 5.3).
            let at = date::parse(first, date).unwrap_or_default();
            return explicit(at.saturating_sub(date));
        }
    }
    let may_estimate = is_heuristically_cacheable(status) || control.directives.public;
    let modified = fields
        .first("last-modified")
        .and_then(|text| date::parse(text, date));
    match modified {
        Some(modified) if may_estimate && heuristic.percent > 0 => {
            let since = date.saturating_sub(modified);
            let share = since.saturating_mul(heuristic.percent);
            Lifetime {
                seconds: share
                    .checked_div(100)
                    .unwrap_or_default()
                    .min(heuristic.most),
                source: Source::Heuristic,
            }
        }
        _ => Lifetime {
            seconds: 0,
            source: Source::None,
        },
    }
}

/// The value of `Age` (section 5.1): "SHOULD use the first member …, discarding subsequent ones. If
/// the field value (after discarding additional members) is invalid …, a cache SHOULD ignore the
/// field."
pub fn age_value(fields: &Headers<'_>) -> u64 {
    let first = list::members(fields.all("age").take(1)).next();
    first
        .and_then(cache_control::number)
        .unwrap_or_default()
        .min(OLDEST)
}

/// The moments between which a response came, in milliseconds of Unix time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// When the request was sent.
    pub request: u64,
    /// When the response's header arrived.
    pub response: u64,
}

/// `corrected_initial_age` in seconds (section 4.2.3): the greater of what the clocks say and what
/// caches on the way say.
pub fn initial_age(age: u64, date: Seconds, moments: Moments) -> u64 {
    let apparent = seconds(moments.response).saturating_sub(date);
    let delay = seconds(moments.response.saturating_sub(moments.request));
    apparent.max(age.saturating_add(delay)).min(OLDEST)
}

/// `current_age` in seconds (section 4.2.3).
pub fn current_age(initial: u64, response: u64, now: u64) -> u64 {
    let resident = seconds(now.saturating_sub(response));
    initial.saturating_add(resident).min(OLDEST)
}

/// Whole seconds of milliseconds.
pub const fn seconds(millis: u64) -> u64 {
    match millis.checked_div(1_000) {
        Some(seconds) => seconds,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Seconds = 1_795_910_400;
    const TENTH: Heuristic = Heuristic {
        percent: 10,
        most: 86_400,
    };

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        Headers::encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    fn of(status: u16, fields: &[(&str, &str)]) -> Lifetime {
        let block = block(fields);
        let fields = Headers::decode(&block);
        let control = Control::of(&fields, &["cdn-cache-control".to_owned()]);
        lifetime(&fields, &control, status, NOW, TENTH)
    }

    fn explicit(fields: &[(&str, &str)]) -> u64 {
        let lifetime = of(200, fields);
        assert_eq!(lifetime.source, Source::Explicit);
        lifetime.seconds
    }

    #[test]
    fn if_the_cache_is_shared_and_s_maxage_is_present_use_its_value() {
        for text in ["max-age=1, s-maxage=3600", "s-maxage=3600, max-age=1"] {
            assert_eq!(explicit(&[("cache-control", text)]), 3600);
        }
    }

    #[test]
    fn if_max_age_is_present_use_its_value_whatever_expires_says() {
        let past = date::format(NOW - 10_000);
        let fields = [("cache-control", "max-age=3600"), ("expires", &*past)];
        assert_eq!(explicit(&fields), 3600);
        let fields = [
            ("cache-control", "max-age=0"),
            ("expires", &*date::format(NOW + 99)),
        ];
        assert_eq!(explicit(&fields), 0);
        assert_eq!(
            explicit(&[("cache-control", "max-age=3600"), ("expires", "0")]),
            3600
        );
    }

    #[test]
    fn if_expires_is_present_use_its_value_minus_the_date() {
        assert_eq!(explicit(&[("expires", &date::format(NOW + 300))]), 300);
        assert_eq!(explicit(&[("expires", &date::format(NOW))]), 0);
        assert_eq!(explicit(&[("expires", &date::format(NOW - 300))]), 0);
    }

    #[test]
    fn an_invalid_expires_is_a_time_in_the_past() {
        let modified = date::format(NOW - 86_400);
        for text in ["0", "-1", "never", "Thu, 18 Aug 2050 02:01:18 UTC"] {
            let fields = [("expires", text), ("last-modified", &*modified)];
            assert_eq!(explicit(&fields), 0, "{text}");
        }
    }

    #[test]
    fn invalid_freshness_information_is_stale() {
        let modified = date::format(NOW - 86_400);
        let fields = [
            ("cache-control", "max-age=x"),
            ("last-modified", &*modified),
        ];
        assert_eq!(explicit(&fields), 0);
    }

    #[test]
    fn a_heuristic_is_a_share_of_the_time_since_the_last_modification() {
        let modified = date::format(NOW - 86_400);
        for status in [200, 203, 204, 404, 405, 410, 414, 501] {
            let lifetime = of(status, &[("last-modified", &modified)]);
            assert_eq!(
                (lifetime.seconds, lifetime.source),
                (8_640, Source::Heuristic)
            );
        }
        let old = date::format(NOW - 86_400 * 400);
        assert_eq!(of(200, &[("last-modified", &old)]).seconds, 86_400);
        assert_eq!(of(200, &[]).source, Source::None);
    }

    #[test]
    fn a_heuristic_is_for_statuses_that_are_cacheable_by_default_or_marked_public() {
        let modified = date::format(NOW - 86_400);
        for status in [201, 202, 302, 403, 502, 503, 504, 599] {
            assert_eq!(
                of(status, &[("last-modified", &modified)]).source,
                Source::None
            );
        }
        let fields = [("last-modified", &*modified), ("cache-control", "public")];
        assert_eq!(of(599, &fields).source, Source::Heuristic);
    }

    #[test]
    fn a_targeted_field_takes_the_place_of_cache_control_and_expires() {
        let later = date::format(NOW + 99);
        let fields = [
            ("cdn-cache-control", "max-age=7"),
            ("cache-control", "no-store, max-age=1"),
            ("expires", &*later),
        ];
        assert_eq!(explicit(&fields), 7);
        let fields = [("cdn-cache-control", "foo"), ("expires", &*later)];
        assert_eq!(of(200, &fields).source, Source::None);
        let fields = [("cdn-cache-control", "&"), ("expires", &*later)];
        assert_eq!(explicit(&fields), 99);
    }

    #[test]
    fn the_first_member_of_age_is_used_and_an_invalid_one_ignored() {
        let age = |lines: &[&str]| {
            let fields: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
            age_value(&Headers::decode(&block(&fields)))
        };
        assert_eq!(age(&["7200,0"]), 7200);
        assert_eq!(age(&["0", "7200"]), 0);
        assert_eq!(age(&["7200", "0"]), 7200);
        for text in ["abc", "-7200", "7200.0", "", "\"1\""] {
            assert_eq!(age(&[text]), 0, "{text}");
        }
        assert_eq!(age(&["1180591620717411303424"]), OLDEST, "2^70");
    }

    #[test]
    fn the_initial_age_is_the_greater_of_clock_and_age_field() {
        let moments = |request, response| Moments {
            request: (NOW - 5 + request) * 1_000,
            response: (NOW - 5 + response) * 1_000,
        };
        assert_eq!(initial_age(0, NOW - 5, moments(0, 0)), 0);
        // The response took 3 s: it may be that old.
        assert_eq!(initial_age(30, NOW - 5, moments(0, 3)), 33);
        // A clock of the origin that is behind, or a cache that says no age.
        assert_eq!(initial_age(0, NOW - 105, moments(0, 0)), 100);
        // One that is ahead makes nothing younger than its age field.
        assert_eq!(initial_age(15, NOW + 100, moments(0, 0)), 15);
    }

    #[test]
    fn the_current_age_adds_the_time_in_the_cache() {
        assert_eq!(current_age(30, 1_000, 4_100), 33);
        // The clock was put back.
        assert_eq!(current_age(30, 9_000, 4_100), 30);
        assert_eq!(current_age(OLDEST, 0, u64::MAX), OLDEST);
    }
}
