//! `Cache-Control` (RFC 9111 section 5.2), in requests and responses.
//!
//! Directives are compared without case and may be tokens or quoted strings. Of a directive that
//! comes twice the first counts (section 4.2.1). Freshness that can't be read counts as none:
//! "caches are encouraged to consider responses that have invalid freshness information … to be
//! stale".

use crate::list;

/// A number of seconds that a directive gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delta {
    /// The directive isn't there.
    #[default]
    Absent,
    /// It is there, and its value is no number.
    Invalid,
    /// So many seconds.
    Seconds(u64),
}

impl Delta {
    /// The seconds, if they could be read.
    pub const fn seconds(self) -> Option<u64> {
        match self {
            Self::Seconds(seconds) => Some(seconds),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// Whether the directive is there, readable or not.
    pub const fn is_present(self) -> bool {
        !matches!(self, Self::Absent)
    }

    fn set(&mut self, value: Option<&[u8]>) {
        if *self == Self::Absent {
            *self = value.map_or(Self::Invalid, delta_seconds);
        }
    }
}

/// A directive that can name fields: `no-cache` and `private`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The directive isn't there.
    #[default]
    None,
    /// It is about these fields only; names in lower case.
    Fields(Vec<String>),
    /// It is about the whole response.
    All,
}

impl Scope {
    /// Whether it is about the whole response.
    pub const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// The fields that it names.
    pub fn fields(&self) -> &[String] {
        match self {
            Self::Fields(fields) => fields,
            Self::None | Self::All => &[],
        }
    }

    fn set(&mut self, value: Option<&[u8]>) {
        let named = value.and_then(list::unquoted).map(|text| {
            let names = list::members([&*text]);
            let names = names.map(|name| String::from_utf8_lossy(name).to_ascii_lowercase());
            names.collect::<Vec<_>>()
        });
        match (named, &mut *self) {
            // Without fields, or with a list that can't be read, it is about everything.
            (None, _) => *self = Self::All,
            (Some(names), _) if names.is_empty() => *self = Self::All,
            (Some(_), Self::All) => {}
            (Some(names), Self::None) => *self = Self::Fields(names),
            (Some(names), Self::Fields(fields)) => fields.extend(names),
        }
    }
}

/// The directives of a message that a shared cache knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `max-age`.
    pub max_age: Delta,
    /// `s-maxage`, of responses.
    pub s_maxage: Delta,
    /// `max-stale`, of requests: [`Delta::Invalid`] without value, which allows any age.
    pub max_stale: Delta,
    /// `min-fresh`, of requests.
    pub min_fresh: Delta,
    /// `stale-while-revalidate` (RFC 5861).
    pub stale_while_revalidate: Delta,
    /// `stale-if-error` (RFC 5861).
    pub stale_if_error: Delta,
    /// `no-cache`.
    pub no_cache: Scope,
    /// `private`.
    pub private: Scope,
    /// `no-store`.
    pub no_store: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `only-if-cached`, of requests.
    pub only_if_cached: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
}

impl Directives {
    /// Reads all lines of the field.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut directives = Self::default();
        for member in list::members(lines) {
            let mut parts = member.splitn(2, |&byte| byte == b'=');
            let name = parts.next().unwrap_or_default();
            let value = parts.next();
            if !is_well_formed(name, value) {
                directives.restrict(member);
            }
            directives.set(name, value);
        }
        directives
    }

    /// Takes what forbids something out of text that is no directive, such as `no-store;` or
    /// `max-age=60 private`: whoever wrote it didn't mean it to be ignored.
    fn restrict(&mut self, text: &[u8]) {
        for word in text.split(|&byte| !is_tchar(byte)) {
            match &*list::lower(word) {
                b"no-store" => self.no_store = true,
                b"private" => self.private = Scope::All,
                b"no-cache" => self.no_cache = Scope::All,
                _ => {}
            }
        }
    }

    /// Takes one directive; those that aren't known are ignored (section 5.2.3).
    pub fn set(&mut self, name: &[u8], value: Option<&[u8]>) {
        match &*list::lower(name) {
            b"max-age" => self.max_age.set(value),
            b"s-maxage" => self.s_maxage.set(value),
            b"max-stale" => self.max_stale.set(value),
            b"min-fresh" => self.min_fresh.set(value),
            b"stale-while-revalidate" => self.stale_while_revalidate.set(value),
            b"stale-if-error" => self.stale_if_error.set(value),
            b"no-cache" => self.no_cache.set(value),
            b"private" => self.private.set(value),
            b"no-store" => self.no_store = true,
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"immutable" => self.immutable = true,
            // `max-age =1` and the like: freshness that can't be read.
            trimmed => match trimmed.trim_ascii() {
                b"max-age" if trimmed != b"max-age" => self.max_age.set(None),
                b"s-maxage" if trimmed != b"s-maxage" => self.s_maxage.set(None),
                _ => {}
            },
        }
    }
}

/// Whether a directive is what section 5.2 has: `token [ "=" ( token / quoted-string ) ]`.
fn is_well_formed(name: &[u8], value: Option<&[u8]>) -> bool {
    let is_token = |text: &[u8]| !text.is_empty() && text.iter().copied().all(is_tchar);
    let is_value =
        |text: &[u8]| is_token(text) || text.starts_with(b"\"") && list::unquoted(text).is_some();
    is_token(name) && value.is_none_or(is_value)
}

/// Whether a byte may be in a token (RFC 9110 section 5.6.2).
const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Reads seconds (section 1.2.2): digits, as a token or quoted. A number that is too large to be
/// told is the largest one.
pub fn delta_seconds(value: &[u8]) -> Delta {
    let Some(text) = list::unquoted(value) else {
        return Delta::Invalid;
    };
    match number(&text) {
        Some(seconds) => Delta::Seconds(seconds),
        None => Delta::Invalid,
    }
}

/// Reads digits and nothing else; a number too large is the largest one.
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, &digit| {
        let digit = char::from(digit).to_digit(10)?;
        // What `saturating_mul` does, which takes a 128-bit product.
        if number > u64::MAX / 10 {
            return Some(u64::MAX);
        }
        Some(number.wrapping_mul(10).saturating_add(u64::from(digit)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Directives {
        Directives::parse([line.as_bytes()])
    }

    fn max_age(line: &str) -> Delta {
        parse(line).max_age
    }

    #[test]
    fn directives_are_compared_without_case() {
        let directives = parse("MaX-aGe=3600, No-StOrE, NO-CACHE, Must-Revalidate");
        assert_eq!(directives.max_age, Delta::Seconds(3600));
        assert!(directives.no_store && directives.no_cache.is_all());
        assert!(directives.must_revalidate);
    }

    #[test]
    fn what_forbids_something_counts_in_a_malformed_directive_too() {
        for line in [
            "max-age=60, no-store;",
            "max-age=60; No-Store",
            "max-age=60 no-store",
            "max-age=60, \"no-store\"",
            "max-age=60, foo=\"bar, no-store",
        ] {
            assert!(parse(line).no_store, "{line}");
        }
        assert!(parse("max-age=60, private;x").private.is_all());
        assert!(parse("max-age=60, no-cache;").no_cache.is_all());
        for line in [
            "max-age=60, foo=\"no-store, private\"",
            "max-age=60, foo=no-store",
            "max-age=60, no-store-at-all, x-private=1",
        ] {
            let directives = parse(line);
            assert!(!directives.no_store, "{line}");
            assert_eq!(directives.private, Scope::None, "{line}");
        }
    }

    #[test]
    fn a_token_and_a_quoted_string_mean_the_same() {
        assert_eq!(max_age("max-age=3600"), Delta::Seconds(3600));
        assert_eq!(max_age("max-age=\"3600\""), Delta::Seconds(3600));
        assert_eq!(max_age("max-age=003600"), Delta::Seconds(3600));
    }

    #[test]
    fn what_is_in_a_quoted_string_is_no_directive() {
        for line in [
            "extension=\"max-age=3600\", max-age=1",
            "max-age=1, extension=\"max-age=3600\"",
            "extension=\"no-store, max-age=3600\", max-age=1",
        ] {
            assert_eq!(max_age(line), Delta::Seconds(1), "{line}");
            assert!(!parse(line).no_store, "{line}");
        }
    }

    #[test]
    fn of_two_values_the_first_occurrence_is_used() {
        assert_eq!(max_age("max-age=1800, max-age=1"), Delta::Seconds(1800));
        let lines = [&b"max-age=1"[..], b"max-age=1800"];
        assert_eq!(Directives::parse(lines).max_age, Delta::Seconds(1));
    }

    #[test]
    fn a_max_age_with_non_integer_content_is_invalid() {
        for value in [
            "a3600", "3600a", "-1", "'3600'", "3600.5", "", " 1", "\"1", "0x10",
        ] {
            assert_eq!(
                max_age(&format!("max-age={value}")),
                Delta::Invalid,
                "{value}"
            );
        }
        assert_eq!(max_age("max-age"), Delta::Invalid);
        assert_eq!(max_age("max-age =3600"), Delta::Invalid);
    }

    #[test]
    fn a_delta_seconds_greater_than_can_be_represented_is_the_greatest_integer() {
        assert_eq!(
            max_age("max-age=99999999999"),
            Delta::Seconds(99_999_999_999)
        );
        let digits = "9".repeat(400);
        assert_eq!(
            max_age(&format!("max-age={digits}")),
            Delta::Seconds(u64::MAX)
        );
    }

    #[test]
    fn no_cache_and_private_can_name_fields() {
        let directives = parse("no-cache=\"A, b\", private=c, max-age=1");
        assert_eq!(directives.no_cache.fields(), ["a", "b"]);
        assert_eq!(directives.private.fields(), ["c"]);
        // Both forms: the whole response is the stricter one.
        assert!(parse("no-cache=\"a\", no-cache").no_cache.is_all());
        assert!(parse("no-cache, no-cache=\"a\"").no_cache.is_all());
        assert!(parse("private=\"\"").private.is_all());
        assert!(parse("private=\"a").private.is_all());
    }

    #[test]
    fn unrecognised_directives_are_ignored() {
        let directives = parse("foobar, x=\"y\", =, \"\", max-age=3600, é");
        assert_eq!(
            directives,
            Directives {
                max_age: Delta::Seconds(3600),
                ..Directives::default()
            }
        );
    }
}
