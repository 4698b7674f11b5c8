//! The claims of a token (RFC 7519 section 4), read in one pass.
//!
//! The registered ones are checked for their types at once, so that none is silently taken for
//! absent. All others stay in the scanned document.

use std::borrow::Cow;

use crate::date::NumericDate;
use crate::json::{Document, Kind, Value};
use crate::refusal::{Reason, Refusal};

/// What a token claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    document: Document,
    exp: Option<NumericDate>,
    iat: Option<NumericDate>,
    nbf: Option<NumericDate>,
}

impl Claims {
    /// Reads a payload.
    ///
    /// # Errors
    ///
    /// For what isn't a strict JSON object, and for a registered claim of a wrong type: `iss`,
    /// `sub` and `jti` are strings, `aud` is one or a list of them, `exp`, `nbf` and `iat` are
    /// numbers from 0 to 2^63.
    pub fn read(payload: Vec<u8>) -> Result<Self, Refusal> {
        let malformed = |detail| Err(Reason::Malformed.because(detail));
        let Ok(document) = Document::read(payload) else {
            return malformed("the token's payload isn't strict JSON");
        };
        if document.root().kind() != Kind::Object {
            return malformed("the token's payload isn't a JSON object");
        }
        let [mut exp, mut iat, mut nbf] = [None; 3];
        for (name, value) in document.root().members() {
            let is_text = value.kind() == Kind::String;
            match &*name {
                "exp" => exp = Some(date(value, "`exp` isn't a date in seconds")?),
                "iat" => iat = Some(date(value, "`iat` isn't a date in seconds")?),
                "nbf" => nbf = Some(date(value, "`nbf` isn't a date in seconds")?),
                "iss" if !is_text => return malformed("`iss` isn't a string"),
                "sub" if !is_text => return malformed("`sub` isn't a string"),
                "jti" if !is_text => return malformed("`jti` isn't a string"),
                "aud" if !is_audience(value) => {
                    return malformed("`aud` isn't a string or a list of strings");
                }
                _ => {}
            }
        }
        Ok(Self {
            document,
            exp,
            iat,
            nbf,
        })
    }

    /// Returns `iss`.
    pub fn issuer(&self) -> Option<Cow<'_, str>> {
        self.get("iss")?.string()
    }

    /// Returns `sub`.
    pub fn subject(&self) -> Option<Cow<'_, str>> {
        self.get("sub")?.string()
    }

    /// Returns `jti`.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.get("jti")?.string()
    }

    /// Returns the audiences in `aud`, of which there may be none.
    pub fn audiences(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let aud = self.get("aud");
        let single = aud.and_then(Value::string);
        let list = aud.into_iter().flat_map(Value::items);
        single.into_iter().chain(list.filter_map(Value::string))
    }

    /// Returns `exp`.
    pub const fn expires(&self) -> Option<NumericDate> {
        self.exp
    }

    /// Returns `nbf`.
    pub const fn not_before(&self) -> Option<NumericDate> {
        self.nbf
    }

    /// Returns `iat`.
    pub const fn issued_at(&self) -> Option<NumericDate> {
        self.iat
    }

    /// Returns a claim by its name.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        self.document.root().get(name)
    }

    /// Returns all claims as one object.
    pub fn root(&self) -> Value<'_> {
        self.document.root()
    }

    /// Returns the payload as it was signed.
    pub fn text(&self) -> &str {
        self.document.text()
    }
}

fn date(value: Value<'_>, detail: &'static str) -> Result<NumericDate, Refusal> {
    let date = value.number().and_then(NumericDate::from_number);
    date.ok_or_else(|| Reason::Malformed.because(detail))
}

fn is_audience(value: Value<'_>) -> bool {
    match value.kind() {
        Kind::String => true,
        Kind::Array => value.items().all(|item| item.kind() == Kind::String),
        Kind::Bool | Kind::Null | Kind::Number | Kind::Object => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Claims, Reason> {
        Claims::read(json.as_bytes().to_vec()).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn reads_the_example_of_rfc_7519_section_3_1() {
        let json =
            "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        let claims = read(json).unwrap();
        assert_eq!(claims.issuer().as_deref(), Some("joe"));
        assert_eq!(
            claims.expires(),
            Some(NumericDate::from_unix_seconds(1_300_819_380))
        );
        assert_eq!(
            claims
                .get("http://example.com/is_root")
                .and_then(Value::bool),
            Some(true)
        );
        assert_eq!((claims.not_before(), claims.issued_at()), (None, None));
        assert_eq!(claims.text(), json);
    }

    #[test]
    fn the_audience_is_a_string_or_a_list() {
        let audiences = |json: &str| {
            read(json).map(|claims| claims.audiences().map(Cow::into_owned).collect::<Vec<_>>())
        };
        assert_eq!(audiences("{}"), Ok(vec![]));
        assert_eq!(audiences(r#"{"aud":"a"}"#), Ok(vec!["a".to_owned()]));
        assert_eq!(audiences(r#"{"aud":[]}"#), Ok(vec![]));
        assert_eq!(
            audiences(r#"{"aud":["a","b"]}"#),
            Ok(vec!["a".to_owned(), "b".to_owned()])
        );
        for json in [
            r#"{"aud":1}"#,
            r#"{"aud":["a",1]}"#,
            r#"{"aud":[["a"]]}"#,
            r#"{"aud":null}"#,
            r#"{"aud":{}}"#,
        ] {
            assert_eq!(audiences(json), Err(Reason::Malformed), "{json}");
        }
    }

    #[test]
    fn dates_of_a_wrong_type_or_size_are_refused() {
        for name in ["exp", "nbf", "iat"] {
            for value in [
                "\"1700000000\"",
                "null",
                "true",
                "[1700000000]",
                "{}",
                "-1",
                "-0.5",
                "1e300",
                "1e400",
                "9223372036854775808",
                "18446744073709551616",
            ] {
                let json = format!(r#"{{"{name}":{value}}}"#);
                assert_eq!(read(&json).err(), Some(Reason::Malformed), "{json}");
            }
            let json = format!(r#"{{"{name}":1700000000.5}}"#);
            assert!(read(&json).is_ok(), "{json}");
        }
    }

    #[test]
    fn names_of_a_wrong_type_are_refused() {
        for name in ["iss", "sub", "jti"] {
            for value in ["1", "null", "[\"a\"]", "{}", "true"] {
                let json = format!(r#"{{"{name}":{value}}}"#);
                assert_eq!(read(&json).err(), Some(Reason::Malformed), "{json}");
            }
        }
    }

    #[test]
    fn a_payload_that_is_not_an_object_is_refused() {
        for json in [
            "",
            "[]",
            "1",
            "\"a\"",
            "null",
            "{'iss':'a'}",
            "{\"exp\":1,\"exp\":2}",
        ] {
            assert_eq!(read(json).err(), Some(Reason::Malformed), "{json}");
        }
    }
}
