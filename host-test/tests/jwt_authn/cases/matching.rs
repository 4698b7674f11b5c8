//! Which rule a request falls under.

use serde_json::{Value, json};

use super::{case, differs, of, provider};
use crate::Group;
use crate::requests::Request;

pub(super) fn groups() -> Vec<Group> {
    vec![paths(), headers(), queries(), preflight()]
}

fn guarded(matcher: &Value) -> Value {
    json!({"match": matcher, "requires": {"provider_name": "p"}})
}

fn config(matchers: &[Value]) -> Value {
    let rules: Vec<_> = matchers.iter().map(guarded).collect();
    json!({"providers": {"p": provider("p")}, "rules": rules})
}

fn paths() -> Group {
    let config = config(&[
        json!({"path": "/exact"}),
        json!({"path": "/Any-Case", "case_sensitive": false}),
        json!({"prefix": "/prefix"}),
        json!({"path_separated_prefix": "/part"}),
        json!({"safe_regex": {"regex": "/r[0-9]+/x"}}),
    ]);
    let open = |name, path: &str| case(name, Request::get(path), 200);
    let shut = |name, path: &str| case(name, Request::get(path), 401);
    Group {
        name: "paths",
        config,
        cases: vec![
            shut("the path", "/exact"),
            shut("the path with a query", "/exact?a=b"),
            open("a longer path", "/exact/"),
            open("the path in capitals", "/EXACT"),
            shut("a path of any case", "/any-CASE"),
            shut("the prefix", "/prefix"),
            shut("a longer word", "/prefixed"),
            open("the prefix in capitals", "/Prefix"),
            shut("the part", "/part"),
            shut("below the part", "/part/a"),
            shut("the part with a query", "/part?a"),
            open("a longer part", "/parts"),
            shut("the expression", "/r12/x"),
            shut("the expression with a query", "/r12/x?y=z"),
            open("more than the expression", "/r12/xy"),
            case("with a token", Request::get("/exact").bearer(&of("p")), 200),
        ],
    }
}

fn headers() -> Group {
    let config = config(&[
        json!({"prefix": "/present", "headers": [{"name": "x-a", "present_match": true}]}),
        json!({"prefix": "/absent", "headers": [{"name": "x-a", "present_match": false}]}),
        json!({"prefix": "/exact", "headers": [{"name": "x-a", "string_match": {"exact": "b"}}]}),
        json!({"prefix": "/not", "headers": [{"name": "x-a", "string_match": {"exact": "b"}, "invert_match": true}]}),
        json!({"prefix": "/range", "headers": [{"name": "x-a", "range_match": {"start": 10, "end": 20}}]}),
        json!({"prefix": "/method", "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]}),
        json!({"prefix": "/old", "headers": [{"name": "x-a", "exact_match": "b"}]}),
        json!({"prefix": "/both", "headers": [
            {"name": "x-a", "string_match": {"prefix": "b"}}, {"name": "x-c", "string_match": {"suffix": "d"}},
        ]}),
    ]);
    let with = |path: &str, value: &str| Request::get(path).header("x-a", value);
    Group {
        name: "headers",
        config,
        cases: vec![
            case("present: there", with("/present", ""), 401),
            case("present: not there", Request::get("/present"), 200),
            case("absent: there", with("/absent", "b"), 200),
            case("absent: not there", Request::get("/absent"), 401),
            case("exact: it", with("/exact", "b"), 401),
            case("exact: another", with("/exact", "c"), 200),
            case("exact: none", Request::get("/exact"), 200),
            case("inverted: it", with("/not", "b"), 200),
            case("inverted: another", with("/not", "c"), 401),
            case("inverted: none", Request::get("/not"), 200),
            case("range: first", with("/range", "10"), 401),
            case("range: end", with("/range", "20"), 200),
            case("range: no number", with("/range", "x"), 200),
            case("method: it", Request::get("/method").method("POST"), 401),
            case("method: another", Request::get("/method"), 200),
            case("the older form: it", with("/old", "b"), 401),
            case("both: one", with("/both", "b"), 200),
            case("both: two", with("/both", "b").header("x-c", "cd"), 401),
            case("repeated", with("/exact", "c").header("x-a", "b"), 401),
        ],
    }
}

fn queries() -> Group {
    let config = config(&[
        json!({"prefix": "/present", "query_parameters": [{"name": "a", "present_match": true}]}),
        json!({"prefix": "/exact", "query_parameters": [{"name": "a", "string_match": {"exact": "b"}}]}),
    ]);
    let decoded = "what the service behind takes for the value must not slip past the rule";
    Group {
        name: "queries",
        config,
        cases: vec![
            case("present: there", Request::get("/present?a"), 401),
            case(
                "present: there with a value",
                Request::get("/present?x&a=b"),
                401,
            ),
            case("present: not there", Request::get("/present?b=a"), 200),
            case("exact: it", Request::get("/exact?a=b"), 401),
            case("exact: another", Request::get("/exact?a=c"), 200),
            case(
                "exact: the first of two",
                Request::get("/exact?a=b&a=c"),
                401,
            ),
            case(
                "exact: the second of two",
                Request::get("/exact?a=c&a=b"),
                200,
            ),
            differs(
                "exact: encoded",
                Request::get("/exact?a=%62"),
                200,
                401,
                decoded,
            ),
        ],
    }
}

fn preflight() -> Group {
    let mut config = config(&[json!({"prefix": "/"})]);
    config["bypass_cors_preflight"] = json!(true);
    let options = || Request::get("/").method("OPTIONS");
    Group {
        name: "preflight requests",
        config,
        cases: vec![
            case(
                "a preflight",
                options()
                    .header("origin", "a")
                    .header("access-control-request-method", "GET"),
                200,
            ),
            case(
                "without origin",
                options().header("access-control-request-method", "GET"),
                401,
            ),
            case("without the method", options().header("origin", "a"), 401),
            case(
                "another method",
                Request::get("/")
                    .header("origin", "a")
                    .header("access-control-request-method", "GET"),
                401,
            ),
            case(
                "an empty origin",
                options()
                    .header("origin", "")
                    .header("access-control-request-method", "GET"),
                401,
            ),
        ],
    }
}
