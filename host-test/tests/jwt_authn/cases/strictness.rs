//! Tokens that the native filter takes and a strict reader refuses.

use serde_json::json;

use super::{case, differs, get, of, provider_with, requires_p};
use crate::Group;
use crate::requests::Request;
use crate::token::{FUTURE, Key, encode, rs256, sign, sign_text};

pub(super) fn groups() -> Vec<Group> {
    vec![signatures(), headers(), json_texts()]
}

fn config() -> serde_json::Value {
    requires_p(&provider_with("p", &json!({})))
}

fn bearer(token: &str) -> Request {
    get().bearer(token)
}

fn signatures() -> Group {
    let good = of("p");
    let canonical = "base64url has one form here: no padding, no white space, no unused bits (RFC 7515 section 2)";
    let parts = "a token has three parts, none empty (RFC 7515 section 7.1)";
    let length = "an ES256 signature has 64 bytes (RFC 7518 section 3.4)";
    let padded = sign(
        Key::P256Padded,
        &json!({"alg": "ES256", "kid": "elliptic"}),
        &json!({"iss": "p", "exp": FUTURE}),
    );
    Group {
        name: "strict: encoding",
        config: config(),
        cases: vec![
            differs("padding", bearer(&format!("{good}==")), 200, 401, canonical),
            differs(
                "a dot at the end",
                bearer(&format!("{good}.")),
                200,
                401,
                parts,
            ),
            differs(
                "a dot at the start",
                bearer(&format!(".{good}")),
                200,
                401,
                parts,
            ),
            differs(
                "a double dot",
                bearer(&good.replacen('.', "..", 1)),
                200,
                401,
                parts,
            ),
            differs(
                "unused bits",
                bearer(&flip_unused_bits(&good)),
                200,
                401,
                canonical,
            ),
            differs(
                "an elliptic signature with zeros before its halves",
                bearer(&padded),
                200,
                401,
                length,
            ),
            case(
                "the alphabet of plain base64",
                bearer(&good.replace('_', "/").replace('-', "+")),
                401,
            ),
        ],
    }
}

/// Another last character that decodes to the same bytes.
fn flip_unused_bits(token: &str) -> String {
    let mut text = token.to_owned();
    let last = text.pop().unwrap_or_default();
    // 256 bytes end with two characters of which the last carries four unused bits.
    let other = char::from_u32(u32::from(last) + 1).unwrap_or(last);
    text.push(other);
    text
}

fn headers() -> Group {
    let claims = json!({"iss": "p", "exp": FUTURE});
    let with = |header: serde_json::Value| bearer(&sign(Key::Rsa, &header, &claims));
    let crit = "an extension that is critical and unknown is refused (RFC 7515 section 4.1.11)";
    let good = of("p");
    let bearer_only =
        "a request with two Authorization values is ambiguous, and a scheme stands at the start";
    Group {
        name: "strict: headers",
        config: config(),
        cases: vec![
            differs(
                "crit",
                with(json!({"alg": "RS256", "kid": "2011-04-29", "crit": ["x"], "x": 1})),
                200,
                401,
                crit,
            ),
            differs(
                "an empty crit",
                with(json!({"alg": "RS256", "kid": "2011-04-29", "crit": []})),
                200,
                401,
                crit,
            ),
            differs(
                "b64 without crit",
                with(json!({"alg": "RS256", "kid": "2011-04-29", "b64": false})),
                200,
                401,
                "an unencoded payload is refused (RFC 7797)",
            ),
            case(
                "jwk, jku, x5u are ignored",
                with(
                    json!({"alg": "RS256", "kid": "2011-04-29", "jku": "https://evil", "x5u": "https://evil", "jwk": {"kty": "oct"}}),
                ),
                200,
            ),
            case(
                "kid as a path",
                with(json!({"alg": "RS256", "kid": "../../dev/null"})),
                401,
            ),
            case(
                "kid as a number",
                with(json!({"alg": "RS256", "kid": 1})),
                401,
            ),
            differs(
                "Basic and Bearer in one value",
                get().header("authorization", format!("Basic x Bearer {good}")),
                200,
                401,
                bearer_only,
            ),
            differs(
                "Basic and Bearer in two values",
                get().header("authorization", "Basic x").bearer(&good),
                200,
                401,
                bearer_only,
            ),
            case("two good Bearers", bearer(&good).bearer(&good), 401),
        ],
    }
}

fn json_texts() -> Group {
    let header = r#"{"alg":"RS256","kid":"2011-04-29"}"#;
    let claims = |text: &str| bearer(&sign_text(Key::Rsa, header, text));
    let rfc8259 = "claims are JSON as RFC 8259 has it";
    let zero = "a token that expired in 1970 has expired (RFC 7519 section 4.1.4)";
    Group {
        name: "strict: JSON",
        config: config(),
        cases: vec![
            differs("single quotes", claims("{'iss':'p'}"), 200, 401, rfc8259),
            differs("a bare name", claims(r#"{iss:"p"}"#), 200, 401, rfc8259),
            differs(
                "a comma at the end",
                claims(r#"{"iss":"p",}"#),
                200,
                401,
                rfc8259,
            ),
            differs("exp 0", claims(r#"{"iss":"p","exp":0}"#), 200, 401, zero),
            case("a member twice", claims(r#"{"iss":"p","iss":"p"}"#), 401),
            case("a comment", claims(r#"{"iss":"p"/**/}"#), 401),
            case("trailing bytes", claims(r#"{"iss":"p"}x"#), 401),
            case("a byte order mark", claims("\u{feff}{\"iss\":\"p\"}"), 401),
            case("a list", claims(r#"["iss","p"]"#), 401),
            case("no claims", claims("{}"), 401),
            case(
                "exp as text",
                claims(r#"{"iss":"p","exp":"4102444800"}"#),
                401,
            ),
            case("exp negative", claims(r#"{"iss":"p","exp":-1}"#), 401),
            case("exp enormous", claims(r#"{"iss":"p","exp":1e300}"#), 401),
            case(
                "exp with a fraction",
                claims(r#"{"iss":"p","exp":4102444800.5}"#),
                200,
            ),
            case(
                "white space",
                claims("{ \"iss\" : \"p\" ,\n\t\"exp\":4102444800 }"),
                200,
            ),
            case("an escape in a name", claims(r#"{"\u0069ss":"p"}"#), 200),
            case(
                "two good parts and an empty signature",
                bearer(&format!(
                    "{}.{}.",
                    encode(header.as_bytes()),
                    encode(b"{\"iss\":\"p\"}")
                )),
                401,
            ),
            case(
                "good after all that",
                bearer(&rs256(&json!({"iss": "p", "exp": FUTURE}))),
                200,
            ),
        ],
    }
}
