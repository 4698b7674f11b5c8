//! The thumbprint of a key (RFC 7638): a digest that two parties compute alike.

use sha2_current::{Digest as _, Sha256};

use crate::base64url;
use crate::json::Value;

/// Returns the SHA-256 thumbprint of a public key, in base64url; `None` for a `kty` that isn't known
/// here and for members that aren't base64url, which is all that needs no escaping (section 3.4).
pub fn of(jwk: Value<'_>) -> Option<String> {
    let kty = jwk.get("kty")?.string()?;
    // Section 3.2: the required members, in the order of their names.
    let members: &[&str] = match &*kty {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let mut text = String::from("{");
    for name in members {
        let value = jwk.get(name)?.string()?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !value.bytes().all(is_plain) {
            return None;
        }
        for part in [
            if text.len() > 1 { ",\"" } else { "\"" },
            name,
            "\":\"",
            &value,
            "\"",
        ] {
            text.push_str(part);
        }
    }
    text.push('}');
    Some(base64url::encode(&Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    fn thumbprint(json: &str) -> Option<String> {
        of(Document::read(json.as_bytes().to_vec()).unwrap().root())
    }

    #[test]
    fn is_that_of_the_example_of_rfc_7638() {
        let jwk = r#"{"kty": "RSA", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}"#;
        assert_eq!(
            thumbprint(jwk).as_deref(),
            Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        );
    }

    #[test]
    fn is_that_of_rfc_9449_and_8037() {
        let ec = r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#;
        assert_eq!(
            thumbprint(ec).as_deref(),
            Some("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")
        );
        let okp =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert_eq!(
            thumbprint(okp).as_deref(),
            Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
        );
    }

    #[test]
    fn secrets_and_odd_members_have_none() {
        for jwk in [
            r#"{"kty":"oct","k":"AAAA"}"#,
            r#"{"kty":"OKP","crv":"Ed25519"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","x":"a\"b"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","x":"a b"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","x":1}"#,
            "{}",
        ] {
            assert_eq!(thumbprint(jwk), None, "{jwk}");
        }
    }
}
