//! Asking an authorization server about a token (RFC 7662): what is sent, and what the answer means.

use crate::config::introspection::Introspection;
use crate::config::provider::Provider;
use crate::jose::base64url;
use crate::jose::checks::Audiences;
use crate::jose::claims::Claims;
use crate::jose::date::NumericDate;
use crate::jose::refusal::{Reason, Refusal};

/// The largest answer that is taken, in bytes.
pub const MOST_BYTES: usize = 64 * 1024;

/// Whether a provider's introspection endpoint decides about a token: about all where there are no
/// keys, otherwise about those that can't be a JWS.
pub(crate) fn decides(provider: &Provider, token: &[u8]) -> bool {
    use crate::config::provider::KeySource;
    let is_signed = || token.iter().filter(|&&byte| byte == b'.').count() == 2;
    provider.introspection.is_some() && (provider.keys == KeySource::None || !is_signed())
}

/// Whether these bytes can be a token at all (RFC 6750 section 2.1, `b64token`).
pub(crate) fn check_form(token: &[u8], most: usize) -> Result<(), Refusal> {
    if token.len() > most {
        return Err(Reason::TooLarge.because("the token is longer than `max_token_bytes`"));
    }
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    match !token.is_empty() && token.iter().all(is_of_token) {
        true => Ok(()),
        false => Err(Reason::Malformed.because("a token is letters, digits and `-._~+/=`")),
    }
}

/// Returns the request's body.
pub fn body(token: &[u8]) -> String {
    format!("token={}&token_type_hint=access_token", form(token))
}

/// Returns the client's credentials for `authorization` (RFC 6749 section 2.3.1).
pub fn credentials(client: &Introspection) -> String {
    let [id, secret] = [&client.client_id, &client.client_secret].map(|text| form(text.as_bytes()));
    let encoded = base64url::encode(format!("{id}:{secret}").as_bytes());
    let mut encoded = encoded.replace('-', "+").replace('_', "/");
    while !encoded.len().is_multiple_of(4) {
        encoded.push('=');
    }
    format!("Basic {encoded}")
}

/// Encodes text for a form (`application/x-www-form-urlencoded`).
fn form(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Reads an answer: what is claimed of a token that is active and what the provider wants.
///
/// # Errors
/// If it isn't active, isn't what the provider wants, or the answer isn't one.
pub fn read(
    answer: Vec<u8>,
    provider: &Provider,
    audiences: &Audiences,
    now: NumericDate,
) -> Result<Claims, Refusal> {
    let unavailable = Reason::IntrospectionUnavailable;
    let claims = Claims::read(answer)
        .map_err(|_| unavailable.because("the introspection endpoint's answer isn't one"))?;
    match claims.get("active").and_then(|active| active.bool()) {
        Some(true) => {}
        Some(false) => {
            return Err(Reason::Inactive.because("the authorization server says it isn't active"));
        }
        None => {
            let detail = "the introspection endpoint doesn't say whether the token is active";
            return Err(unavailable.because(detail));
        }
    }
    // Section 2.2: `iss` may be missing; another one is another server's token.
    if let (Some(expected), Some(issuer)) = (&provider.issuer, claims.issuer())
        && *expected != *issuer
    {
        return Err(Reason::WrongIssuer.because("`iss` isn't the provider's issuer"));
    }
    provider.check_claims(&claims, audiences, now)?;
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn provider(more: &str) -> Provider {
        let json = format!(
            r#"{{"providers": {{"p": {{"issuer": "https://i", "introspection": {{
                "http_uri": {{"uri": "https://i/introspect", "cluster": "c", "timeout": "1s"}},
                "client_id": "gate way", "client_secret": "s:ü/"}} {more}}}}}}}"#
        );
        Config::read(json.as_bytes()).unwrap().providers.remove(0)
    }

    fn answer(json: &str, more: &str) -> Result<Claims, Reason> {
        let now = NumericDate::from_unix_seconds(1_700_000_000);
        let provider = provider(more);
        let audiences = Audiences::new(&provider.audiences);
        read(json.as_bytes().to_vec(), &provider, &audiences, now).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn credentials_are_encoded_for_a_form_and_then_for_basic_authentication() {
        // `gate+way:s%3A%C3%BC%2F`
        let provider = provider("");
        let credentials = credentials(provider.introspection.as_ref().unwrap());
        assert_eq!(credentials, "Basic Z2F0ZSt3YXk6cyUzQSVDMyVCQyUyRg==");
    }

    #[test]
    fn a_token_cannot_add_parameters_to_the_form() {
        assert_eq!(
            body(b"a&token=b c%+/~"),
            "token=a%26token%3Db+c%25%2B%2F%7E&token_type_hint=access_token"
        );
    }

    #[test]
    fn only_a_plain_true_is_active() {
        assert!(answer(r#"{"active": true}"#, "").is_ok());
        assert_eq!(
            answer(r#"{"active": false}"#, "").err(),
            Some(Reason::Inactive)
        );
        for odd in [
            "",
            "{}",
            "[]",
            "true",
            r#"{"active": "true"}"#,
            r#"{"active": 1}"#,
            r#"{"active": null}"#,
            r#"{"active": false, "active": true}"#,
            r#"{"active": true, "exp": "tomorrow"}"#,
        ] {
            assert_eq!(
                answer(odd, "").err(),
                Some(Reason::IntrospectionUnavailable),
                "{odd}"
            );
        }
    }

    #[test]
    fn an_active_token_must_still_be_what_the_provider_wants() {
        let audience = r#", "audiences": ["api"]"#;
        for (json, more, reason) in [
            (
                r#"{"active": true, "iss": "https://j"}"#,
                "",
                Some(Reason::WrongIssuer),
            ),
            (r#"{"active": true, "iss": "https://i"}"#, "", None),
            (
                r#"{"active": true, "exp": 1699990000}"#,
                "",
                Some(Reason::Expired),
            ),
            (
                r#"{"active": true, "nbf": 1700090000}"#,
                "",
                Some(Reason::NotYetValid),
            ),
            (r#"{"active": true}"#, audience, Some(Reason::WrongAudience)),
            (r#"{"active": true, "aud": ["x", "api"]}"#, audience, None),
            (
                r#"{"active": true}"#,
                r#", "require_expiration": true"#,
                Some(Reason::MissingExpiration),
            ),
            (
                r#"{"active": true, "sub": "bo"}"#,
                r#", "subjects": {"exact": "ana"}"#,
                Some(Reason::WrongSubject),
            ),
        ] {
            assert_eq!(answer(json, more).err(), reason, "{json} {more}");
        }
    }

    #[test]
    fn opaque_tokens_have_the_letters_of_rfc_6750() {
        assert!(check_form(b"mF_9.B5f-4.1JqM", 100).is_ok());
        assert!(check_form(b"a~b+/==", 100).is_ok());
        for odd in [
            &b""[..],
            b"a b",
            b"a\r\nb",
            b"a\"b",
            b"\xff",
            b"a,b",
            b"a&b",
        ] {
            assert!(check_form(odd, 100).is_err(), "{odd:?}");
        }
        assert_eq!(check_form(b"abc", 2).unwrap_err().reason, Reason::TooLarge);
    }
}
