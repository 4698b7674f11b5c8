//! The JOSE header: what a token says about its own signature (RFC 7515 section 4).
//!
//! It says which algorithm and which key; everything else is refused or not looked at. Keys that a
//! token brings or points to (`jwk`, `jku`, `x5u`, `x5c`, `x5t`) are not looked at: they are the
//! sender's, who might be anyone.

use crate::algorithm::Algorithm;
use crate::json::{Document, Kind, Value};
use crate::refusal::{Reason, Refusal};

/// A `kid` of more bytes is no key's.
const MAX_KID_BYTES: usize = 1024;

/// The header parameters that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `alg`.
    pub alg: Algorithm,
    /// `kid`, to be compared and nothing else. An empty one is none.
    pub kid: Option<String>,
    /// `typ`, as it is written.
    pub typ: Option<String>,
}

impl Header {
    /// Reads a decoded header.
    ///
    /// # Errors
    ///
    /// For what isn't a JSON object with a known `alg`, for extensions that must be understood
    /// (`crit`, `b64`) since none is, for a token in a token (`cty`), and for members of a wrong
    /// type.
    pub fn read(json: Vec<u8>) -> Result<Self, Refusal> {
        let malformed = |detail| Err(Reason::Malformed.because(detail));
        let Ok(document) = Document::read(json) else {
            return malformed("the token's header isn't strict JSON");
        };
        if document.root().kind() != Kind::Object {
            return malformed("the token's header isn't a JSON object");
        }
        let mut alg = None;
        let mut kid = None;
        let mut typ = None;
        for (name, value) in document.root().members() {
            match &*name {
                "alg" => alg = Some(algorithm(value)?),
                "kid" => match value.string() {
                    Some(text) if text.len() <= MAX_KID_BYTES => {
                        kid = Some(text.into_owned()).filter(|text| !text.is_empty());
                    }
                    Some(_) => return malformed("`kid` is longer than 1024 bytes"),
                    None => return malformed("`kid` isn't a string"),
                },
                "typ" => match value.string() {
                    Some(text) => typ = Some(text.into_owned()),
                    None => return malformed("`typ` isn't a string"),
                },
                "cty" => content(value)?,
                "crit" => {
                    let detail = "the header has `crit`, and no extension is understood";
                    return Err(Reason::UnsupportedCrit.because(detail));
                }
                "b64" if value.bool() != Some(true) => {
                    let detail = "`b64` must be true: payloads are base64url";
                    return Err(Reason::UnsupportedCrit.because(detail));
                }
                _ => {}
            }
        }
        let Some(alg) = alg else {
            return malformed("the header has no `alg`");
        };
        Ok(Self { alg, kid, typ })
    }
}

fn algorithm(value: Value<'_>) -> Result<Algorithm, Refusal> {
    let Some(name) = value.string() else {
        return Err(Reason::Malformed.because("`alg` isn't a string"));
    };
    let detail = "`alg` isn't a signature algorithm that is known here";
    Algorithm::from_name(&name).ok_or_else(|| Reason::UnsupportedAlg.because(detail))
}

/// Refuses a payload that is a token again (RFC 7519 section 5.2).
fn content(value: Value<'_>) -> Result<(), Refusal> {
    let Some(text) = value.string() else {
        return Err(Reason::Malformed.because("`cty` isn't a string"));
    };
    let subtype = text.rsplit('/').next().unwrap_or_default();
    if subtype.eq_ignore_ascii_case("JWT") {
        return Err(Reason::WrongType.because("a token within a token isn't supported"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Header, Reason> {
        Header::read(json.as_bytes().to_vec()).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn takes_algorithm_key_and_type() {
        let header = read(r#"{"typ":"at+jwt","alg":"RS256","kid":"a\/b"}"#).unwrap();
        assert_eq!(header.alg, Algorithm::Rs256);
        assert_eq!(header.kid.as_deref(), Some("a/b"));
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    }

    #[test]
    fn alg_none_is_refused_in_any_case() {
        for name in ["none", "None", "NONE", "nOnE", "", "HS1", "RSA1_5", "dir"] {
            let json = format!(r#"{{"alg":"{name}"}}"#);
            assert_eq!(read(&json), Err(Reason::UnsupportedAlg), "{name}");
        }
        assert_eq!(read("{}"), Err(Reason::Malformed));
        assert_eq!(read(r#"{"alg":null}"#), Err(Reason::Malformed));
        assert_eq!(read(r#"{"alg":["RS256"]}"#), Err(Reason::Malformed));
    }

    #[test]
    fn extensions_are_refused() {
        for extension in [
            r#""crit":["exp"],"exp":1"#,
            r#""crit":[]"#,
            r#""crit":["b64"],"b64":true"#,
            r#""crit":null"#,
            r#""b64":false"#,
            r#""b64":"false""#,
        ] {
            let json = format!(r#"{{"alg":"RS256",{extension}}}"#);
            assert_eq!(read(&json), Err(Reason::UnsupportedCrit), "{extension}");
        }
        assert!(read(r#"{"alg":"RS256","b64":true}"#).is_ok());
    }

    #[test]
    fn keys_that_the_token_brings_are_not_looked_at() {
        let json =
            r#"{"alg":"RS256","jwk":{"kty":"oct","k":"AA"},"jku":"http://evil/","x5u":1,"x5c":[]}"#;
        let header = read(json).unwrap();
        assert_eq!((header.kid, header.typ), (None, None));
    }

    #[test]
    fn a_token_within_a_token_is_refused() {
        for cty in ["JWT", "jwt", "application/jwt"] {
            let json = format!(r#"{{"alg":"RS256","cty":"{cty}"}}"#);
            assert_eq!(read(&json), Err(Reason::WrongType), "{cty}");
        }
        assert!(read(r#"{"alg":"RS256","cty":"json"}"#).is_ok());
    }

    #[test]
    fn members_of_a_wrong_type_are_refused() {
        for member in [r#""kid":1"#, r#""kid":null"#, r#""typ":{}"#, r#""cty":[]"#] {
            let json = format!(r#"{{"alg":"RS256",{member}}}"#);
            assert_eq!(read(&json), Err(Reason::Malformed), "{member}");
        }
        let long = format!(
            r#"{{"alg":"RS256","kid":"{}"}}"#,
            "k".repeat(MAX_KID_BYTES + 1)
        );
        assert_eq!(read(&long), Err(Reason::Malformed));
        assert_eq!(read(r#"{"alg":"RS256","kid":""}"#).unwrap().kid, None);
    }

    #[test]
    fn loose_json_is_refused() {
        for json in [
            "",
            "[]",
            "\"RS256\"",
            "{'alg':'RS256'}",
            r#"{"alg":"RS256",}"#,
            r#"{"alg":"RS256","alg":"RS256"}"#,
        ] {
            assert_eq!(read(json), Err(Reason::Malformed), "{json}");
        }
    }
}
