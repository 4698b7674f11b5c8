//! What the inspector doesn't show unless it is told to: credentials.
//!
//! Headers that carry them are known by their names, parameters of a query too, and a JSON Web
//! Token is known by its looks wherever it stands. The inspector is a tool for a laptop; still, its
//! page gets shared in screenshots and reports.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use crate::trace::{Argument, Hostcall, Value, escaped, shown};

/// Stands where a credential was.
pub(crate) const MASKED: &str = "•••";

/// Parts of the names of headers and parameters that carry credentials.
const TELLING: [&str; 13] = [
    "assertion",
    "authorization",
    "api-key",
    "api_key",
    "apikey",
    "cookie",
    "credential",
    "jwt",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
];

/// Header, payload and signature in base64url; what is cut off may have lost its end.
static TOKEN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"eyJ[A-Za-z0-9_-]{6,}(\.[A-Za-z0-9_-]*){0,2}").ok());

/// A parameter of a query or of a form.
static PARAMETER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(^|[?&;\s])([A-Za-z0-9_.-]+)=([^&#;\s]+)").ok());

/// Whether credentials are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// They are shown.
    Off,
    /// They are not.
    On,
}

impl Mask {
    /// A text without the credentials in it.
    pub(crate) fn text<'t>(self, text: &'t str) -> Cow<'t, str> {
        let (Self::On, Some(token), Some(parameter)) = (self, &*TOKEN, &*PARAMETER) else {
            return text.into();
        };
        let without = token.replace_all(text, MASKED);
        let replaced = parameter.replace_all(&without, |found: &regex::Captures<'_>| {
            let (before, name) = (&found[1], &found[2]);
            match is_telling(name) {
                true => format!("{before}{name}={MASKED}"),
                false => found[0].to_owned(),
            }
        });
        match replaced {
            Cow::Borrowed(_) => without,
            Cow::Owned(replaced) => replaced.into(),
        }
    }

    /// The value of a header as text, bytes that aren't text escaped.
    pub(crate) fn header(self, name: &[u8], value: &[u8]) -> String {
        if self == Self::On && is_telling(&String::from_utf8_lossy(name)) {
            return MASKED.to_owned();
        }
        let text = match str::from_utf8(value) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => escaped(value, false).into(),
        };
        self.text(&text).into_owned()
    }

    /// The arguments of a hostcall, or what it handed back, as names and texts.
    pub(crate) fn arguments(self, call: &Hostcall, list: &[Argument]) -> Vec<(String, String)> {
        // What a call is about says whether its value is a credential.
        let names_values = ["header_map", "property", "shared_data"]
            .iter()
            .any(|part| call.name.contains(part));
        let about =
            |argument: &Argument| names_values && matches!(argument.name, "key" | "name" | "path");
        let secret = call
            .arguments
            .iter()
            .filter(|argument| about(argument))
            .any(|argument| is_telling(&shown(&argument.value)));
        let value = |argument: &Argument| match &argument.value {
            Value::Bytes { .. } if self == Self::On && secret && !about(argument) => {
                MASKED.to_owned()
            }
            value => self.value(value),
        };
        let each = list.iter();
        each.map(|argument| (argument.name.to_owned(), value(argument)))
            .collect()
    }

    /// A value as text.
    pub(crate) fn value(self, value: &Value) -> String {
        let Value::Pairs { head, count } = value else {
            return self.text(&shown(value)).into_owned();
        };
        let pair = |(name, value): &(Value, Value)| {
            let name = shown(name);
            match self == Self::On && is_telling(&name) {
                true => format!("{name}: {MASKED}"),
                false => format!("{name}: {}", self.text(&shown(value))),
            }
        };
        let mut pairs: Vec<String> = head.iter().map(pair).collect();
        if head.len() < *count {
            pairs.push(format!("… ({count} pairs)"));
        }
        format!("{{{}}}", pairs.join(", "))
    }
}

fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLING.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_masked_by_the_names_of_their_headers() {
        for name in [
            "authorization",
            "Proxy-Authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "x-auth-token",
        ] {
            assert_eq!(Mask::On.header(name.as_bytes(), b"abc"), MASKED, "{name}");
            assert_eq!(Mask::Off.header(name.as_bytes(), b"abc"), "abc");
        }
        assert_eq!(Mask::On.header(b"accept", b"text/html"), "text/html");
    }

    #[test]
    fn tokens_and_parameters_are_masked_wherever_they_stand() {
        let table = [
            ("/a?access_token=abc&page=2", "/a?access_token=•••&page=2"),
            ("/a?page=2", "/a?page=2"),
            ("seen eyJhbGciOiJub25lIn0.e30.sig here", "seen ••• here"),
            ("password=a b", "password=••• b"),
            ("limit=5;reset=3", "limit=5;reset=3"),
        ];
        for (text, expected) in table {
            assert_eq!(Mask::On.text(text), expected);
            assert_eq!(Mask::Off.text(text), text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        assert_eq!(Mask::On.header(b"x-a", b"a\xff"), "a\\xff");
    }

    #[test]
    fn what_a_guest_read_of_a_credential_is_masked_too() {
        let argument = |name, text: &str| Argument {
            name,
            value: Value::bytes(text.as_bytes()),
        };
        let call = |key| Hostcall {
            name: "proxy_get_header_map_value",
            arguments: vec![argument("key", key)],
            results: vec![argument("value", "Basic abc")],
            status: Some(0),
            fault: false,
            timing: None,
        };
        let results = |key| {
            let call = call(key);
            Mask::On.arguments(&call, &call.results)[0].1.clone()
        };
        assert_eq!(results("authorization"), MASKED);
        assert_eq!(results("x-plain"), "\"Basic abc\"");
    }
}
