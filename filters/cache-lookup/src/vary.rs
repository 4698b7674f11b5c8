//! `Vary` (RFC 9111 section 4.1): the secondary key, of fields of the request in a normal form.
//!
//! Requests whose fields mean the same share a response: whitespace around commas and the lines
//! that a list is spread over don't matter for any field; of `Accept-Encoding` and
//! `Accept-Language` neither does the order of what is equally welcome, nor case.

use filter_core::headers::Headers;

use crate::head::Spec;
use crate::list;

/// The most fields that a `Vary` may name to be stored.
pub const MOST_FIELDS: usize = 16;
/// The most languages that a spec remembers.
const MOST_LANGUAGES: usize = 16;

/// What the lines of a `Vary` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// There is none, or it names no field: the response suits every request.
    None,
    /// The response differs by these fields; names in lower case.
    Fields(Vec<String>),
    /// It has `*`, more fields than can be kept, or what is no name: it suits no other request.
    Never,
}

impl Vary {
    /// Reads all lines of the field; `ignored` names are left out.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>, ignored: &[String]) -> Self {
        let mut fields: Vec<String> = Vec::new();
        for member in list::members(lines) {
            // RFC 9110 section 12.5.5: "*" as a member fails to match always.
            let is_name =
                |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(byte);
            let Ok(name) = String::from_utf8(member.to_ascii_lowercase()) else {
                return Self::Never;
            };
            if member == b"*" || !member.iter().all(is_name) {
                return Self::Never;
            }
            if !fields.contains(&name) && !ignored.contains(&name) {
                fields.push(name);
            }
        }
        match fields.len() {
            0 => Self::None,
            1..=MOST_FIELDS => Self::Fields(fields),
            _ => Self::Never,
        }
    }
}

/// Writes the secondary key of a request under a spec.
///
/// A request that prefers one language to all others, and one in which a response is stored, gets
/// the key of that response.
pub fn secondary_key(spec: &Spec, request: &Headers<'_>, select: bool) -> Vec<u8> {
    let mut key = spec.generation.to_le_bytes().to_vec();
    for name in &spec.fields {
        let value = normalised(name, request);
        let value = match value {
            Some(accepted) if select && name == "accept-language" => {
                let preferred = preferred_language(&accepted);
                let mut known = spec.languages.iter();
                let known = known.find(|(language, _)| Some(&**language) == preferred.as_deref());
                Some(known.map_or(accepted, |(_, stored)| stored.clone()))
            }
            value => value,
        };
        match value {
            // Absent isn't empty: "if (after any normalization …) a header field is absent from a
            // request, it can only match another request if it is also absent there".
            None => key.push(0),
            Some(value) => {
                key.push(1);
                let len = u64::try_from(value.len()).unwrap_or(u64::MAX);
                key.extend_from_slice(&len.to_le_bytes());
                key.extend_from_slice(&value);
            }
        }
    }
    key
}

/// Remembers the language that a response is in beside what its request accepted.
pub fn learn_language(spec: &mut Spec, request: &Headers<'_>, response: &Headers<'_>) {
    if !spec.fields.iter().any(|name| name == "accept-language") {
        return;
    }
    let mut languages = list::members(response.all("content-language"));
    let (Some(language), None) = (languages.next(), languages.next()) else {
        return;
    };
    let (Ok(language), Some(accepted)) = (
        String::from_utf8(language.to_ascii_lowercase()),
        normalised("accept-language", request),
    ) else {
        return;
    };
    spec.languages.retain(|(known, _)| *known != language);
    if spec.languages.len() >= MOST_LANGUAGES {
        spec.languages.remove(0);
    }
    spec.languages.push((language, accepted));
}

/// The value of a request's field in its normal form; `None` if the request hasn't the field.
pub fn normalised(name: &str, request: &Headers<'_>) -> Option<Vec<u8>> {
    let mut lines = request.all(name).peekable();
    lines.peek()?;
    let members: Vec<_> = list::members(lines).collect();
    Some(match name {
        "accept-encoding" | "accept-language" => weighted(&members),
        _ => members.join(&b","[..]),
    })
}

/// Members with their weights, the most welcome first and those alike in the order of the alphabet.
fn weighted(members: &[&[u8]]) -> Vec<u8> {
    let mut known: Vec<(u16, Vec<u8>)> = Vec::with_capacity(members.len());
    for member in members {
        let mut parts = member.split(|&byte| byte == b';');
        let name = parts.next().unwrap_or_default();
        let name = name.trim_ascii().to_ascii_lowercase();
        let weight = parts
            .map(<[u8]>::trim_ascii)
            .find_map(|part| {
                part.strip_prefix(b"q=")
                    .or_else(|| part.strip_prefix(b"Q="))
            })
            .map_or(1_000, thousandths);
        known.push((weight, name));
    }
    known.sort_by(|(a, left), (b, right)| b.cmp(a).then_with(|| left.cmp(right)));
    known.dedup();
    let mut out = Vec::new();
    for (weight, name) in known {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(&name);
        if weight != 1_000 {
            out.extend_from_slice(format!(";q={weight}").as_bytes());
        }
    }
    out
}

/// A weight (RFC 9110 section 12.4.2) in thousandths; what is none counts as 1.
fn thousandths(text: &[u8]) -> u16 {
    let (whole, fraction) = match text.split_first() {
        Some((b'0', rest)) => (0_u16, rest),
        Some((b'1', _)) | None => return 1_000,
        Some(_) => return 1_000,
    };
    let digits = fraction.strip_prefix(b".").unwrap_or(fraction);
    let mut unit = 100_u16;
    let mut sum = whole;
    for &digit in digits.iter().take(3) {
        let Some(digit) = char::from(digit).to_digit(10) else {
            return 1_000;
        };
        let digit = u16::try_from(digit).unwrap_or_default();
        sum = sum.saturating_add(digit.saturating_mul(unit));
        unit = unit.checked_div(10).unwrap_or_default();
    }
    sum
}

/// The one language that is more welcome than all others, of a normal form.
fn preferred_language(accepted: &[u8]) -> Option<String> {
    let mut members = accepted.split(|&byte| byte == b',');
    let weight = |member: &[u8]| {
        let at = member.iter().position(|&byte| byte == b';');
        at.and_then(|at| member.get(at..))
            .unwrap_or_default()
            .to_vec()
    };
    let first = members.next()?;
    if members
        .next()
        .is_some_and(|next| weight(next) == weight(first))
    {
        return None;
    }
    let name = first.split(|&byte| byte == b';').next()?;
    (name != b"*" && weight(first) != b";q=0").then_some(())?;
    String::from_utf8(name.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        Headers::encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    fn spec(names: &[&str]) -> Spec {
        Spec {
            generation: 1,
            fields: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Spec::default()
        }
    }

    fn key(spec: &Spec, fields: &[(&str, &str)]) -> Vec<u8> {
        secondary_key(spec, &Headers::decode(&block(fields)), true)
    }

    fn parse(lines: &[&str]) -> Vary {
        Vary::parse(
            lines.iter().map(|line| line.as_bytes()),
            &["ignored".to_owned()],
        )
    }

    #[test]
    fn a_member_of_star_always_fails_to_match() {
        for lines in [
            &["*"][..],
            &["*, *"],
            &["*", "*"],
            &[", *"],
            &["", "*"],
            &["*, Foo"],
            &["Foo, *"],
        ] {
            assert_eq!(parse(lines), Vary::Never, "{lines:?}");
        }
    }

    #[test]
    fn names_are_compared_without_case_and_once() {
        let expected = Vary::Fields(vec!["foo".to_owned(), "bar".to_owned()]);
        assert_eq!(parse(&["Foo, bar", "FOO", "Ignored"]), expected);
        assert_eq!(parse(&["", " ,"]), Vary::None);
        assert_eq!(parse(&[]), Vary::None);
    }

    #[test]
    fn what_is_no_name_or_too_many_of_them_suits_no_request() {
        assert_eq!(parse(&["a b"]), Vary::Never);
        assert_eq!(parse(&["\u{e9}"]), Vary::Never);
        let long: Vec<_> = (0..200).map(|number| format!("a-{number}")).collect();
        assert_eq!(parse(&[&long.join(",")]), Vary::Never, "a Vary of 1 KB");
    }

    #[test]
    fn all_fields_named_must_match() {
        let spec = spec(&["foo", "bar"]);
        let stored = key(&spec, &[("foo", "1"), ("bar", "abc"), ("other", "2")]);
        assert_eq!(
            stored,
            key(&spec, &[("bar", "abc"), ("foo", "1"), ("other", "3")])
        );
        assert_ne!(stored, key(&spec, &[("foo", "2"), ("bar", "abc")]));
        assert_ne!(stored, key(&spec, &[("foo", "1")]));
        assert_ne!(stored, key(&spec, &[]));
        // Where one value ends and the next begins counts.
        assert_ne!(
            key(&spec, &[("foo", "1b"), ("bar", "c")]),
            key(&spec, &[("foo", "1"), ("bar", "bc")])
        );
    }

    #[test]
    fn a_field_that_is_absent_matches_only_where_it_is_absent_too() {
        let spec = spec(&["foo", "bar"]);
        assert_eq!(key(&spec, &[("foo", "1")]), key(&spec, &[("foo", "1")]));
        assert_ne!(
            key(&spec, &[("foo", "1")]),
            key(&spec, &[("foo", "1"), ("bar", "")])
        );
    }

    #[test]
    fn whitespace_and_lines_are_normalised() {
        let spec = spec(&["foo"]);
        let expected = key(&spec, &[("foo", "1,2")]);
        assert_eq!(key(&spec, &[("foo", " 1, 2 ")]), expected);
        assert_eq!(key(&spec, &[("foo", "1"), ("foo", "2")]), expected);
        assert_ne!(key(&spec, &[("foo", "2,1")]), expected);
    }

    #[test]
    fn the_order_of_equally_welcome_languages_and_their_case_do_not_matter() {
        let spec = spec(&["accept-language"]);
        let of = |text| key(&spec, &[("accept-language", text)]);
        for text in ["de, en", "eN, De", " en ,   de", "de;q=1.0,en;q=1"] {
            assert_eq!(of(text), of("en, de"), "{text}");
        }
        assert_ne!(of("en, de;q=0.5"), of("en, de"));
        assert_ne!(of("en;q=0.5, de"), of("en, de;q=0.5"));
    }

    #[test]
    fn the_order_of_equally_welcome_codings_does_not_matter() {
        let spec = spec(&["accept-encoding"]);
        let of = |text| key(&spec, &[("accept-encoding", text)]);
        assert_eq!(of("gzip, br"), of("br,GZIP"));
        assert_ne!(of("gzip, br;q=0"), of("br, gzip"));
    }

    #[test]
    fn a_stored_language_that_a_request_prefers_to_all_others_is_selected() {
        let mut spec = spec(&["accept-language"]);
        let request = block(&[("accept-language", "en, de")]);
        let request = Headers::decode(&request);
        let response = block(&[("content-language", "DE")]);
        learn_language(&mut spec, &request, &Headers::decode(&response));
        let of = |text| key(&spec, &[("accept-language", text)]);
        assert_eq!(of("fr;q=0.5, de;q=1.0"), of("en, de"));
        assert_eq!(of("de"), of("de, en"));
        assert_ne!(of("fr, de"), of("en, de"), "both are as welcome");
        assert_ne!(of("fr, de;q=0.9"), of("en, de"));
        assert_ne!(of("*"), of("en, de"));
    }

    #[test]
    fn another_generation_finds_nothing_of_the_last() {
        let old = spec(&["foo"]);
        let new = Spec {
            generation: 2,
            ..old.clone()
        };
        assert_ne!(key(&old, &[("foo", "1")]), key(&new, &[("foo", "1")]));
    }

    #[test]
    fn a_language_that_is_refused_is_not_preferred() {
        assert_eq!(preferred_language(b"de").as_deref(), Some("de"));
        assert_eq!(preferred_language(b"de;q=0"), None);
    }
}
