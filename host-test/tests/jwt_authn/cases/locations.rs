//! Where tokens are found, and what of them goes on.

use serde_json::json;

use super::{case, differs, get, of, provider_with, requires_p};
use crate::Group;
use crate::requests::Request;
use crate::token::{FUTURE, rs256};

pub(super) fn groups() -> Vec<Group> {
    vec![several_places(), default_places(), forwarded(), padded()]
}

fn several_places() -> Group {
    let config = requires_p(&provider_with(
        "p",
        &json!({
            "from_headers": [{"name": "x-token"}, {"name": "authorization", "value_prefix": "Token "}],
            "from_params": ["token", "jwt"],
            "from_cookies": ["session"],
        }),
    ));
    let good = of("p");
    let bad = of("q");
    let query = |query: String| Request::get(format!("/a?{query}"));
    let cookie = |value: String| get().header("cookie", value);
    Group {
        name: "several places",
        config,
        cases: vec![
            case("a header", get().header("x-token", good.as_str()), 200),
            case(
                "a header with another's prefix",
                get().header("authorization", format!("Token {good}")),
                200,
            ),
            case(
                "the default place, which is none here",
                get().bearer(&good),
                401,
            ),
            case("a parameter", query(format!("token={good}")), 200),
            case(
                "another parameter",
                query(format!("x=1&jwt={good}&y=2")),
                200,
            ),
            case(
                "a parameter of another case",
                query(format!("Token={good}")),
                401,
            ),
            case("a cookie", cookie(format!("session={good}")), 200),
            case(
                "a cookie among others",
                cookie(format!("a=b; session={good}; c=d")),
                200,
            ),
            case(
                "a cookie in quotes",
                cookie(format!("session=\"{good}\"")),
                200,
            ),
            case("another cookie", cookie(format!("sessions={good}")), 401),
            case(
                "a good header and a bad cookie",
                cookie(format!("session={bad}")).header("x-token", good.as_str()),
                401,
            ),
            case(
                "a bad header and a good cookie",
                cookie(format!("session={good}")).header("x-token", bad),
                401,
            ),
            case("an empty header", get().header("x-token", ""), 401),
        ],
    }
}

fn default_places() -> Group {
    let config = requires_p(&provider_with("p", &json!({})));
    let good = of("p");
    let authorization = |value: String| get().header("authorization", value);
    let scheme = "the scheme's case does not matter (RFC 9110 section 11.1)";
    Group {
        name: "default places",
        config,
        cases: vec![
            case("Bearer", authorization(format!("Bearer {good}")), 200),
            differs(
                "bearer",
                authorization(format!("bearer {good}")),
                401,
                200,
                scheme,
            ),
            differs(
                "BEARER",
                authorization(format!("BEARER {good}")),
                401,
                200,
                scheme,
            ),
            case(
                "Bearer without a space",
                authorization(format!("Bearer{good}")),
                401,
            ),
            case(
                "a parameter",
                Request::get(format!("/a?access_token={good}")),
                200,
            ),
            case(
                "a parameter with an empty name",
                Request::get(format!("/a?={good}")),
                401,
            ),
            case(
                "a fragment of a parameter",
                Request::get(format!("/a?xaccess_token={good}")),
                401,
            ),
        ],
    }
}

fn forwarded() -> Group {
    let config = requires_p(&provider_with(
        "p",
        &json!({
            "forward": true,
            "forward_payload_header": "x-payload",
            "claim_to_headers": [{"header_name": "x-sub", "claim_name": "sub"}],
            "from_headers": [{"name": "x-token"}],
            "from_params": ["token"],
            "from_cookies": ["session"],
        }),
    ));
    let good = of("p");
    let once = "one token is handed on once; Envoy repeats the headers for each place";
    Group {
        name: "forwarded",
        config,
        cases: vec![
            case("a header", get().header("x-token", good.as_str()), 200),
            case("a parameter", Request::get(format!("/?token={good}")), 200),
            case(
                "a cookie",
                get().header("cookie", format!("session={good}")),
                200,
            ),
            differs(
                "the same token in two places",
                Request::get(format!("/?token={good}")).header("x-token", good.as_str()),
                200,
                200,
                once,
            ),
        ],
    }
}

fn padded() -> Group {
    let config = requires_p(&provider_with(
        "p",
        &json!({"forward_payload_header": "x-payload", "pad_forward_payload_header": true}),
    ));
    let token = |sub: &str| get().bearer(&rs256(&json!({"iss": "p", "sub": sub, "exp": FUTURE})));
    Group {
        name: "a padded payload",
        config,
        cases: vec![
            case("one length", token("a"), 200),
            case("the next", token("ab"), 200),
            case("and the next", token("abc"), 200),
        ],
    }
}
