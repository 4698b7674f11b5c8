//! What is kept of a response besides its body, and the bytes that this is kept as.
//!
//! Two kinds of entries lie under keys. A [`Response`]: its status, its fields and what is needed to
//! tell its freshness, worked out once when it is stored. A [`Spec`]: that the responses to this key
//! differ by fields of the request (`Vary`), and where they are.

use filter_core::headers::Headers;

use crate::date::Seconds;
use crate::freshness;

const VERSION: u8 = 1;
const RESPONSE: u8 = 1;
const SPEC: u8 = 2;

/// An entry of the store, without the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A response.
    Response(Response),
    /// Where responses are.
    Spec(Spec),
}

/// A stored response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// What is true of it.
    pub flags: Flags,
    /// When it came, or was validated last: milliseconds of Unix time.
    pub response_time: u64,
    /// Its age then, in seconds.
    pub initial_age: u64,
    /// Seconds from its generation for which it is fresh.
    pub lifetime: u64,
    /// When it was generated, as its `Date` says.
    pub date: Seconds,
    /// Seconds of staleness in which it may be used while it is validated.
    pub while_revalidate: u64,
    /// Seconds of staleness in which it may be used in place of an error.
    pub if_error: u64,
    /// Of a part: the position of its first byte, and the length of the whole.
    pub part: Option<Part>,
    /// Its fields in the block of the ABI, without those that are not stored.
    pub fields: Vec<u8>,
}

/// Which part of a representation is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The position of its first byte.
    pub first: u64,
    /// The length of the whole.
    pub total: u64,
}

/// Facts about a stored response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// It must be validated before every use: `no-cache`.
    pub const NO_CACHE: Self = Self(1);
    /// It must not be used stale unless its own `stale-…` directives say so: `s-maxage`.
    pub const NO_STALE: Self = Self(2);
    /// It must never be used stale: `must-revalidate`, `proxy-revalidate`.
    pub const MUST_REVALIDATE: Self = Self(4);
    /// Its lifetime is estimated.
    pub const HEURISTIC: Self = Self(8);
    /// `stale-if-error` is its own directive.
    pub const IF_ERROR: Self = Self(16);

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self, when: bool) -> Self {
        if when { Self(self.0 | other.0) } else { self }
    }

    /// Whether all of `other` is in it.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// That responses differ by fields of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// Different from that of any spec before: old responses are not found again.
    pub generation: u64,
    /// Until when it is kept, in milliseconds of Unix time.
    pub until: u64,
    /// Names of the fields in lower case, in the order of `Vary`.
    pub fields: Vec<String>,
    /// For languages of stored responses: what their requests' `Accept-Language` was, normalised.
    pub languages: Vec<(String, Vec<u8>)>,
    /// The `No-Vary-Search` of the responses under a path, as it was written.
    pub search: Vec<u8>,
}

impl Response {
    /// Its fields.
    pub fn fields(&self) -> Headers<'_> {
        Headers::decode(&self.fields)
    }

    /// How old it is, in seconds.
    pub fn age(&self, now: u64) -> u64 {
        freshness::current_age(self.initial_age, self.response_time, now)
    }

    /// For how many seconds it has been stale; `None` while it is fresh.
    pub fn staleness(&self, now: u64) -> Option<u64> {
        self.age(now).checked_sub(self.lifetime)
    }

    /// When it is worth nothing any more, in milliseconds: after all windows in which it can be
    /// used stale, and after `keep` seconds more if it can be validated.
    pub fn keep_until(&self, keep: u64) -> u64 {
        let fields = self.fields();
        let can_validate =
            fields.first("etag").is_some() || fields.first("last-modified").is_some();
        let kept = if can_validate { keep } else { 0 };
        let stale = self.while_revalidate.max(self.if_error).max(kept);
        let left = self.lifetime.saturating_sub(self.initial_age);
        let seconds = left.saturating_add(stale).saturating_add(1);
        self.response_time
            .saturating_add(seconds.saturating_mul(1_000))
    }
}

impl Head {
    /// Writes the bytes that [`Head::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(vec![VERSION]);
        match self {
            Self::Response(response) => {
                out.0.reserve(response.fields.len().saturating_add(128));
                out.0.push(RESPONSE);
                out.number(u64::from(response.status));
                out.number(u64::from(response.flags.0));
                for number in [
                    response.response_time,
                    response.initial_age,
                    response.lifetime,
                    response.date,
                    response.while_revalidate,
                    response.if_error,
                ] {
                    out.number(number);
                }
                let part = response.part.unwrap_or(Part { first: 0, total: 0 });
                out.number(u64::from(response.part.is_some()));
                out.number(part.first);
                out.number(part.total);
                out.0.extend_from_slice(&response.fields);
            }
            Self::Spec(spec) => {
                out.0.push(SPEC);
                out.number(spec.generation);
                out.number(spec.until);
                out.text(&spec.search);
                out.count(spec.fields.len());
                spec.fields
                    .iter()
                    .for_each(|name| out.text(name.as_bytes()));
                out.count(spec.languages.len());
                for (language, accepted) in &spec.languages {
                    out.text(language.as_bytes());
                    out.text(accepted);
                }
            }
        }
        out.0
    }

    /// Reads an entry; `None` if the bytes are none, or those of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (&kind, rest) = rest.split_first()?;
        let mut from = Reader(rest);
        match (version, kind) {
            (VERSION, RESPONSE) => {
                let mut response = Response {
                    status: u16::try_from(from.number()?).ok()?,
                    flags: Flags(u16::try_from(from.number()?).ok()?),
                    response_time: from.number()?,
                    initial_age: from.number()?,
                    lifetime: from.number()?,
                    date: from.number()?,
                    while_revalidate: from.number()?,
                    if_error: from.number()?,
                    ..Response::default()
                };
                let is_part = from.number()? == 1;
                let part = Part {
                    first: from.number()?,
                    total: from.number()?,
                };
                response.part = is_part.then_some(part);
                response.fields = from.0.to_vec();
                (!response.fields().is_malformed()).then_some(Self::Response(response))
            }
            (VERSION, SPEC) => {
                let mut spec = Spec {
                    generation: from.number()?,
                    until: from.number()?,
                    search: from.text()?.to_vec(),
                    ..Spec::default()
                };
                let string = |text: &[u8]| String::from_utf8(text.to_vec()).ok();
                for _ in 0..from.number()? {
                    spec.fields.push(string(from.text()?)?);
                }
                for _ in 0..from.number()? {
                    let language = string(from.text()?)?;
                    spec.languages.push((language, from.text()?.to_vec()));
                }
                Some(Self::Spec(spec))
            }
            _ => None,
        }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn text(&mut self, text: &[u8]) {
        self.count(text.len());
        self.0.extend_from_slice(text);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response() -> Response {
        Response {
            status: 206,
            flags: Flags::default()
                .with(Flags::NO_CACHE, true)
                .with(Flags::HEURISTIC, false),
            response_time: 1_000,
            initial_age: 2,
            lifetime: 10,
            date: 4,
            while_revalidate: 5,
            if_error: 6,
            part: Some(Part { first: 7, total: 8 }),
            fields: Headers::encode([(&b"etag"[..], &b"\"\xff\""[..])]),
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let spec = Spec {
            generation: u64::MAX,
            until: 3,
            fields: vec!["foo".to_owned(), "accept-language".to_owned()],
            languages: vec![("de".to_owned(), b"de,en".to_vec())],
            search: b"params".to_vec(),
        };
        for head in [Head::Response(response()), Head::Spec(spec)] {
            assert_eq!(Head::decode(&head.encode()), Some(head));
        }
    }

    #[test]
    fn another_version_is_no_entry() {
        let mut bytes = Head::Response(response()).encode();
        bytes[0] = VERSION + 1;
        assert_eq!(Head::decode(&bytes), None);
    }

    #[test]
    fn a_response_is_stale_when_its_age_reaches_its_lifetime() {
        let response = response();
        assert_eq!(response.staleness(8_999), None);
        assert_eq!(response.staleness(9_000), Some(0));
        assert_eq!(response.staleness(12_000), Some(3));
    }

    #[test]
    fn a_response_is_kept_for_its_stale_windows_and_to_be_validated() {
        let mut response = response();
        assert_eq!(response.keep_until(100), 1_000 + (8 + 100 + 1) * 1_000);
        response.fields = Vec::new();
        assert_eq!(response.keep_until(100), 1_000 + (8 + 6 + 1) * 1_000);
        response.lifetime = u64::MAX;
        assert_eq!(response.keep_until(100), u64::MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_entry_or_none(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Head::decode(&bytes);
            bytes.splice(0..0, [VERSION, SPEC]);
            let _ = Head::decode(&bytes);
            bytes[1] = RESPONSE;
            let _ = Head::decode(&bytes);
        }
    }
}
