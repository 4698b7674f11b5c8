//! One token, and what is asked of it: whether it is right, and what it then amounts to.
//!
//! In order of cost: its form, what it claims, and only then its signature. Nothing that it says
//! goes anywhere before the signature was found to be right.

use std::time::Duration;

use crate::claims;
use crate::config::provider::{Output, Provider};
use crate::decimal;
use crate::jose::base64url;
use crate::jose::checks::{Audiences, check_issuer};
use crate::jose::claims::Claims;
use crate::jose::compact::Compact;
use crate::jose::date::NumericDate;
use crate::jose::json::{Kind, Value};
use crate::jose::keys::KeySet;
use crate::jose::refusal::{Reason, Refusal};
use crate::jose::verify::{Check, HostCheck, Key, Native};

/// A token whose form and claims are as asked for. Its signature may still be wrong.
#[derive(Debug)]
pub struct Candidate<'t> {
    compact: Compact<'t>,
    claims: Claims,
}

/// What a token amounts to upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The provider's position.
    pub provider: usize,
    /// What it claims.
    pub claims: Claims,
    /// Headers for the upstream.
    pub headers: Vec<(String, String)>,
    /// Filter state.
    pub properties: Vec<(String, String)>,
}

/// How signatures are checked that the host is better at: its answer, if it gives one.
pub type AskHost<'h> = dyn FnMut(&HostCheck<'_>) -> Option<bool> + 'h;

/// The type that a token is of where it doesn't say so itself.
const MEDIA_PREFIX: &str = "application/";

impl<'t> Candidate<'t> {
    /// Reads a token and compares all but its signature with what is asked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(
        token: &'t [u8],
        provider: &Provider,
        audiences: &Audiences,
        now: NumericDate,
    ) -> Result<Self, Refusal> {
        let candidate = Self::parse(token, provider.max_token_bytes)?;
        let Self { compact, claims } = &candidate;
        if let Some(issuer) = &provider.issuer {
            check_issuer(claims, issuer)?;
        }
        if !provider.algorithms.contains(&compact.header.alg) {
            let detail = "the provider doesn't allow the token's algorithm (`alg`)";
            return Err(Reason::AlgNotAllowed.because(detail));
        }
        let typ = compact.header.typ.as_deref();
        if !provider.token_types.is_empty() && !is_of_type(typ, &provider.token_types) {
            let detail = "the token isn't of a type that the provider allows (`typ`)";
            return Err(Reason::WrongType.because(detail));
        }
        provider.check_claims(claims, audiences, now)?;
        Ok(candidate)
    }

    /// Reads a token and compares nothing.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn parse(token: &'t [u8], max_bytes: usize) -> Result<Self, Refusal> {
        let mut compact = Compact::parse(token, max_bytes)?;
        let claims = Claims::read(std::mem::take(&mut compact.payload))?;
        Ok(Self { compact, claims })
    }

    /// Returns what the token says about its issuer.
    pub fn issuer(&self) -> Option<String> {
        self.claims.issuer().map(std::borrow::Cow::into_owned)
    }

    /// Checks the signature by a set of keys.
    ///
    /// # Errors
    /// If no key of the set made it.
    pub fn check(
        &self,
        keys: &KeySet,
        native: Native,
        ask_host: &mut AskHost<'_>,
    ) -> Result<(), Refusal> {
        let mut keys = keys.candidates(&self.compact.header)?;
        match keys.any(|key| verify_with(key, &self.compact, native, ask_host)) {
            true => Ok(()),
            false => {
                Err(Reason::BadSignature.because("no key of the set made the token's signature"))
            }
        }
    }

    /// Returns until when the token is good.
    pub fn until(&self, provider: &Provider) -> NumericDate {
        until(&self.claims, provider)
    }

    /// Makes what goes upstream.
    pub fn into_verified(self, number: usize, output: &Output) -> Verified {
        let signed = self.compact.signing_input;
        let mut parts = signed.splitn(2, |&byte| byte == b'.');
        let (header, payload) = match output.payload_header.is_some() || output.header_key.is_some()
        {
            true => (parts.next(), parts.next().unwrap_or_default()),
            false => (None, &b""[..]),
        };
        let payload = String::from_utf8_lossy(payload).into_owned();
        Verified::new(number, self.claims, payload, header, output)
    }
}

impl Verified {
    /// Makes what goes upstream of a token that was introspected.
    pub fn of_claims(number: usize, claims: Claims, output: &Output) -> Self {
        let payload = match &output.payload_header {
            Some(_) => base64url::encode(claims.text().as_bytes()),
            None => String::new(),
        };
        Self::new(number, claims, payload, None, output)
    }

    fn new(
        provider: usize,
        claims: Claims,
        mut payload: String,
        header: Option<&[u8]>,
        output: &Output,
    ) -> Self {
        let mut headers = Vec::new();
        if let Some(name) = &output.payload_header {
            while output.pad && !payload.len().is_multiple_of(4) {
                payload.push('=');
            }
            headers.push((name.clone(), payload));
        }
        for (name, path) in &output.claims {
            if let Some(value) = claims::at(&claims, path).and_then(header_value) {
                headers.push((name.clone(), value));
            }
        }
        let mut properties = Vec::new();
        if let Some(key) = &output.payload_key {
            properties.push((key.clone(), normalized(&claims, &output.split)));
        }
        if let (Some(key), Some(header)) = (&output.header_key, header)
            && let Some(json) = base64url::decode(header).and_then(|b| String::from_utf8(b).ok())
        {
            properties.push((key.clone(), json));
        }
        Self {
            provider,
            claims,
            headers,
            properties,
        }
    }
}

impl Provider {
    /// Compares claims with what the provider asks for: when, for whom, of whom.
    ///
    /// # Errors
    /// The first that isn't as it should be.
    pub fn check_claims(
        &self,
        claims: &Claims,
        audiences: &Audiences,
        now: NumericDate,
    ) -> Result<(), Refusal> {
        self.times.check(claims, now)?;
        audiences.check(claims)?;
        if let Some(subjects) = &self.subjects {
            let subject = claims.subject();
            if !subject.is_some_and(|subject| subjects.matches(subject.as_bytes())) {
                let detail = "the provider doesn't allow the token's subject (`sub`)";
                return Err(Reason::WrongSubject.because(detail));
            }
        }
        Ok(())
    }
}

/// Returns until when claims are good.
pub(crate) fn until(claims: &Claims, provider: &Provider) -> NumericDate {
    let expires = claims.expires();
    expires.map_or(NumericDate::from_unix_seconds(u64::MAX), |exp| {
        exp.after(provider.times.clock_skew)
    })
}

/// Whether a key made a token's signature. The host is asked where it is better at it.
pub(crate) fn verify_with(
    key: &Key,
    compact: &Compact<'_>,
    native: Native,
    ask_host: &mut AskHost<'_>,
) -> bool {
    let check = |native| {
        let (text, signature) = (compact.signing_input, &compact.signature);
        key.check(compact.header.alg, text, signature, native)
    };
    let without_host = || check(Native::default()) == Check::Decided(true);
    match check(native) {
        Check::Decided(is_right) => is_right,
        // The host may change its mind about the function: do without it.
        Check::Host(question) => ask_host(&question).unwrap_or_else(without_host),
    }
}

/// Whether a token's `typ` is one of those wanted.
pub(crate) fn is_of_type(typ: Option<&str>, wanted: &[String]) -> bool {
    let typ = short(typ.unwrap_or_default());
    let fits = |wanted: &String| typ.eq_ignore_ascii_case(short(wanted));
    wanted.iter().any(fits)
}

/// RFC 7515 section 4.1.9: `application/` may be left out.
fn short(typ: &str) -> &str {
    match typ.split_at_checked(MEDIA_PREFIX.len()) {
        Some((head, tail)) if head.eq_ignore_ascii_case(MEDIA_PREFIX) && !tail.contains('/') => {
            tail
        }
        _ => typ,
    }
}

/// Returns a claim as jwt_authn puts it into a header; nothing for text that is empty or can't be in
/// a header.
fn header_value(value: Value<'_>) -> Option<String> {
    let text = match value.kind() {
        Kind::String => value.string()?.into_owned(),
        Kind::Bool => value.raw().to_owned(),
        Kind::Number => number(value.raw()),
        Kind::Array | Kind::Object => base64(&compact(value.raw())),
        Kind::Null => return None,
    };
    let fits = !text.is_empty() && !text.bytes().any(|byte| byte.is_ascii_control());
    fits.then_some(text)
}

/// Takes the white space between the parts of a JSON text away.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let kept = json.chars().filter(|&character| {
        let is_space = !in_string && character.is_ascii_whitespace();
        in_string ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        !is_space
    });
    kept.collect()
}

/// Base64 in its plain alphabet, padded (RFC 4648 section 4).
fn base64(text: &str) -> String {
    let mut encoded = base64url::encode(text.as_bytes())
        .replace('-', "+")
        .replace('_', "/");
    while !encoded.len().is_multiple_of(4) {
        encoded.push('=');
    }
    encoded
}

/// Writes integers as they are, all else to six decimals. The standard way would add 14 KB to a
/// module.
fn number(raw: &str) -> String {
    if raw.bytes().all(|byte| byte.is_ascii_digit()) {
        return raw.to_owned();
    }
    let parsed = decimal::parse(raw);
    let length = parsed.and_then(|number| Duration::try_from_secs_f64(number.abs()).ok());
    let Some(length) = length else {
        return raw.to_owned(); // Of more than 20 digits.
    };
    let micros = length.saturating_add(Duration::from_nanos(500));
    let (whole, micros) = (micros.as_secs(), micros.subsec_micros());
    match (parsed.is_some_and(f64::is_sign_negative), micros) {
        (false, 0) => whole.to_string(),
        (false, micros) => format!("{whole}.{micros:06}"),
        (true, micros) => format!("-{whole}.{micros:06}"),
    }
}

/// Returns the payload with some claims split at spaces into lists.
fn normalized(claims: &Claims, split: &[String]) -> String {
    let is_split = |name: &str| split.iter().any(|other| other == name);
    if !claims.root().members().any(|(name, _)| is_split(&name)) {
        return claims.text().to_owned();
    }
    let members = claims.root().members().map(|(name, value)| {
        let value = match value.string().filter(|_| is_split(&name)) {
            Some(words) => {
                let words = words.split(' ').filter(|word| !word.is_empty());
                let words: Vec<_> = words.map(quote).collect();
                format!("[{}]", words.join(","))
            }
            None if value.kind() == Kind::String => format!("\"{}\"", value.raw()),
            None => value.raw().to_owned(),
        };
        format!("{}:{value}", quote(&name))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Writes a JSON string.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_jwt_authn_does() {
        for (raw, expected) in [
            ("0", "0"),
            ("18446744073709551615", "18446744073709551615"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("1.0", "1"),
            ("1e3", "1000"),
            ("1.5", "1.500000"),
            ("0.1234567", "0.123457"),
            ("1.9999999", "2"),
            ("-5", "-5.000000"),
            ("-0.25", "-0.250000"),
            ("1e300", "1e300"),
        ] {
            assert_eq!(number(raw), expected, "{raw}");
        }
    }

    #[test]
    fn lists_and_objects_are_base64_of_json_without_white_space() {
        let json = "{ \"a b\" : [ 1,\n\"x \\\" y \\\\\" , true ] }";
        assert_eq!(compact(json), r#"{"a b":[1,"x \" y \\",true]}"#);
        assert_eq!(base64("~~~???"), "fn5+Pz8/");
        assert_eq!(base64("[1]"), "WzFd");
        assert_eq!(base64("[]"), "W10=");
    }

    #[test]
    fn a_media_type_may_leave_out_its_first_half() {
        assert_eq!(short("application/at+jwt"), "at+jwt");
        assert_eq!(short("APPLICATION/at+jwt"), "at+jwt");
        assert_eq!(short("application/a/b"), "application/a/b");
        assert_eq!(short("at+jwt"), "at+jwt");
    }
}
