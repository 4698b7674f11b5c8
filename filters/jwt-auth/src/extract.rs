//! Where tokens are in a request.
//!
//! As in Envoy's jwt_authn, but for one thing: an authentication scheme such as `Bearer ` is looked
//! for at the beginning of the header alone, in any case (RFC 9110 section 11.1), and all that
//! follows it is the token. `Basic x Bearer <token>` has no token.

use std::borrow::Cow;

use filter_core::headers::Headers;

/// A place for a token in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub(crate) place: Place,
    prefix: Prefix,
}

/// A header, query parameter or cookie by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A cookie.
    Cookie(String),
    /// A header, in lower case.
    Header(String),
    /// A query parameter.
    Parameter(String),
}

/// What comes before a token in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Prefix {
    /// Text, found anywhere. The token begins with the next character that tokens are made of and
    /// ends with the last one.
    Anywhere(String),
    /// Nothing: the value is the token.
    Nothing,
    /// A scheme and a space, at the beginning.
    Scheme(String),
}

/// What is in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'h> {
    /// More than one token, or one that could be read in two ways.
    Ambiguous,
    /// No token.
    Nothing,
    /// A token, not looked at yet.
    Token(Cow<'h, [u8]>),
}

impl Location {
    /// A header in which `prefix` comes before the token.
    pub fn header(name: String, prefix: String) -> Self {
        let scheme = prefix.strip_suffix(' ').is_some_and(|scheme| {
            !scheme.is_empty()
                && scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
        let prefix = match (prefix.is_empty(), scheme) {
            (true, _) => Prefix::Nothing,
            (false, true) => Prefix::Scheme(prefix),
            (false, false) => Prefix::Anywhere(prefix),
        };
        Self {
            place: Place::Header(name),
            prefix,
        }
    }

    /// A place in which the token is all there is.
    pub const fn at(place: Place) -> Self {
        Self {
            place,
            prefix: Prefix::Nothing,
        }
    }

    /// The places that count where none are given (RFC 6750 sections 2.1 and 2.3).
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::header("authorization".to_owned(), "Bearer ".to_owned()),
            Self::at(Place::Parameter("access_token".to_owned())),
        ]
    }

    /// The places that count for tokens that are bound to a key (RFC 9449 section 7.1), and those for
    /// others, so that such a token elsewhere is told from none.
    pub fn dpop() -> Vec<Self> {
        ["DPoP ", "Bearer "]
            .map(|scheme| Self::header("authorization".to_owned(), scheme.to_owned()))
            .into()
    }

    /// Whether a token here is one for its bearer, whoever that is (RFC 6750).
    pub(crate) fn is_for_bearers(&self) -> bool {
        match &self.prefix {
            Prefix::Scheme(scheme) => scheme.eq_ignore_ascii_case("Bearer "),
            Prefix::Nothing | Prefix::Anywhere(_) => false,
        }
    }

    /// Returns what comes before a token here.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn prefix(&self) -> &str {
        match &self.prefix {
            Prefix::Anywhere(text) | Prefix::Scheme(text) => text,
            Prefix::Nothing => "",
        }
    }

    /// Looks for a token.
    pub fn find<'h>(&self, headers: &Headers<'h>) -> Found<'h> {
        match &self.place {
            Place::Cookie(name) => distinct(cookies(headers, name)),
            Place::Header(name) => {
                let mut values = headers.all(name);
                let (first, second) = (values.next(), values.next());
                let token = |value| self.prefix.token(value);
                match (first, second) {
                    (Some(value), None) => match token(value) {
                        Some(token) => Found::Token(Cow::Borrowed(token)),
                        None => Found::Nothing,
                    },
                    (Some(_), Some(_)) if headers.all(name).any(|v| token(v).is_some()) => {
                        // Whoever is behind the gateway may read the other one.
                        Found::Ambiguous
                    }
                    _ => Found::Nothing,
                }
            }
            Place::Parameter(name) => distinct(headers.query(name)),
        }
    }
}

impl Prefix {
    fn token<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        match self {
            Self::Anywhere(text) => {
                let mut windows = value.windows(text.len().max(1));
                let at = windows.position(|window| window == text.as_bytes())?;
                let rest = value.get(at.checked_add(text.len())?..)?;
                let start = rest.iter().position(is_of_token).unwrap_or(rest.len());
                let rest = rest.get(start..)?;
                let end = rest.iter().position(|byte| !is_of_token(byte));
                rest.get(..end.unwrap_or(rest.len()))
            }
            Self::Nothing => Some(value),
            Self::Scheme(scheme) => {
                let (head, token) = value.split_at_checked(scheme.len())?;
                let scheme = scheme.as_bytes();
                (head == scheme || head.eq_ignore_ascii_case(scheme)).then_some(token)
            }
        }
    }
}

/// The characters of base64url, and the dot.
const fn is_of_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn distinct<'h>(mut values: impl Iterator<Item = Cow<'h, [u8]>>) -> Found<'h> {
    let Some(first) = values.next() else {
        return Found::Nothing;
    };
    match values.all(|other| other == first) {
        true => Found::Token(first),
        false => Found::Ambiguous,
    }
}

/// Returns all values of a cookie.
fn cookies<'h, 'n>(
    headers: &Headers<'h>,
    name: &'n str,
) -> impl Iterator<Item = Cow<'h, [u8]>> + use<'h, 'n> {
    let pairs = headers
        .all("cookie")
        .flat_map(|line| line.split(|&byte| byte == b';'));
    pairs.filter_map(move |pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (candidate, value) = pair.split_at_checked(at)?;
        let value = value.get(1..)?.trim_ascii();
        let bare = value
            .strip_prefix(b"\"")
            .and_then(|inner| inner.strip_suffix(b"\""));
        (candidate.trim_ascii() == name.as_bytes()).then(|| Cow::Borrowed(bare.unwrap_or(value)))
    })
}

/// Returns a target without a query parameter; the others stay as they were sent.
pub(crate) fn without_parameter(target: &[u8], name: &str) -> Vec<u8> {
    let Some(mark) = target.iter().position(|&byte| byte == b'?') else {
        return target.to_vec();
    };
    let (path, query) = target.split_at_checked(mark).unwrap_or((target, &[]));
    let query = query.get(1..).unwrap_or_default();
    let end = query.iter().position(|&byte| byte == b'#');
    let (query, fragment) = query
        .split_at_checked(end.unwrap_or(query.len()))
        .unwrap_or((query, &[]));
    let others = query.split(|&byte| byte == b'&').filter(|parameter| {
        let key = parameter.split(|&byte| byte == b'=').next();
        *filter_core::uri::decoded(key.unwrap_or_default()) != *name.as_bytes()
    });
    let mut out = path.to_vec();
    for (position, parameter) in others.enumerate() {
        out.push(if position == 0 { b'?' } else { b'&' });
        out.extend_from_slice(parameter);
    }
    out.extend_from_slice(fragment);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(location: &Location, headers: &[(&str, &str)]) -> Found<'static> {
        let pairs = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let block = Headers::encode(pairs);
        match location.find(&Headers::decode(&block)) {
            Found::Ambiguous => Found::Ambiguous,
            Found::Nothing => Found::Nothing,
            Found::Token(token) => Found::Token(Cow::Owned(token.into_owned())),
        }
    }

    fn token(text: &str) -> Found<'static> {
        Found::Token(Cow::Owned(text.as_bytes().to_vec()))
    }

    fn bearer() -> Location {
        Location::defaults().remove(0)
    }

    #[test]
    fn a_bearer_token_is_at_the_beginning_in_any_case() {
        let cases = [
            ("Bearer a.b.c", token("a.b.c")),
            ("bearer a.b.c", token("a.b.c")),
            ("BEARER a.b.c", token("a.b.c")),
            ("Bearer ", token("")),
            ("Bearer  a.b.c", token(" a.b.c")),
            ("Bearer a.b.c, Bearer d.e.f", token("a.b.c, Bearer d.e.f")),
            ("Bearer", Found::Nothing),
            (" Bearer a.b.c", Found::Nothing),
            ("Bearera.b.c", Found::Nothing),
            ("Basic x Bearer a.b.c", Found::Nothing),
            ("Basic x", Found::Nothing),
            ("", Found::Nothing),
        ];
        for (value, expected) in cases {
            assert_eq!(
                find(&bearer(), &[("authorization", value)]),
                expected,
                "{value}"
            );
        }
        assert_eq!(find(&bearer(), &[]), Found::Nothing);
    }

    #[test]
    fn two_authorization_headers_are_ambiguous_if_one_has_a_token() {
        let two = |a, b| find(&bearer(), &[("authorization", a), ("authorization", b)]);
        assert_eq!(two("Bearer a", "Bearer b"), Found::Ambiguous);
        assert_eq!(two("Basic x", "Bearer b"), Found::Ambiguous);
        assert_eq!(two("Bearer a", "Bearer a"), Found::Ambiguous);
        assert_eq!(two("Basic x", "Basic y"), Found::Nothing);
    }

    #[test]
    fn a_prefix_that_is_no_scheme_is_found_anywhere() {
        // The examples of Envoy's documentation.
        let location = Location::header("bear".to_owned(), "jwt_value".to_owned());
        for value in [
            "jwt_value=a.b-_c.d",
            "{\"jwt_value\": \"a.b-_c.d\"}",
            "beta:true,jwt_value:\"a.b-_c.d\",trace=1234",
        ] {
            assert_eq!(
                find(&location, &[("bear", value)]),
                token("a.b-_c.d"),
                "{value}"
            );
        }
        assert_eq!(find(&location, &[("bear", "a.b.c")]), Found::Nothing);
        assert_eq!(find(&location, &[("bear", "jwt_value")]), token(""));
    }

    #[test]
    fn parameters_and_cookies_may_repeat_but_not_differ() {
        let parameter = Location::defaults().remove(1);
        let query = |target| find(&parameter, &[(":path", target)]);
        assert_eq!(query("/?access_token=a.b.c"), token("a.b.c"));
        assert_eq!(query("/?access_token=a&access_token=a"), token("a"));
        assert_eq!(query("/?access_token=a&access_token=b"), Found::Ambiguous);
        assert_eq!(query("/?access_token=a&%61ccess_token=b"), Found::Ambiguous);
        assert_eq!(query("/access_token=a"), Found::Nothing);

        let cookie = Location::at(Place::Cookie("jwt".to_owned()));
        let cookies = |line| find(&cookie, &[("cookie", line)]);
        assert_eq!(cookies("a=b; jwt=\"x.y.z\"; c=d"), token("x.y.z"));
        assert_eq!(cookies("jwt=a; jwt=a"), token("a"));
        assert_eq!(cookies("jwt=a; jwt=b"), Found::Ambiguous);
        assert_eq!(cookies("njwt=a"), Found::Nothing);
    }

    #[test]
    fn a_parameter_is_taken_out_and_the_others_stay_as_they_are() {
        let cases = [
            ("/p?access_token=a", "/p"),
            ("/p?x=%20+&access_token=a&y", "/p?x=%20+&y"),
            ("/p?access_token=a&x=1&%61ccess_token=b#f?g", "/p?x=1#f?g"),
            ("/p?xaccess_token=a", "/p?xaccess_token=a"),
            ("/p", "/p"),
        ];
        for (target, expected) in cases {
            let left = without_parameter(target.as_bytes(), "access_token");
            assert_eq!(String::from_utf8_lossy(&left), expected, "{target}");
        }
    }
}
