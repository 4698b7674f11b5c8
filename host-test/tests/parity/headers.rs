//! Header maps: what the calls do, and which map is there in which callback.

use crate::guest::{
    REQUEST, REQUEST_TRAILERS, RESPONSE, RESPONSE_TRAILERS, add, get, map_size, module, on, pairs,
    remove, replace, say, set_pairs,
};
use crate::scene::Scene;

/// Every call on a map.
fn all_calls(map: i32) -> Vec<String> {
    vec![
        get(map, "x-absent"),
        map_size(map),
        pairs(map),
        add(map, "x-added", "1"),
        replace(map, "x-replaced", "1"),
        remove(map, "x-removed"),
        set_pairs(map, &[("x", "y")]),
    ]
}

/// Whether all four maps of a stream can be read and written, without changing them much.
fn looks(callback: &str, result: i32) -> String {
    let maps = [REQUEST, REQUEST_TRAILERS, RESPONSE, RESPONSE_TRAILERS];
    let mut calls = vec![say(callback)];
    for map in maps {
        calls.push(get(map, "x-absent"));
        calls.push(remove(map, "x-absent"));
        calls.push(crate::guest::status(
            &format!("pairs {map}"),
            &format!("$pairs (i32.const {map}) (i32.const 32) (i32.const 36)"),
        ));
    }
    on(callback, &calls, result)
}

#[test]
fn a_lookup_gives_the_first_value_ignores_case_and_tells_empty_from_absent() {
    let calls = [
        get(REQUEST, "X-TAG"),
        get(REQUEST, "x-empty"),
        get(REQUEST, "x-absent"),
        get(REQUEST, "host"),
        get(REQUEST, ":authority"),
        get(REQUEST, "Host"),
        get(REQUEST, ""),
        get(4, "x"),
        get(5, "x"),
        get(6, "x"),
        get(7, "x"),
        get(8, "x"),
        get(-1, "x"),
    ];
    Scene::new(&module(&[on("request_headers", &calls, 0)]))
        .send(
            "{path: /, headers: {x-tag: [one, two], x-empty: '', host: a.example}}",
            "200",
        )
        .says(&[
            "get 0 X-TAG 0 [one]",
            "get 0 x-empty 0 []",
            "get 0 x-absent 1",
            "get 0 host 0 [a.example]",
            "get 0 :authority 0 [a.example]",
            "get 0 Host 0 [a.example]",
            "get 0  1",
            "get 4 x 2",
            "get 5 x 2",
            "get 6 x 2",
            "get 7 x 2",
            "get 8 x 2",
            "get -1 x 2",
        ])
        .check();
}

/// Headers of requests that are worth a look; which of them Envoy keeps once is for it to say.
const REQUEST_NAMES: [&str; 40] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "baggage",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-type",
    "cookie",
    "date",
    "etag",
    "forwarded",
    "from",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "origin",
    "pragma",
    "range",
    "referer",
    "sec-fetch-site",
    "server",
    "te",
    "traceparent",
    "user-agent",
    "vary",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-tag",
];

/// The same of responses.
const RESPONSE_NAMES: [&str; 40] = [
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "allow",
    "alt-svc",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-range",
    "content-security-policy",
    "content-type",
    "etag",
    "expires",
    "grpc-message",
    "grpc-status",
    "last-modified",
    "link",
    "location",
    "pragma",
    "proxy-authenticate",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-content-type-options",
    "x-forwarded-for",
    "x-powered-by",
    "x-request-id",
    "x-tag",
];

fn with_value(names: &[&str], value: &str) -> String {
    let lines: Vec<String> = names
        .iter()
        .map(|name| format!("{name}: {value}"))
        .collect();
    format!("{{{}}}", lines.join(", "))
}

fn on_each(names: &[&str], call: impl Fn(&str) -> String) -> Vec<String> {
    names.iter().map(|name| call(name)).collect()
}

#[test]
fn repeated_headers_of_a_request_arrive_joined_or_apart_by_their_name() {
    let calls = on_each(&REQUEST_NAMES, |name| get(REQUEST, name));
    let headers = with_value(&REQUEST_NAMES, "[a, b]");
    Scene::new(&module(&[on("request_headers", &calls, 0)]))
        .send(
            &format!("{{path: /, headers: {headers}}}"),
            "{status: 200, upstream: {headers: {x-tag: [a, b], accept: 'a,b', cookie: [a, b]}}}",
        )
        .says(&[
            "get 0 accept 0 [a,b]",
            "get 0 cookie 0 [a]",
            "get 0 x-tag 0 [a]",
        ])
        .check();
}

#[test]
fn repeated_headers_of_a_response_arrive_joined_or_apart_by_their_name() {
    let calls = on_each(&RESPONSE_NAMES, |name| get(RESPONSE, name));
    Scene::new(&module(&[on("response_headers", &calls, 0)]))
        .upstream(&format!(
            "{{headers: {}}}",
            with_value(&RESPONSE_NAMES, "[a, b]")
        ))
        .send(
            "GET /",
            "{status: 200, headers: {x-tag: [a, b], vary: 'a,b'}}",
        )
        .says(&["get 2 cache-control 0 [a,b]", "get 2 set-cookie 0 [a]"])
        .check();
}

#[test]
fn adding_to_a_request_header_joins_or_appends_by_its_name() {
    let calls = on_each(&REQUEST_NAMES, |name| add(REQUEST, name, "b"));
    let headers = with_value(&REQUEST_NAMES, "a");
    Scene::new(&module(&[on("request_headers", &calls, 0)]))
        .send(
            &format!("{{path: /, headers: {headers}}}"),
            "{status: 200, upstream: {headers: {x-tag: [a, b], content-type: 'a,b', te: b}}}",
        )
        .check();
}

#[test]
fn adding_to_a_response_header_joins_or_appends_by_its_name() {
    let calls = on_each(&RESPONSE_NAMES, |name| add(RESPONSE, name, "b"));
    Scene::new(&module(&[on("response_headers", &calls, 0)]))
        .upstream(&format!(
            "{{headers: {}}}",
            with_value(&RESPONSE_NAMES, "a")
        ))
        .send(
            "GET /",
            "{status: 200, headers: {x-tag: [a, b], content-type: 'a,b', set-cookie: [a, b]}}",
        )
        .check();
}

#[test]
fn replaced_headers_keep_their_place_or_lose_it() {
    let names = [
        "accept",
        "content-type",
        "user-agent",
        "x-tag",
        "via",
        "x-request-id",
        "accept",
    ];
    let calls = on_each(&names, |name| replace(REQUEST, name, "b"));
    let mut back = on_each(
        &["location", "content-type", "x-tag", "server", "vary"],
        |name| replace(RESPONSE, name, "b"),
    );
    back.push(replace(RESPONSE, ":status", "201"));
    Scene::new(&module(&[
        on("request_headers", &calls, 0),
        on("response_headers", &back, 0),
    ]))
    .upstream("{headers: {location: a, content-type: a, x-tag: a, vary: a, x-last: z}}")
    .send(
        &format!(
            "{{path: /, headers: {}}}",
            with_value(
                &[
                    "accept",
                    "content-type",
                    "user-agent",
                    "x-tag",
                    "via",
                    "x-last"
                ],
                "a"
            )
        ),
        "201",
    )
    .check();
}

#[test]
fn a_replaced_header_has_one_value_and_a_removed_one_none() {
    let calls = [
        replace(REQUEST, "X-Tag", "new"),
        get(REQUEST, "x-tag"),
        replace(REQUEST, "x-new", "1"),
        replace(REQUEST, "accept", "b"),
        replace(REQUEST, "host", "other.example"),
        get(REQUEST, ":authority"),
        remove(REQUEST, "X-GONE"),
        get(REQUEST, "x-gone"),
        remove(REQUEST, "x-absent"),
        replace(REQUEST, ":path", "/other?x=1"),
        replace(REQUEST, ":method", "PUT"),
        replace(REQUEST, "x-empty", ""),
        get(REQUEST, "x-empty"),
    ];
    Scene::new(&module(&[on("request_headers", &calls, 0)]))
        .send(
            "{path: /, headers: {x-tag: [one, two], x-last: z, accept: a, x-gone: [p, q]}}",
            "{status: 200, upstream: {method: PUT, path: '/other?x=1', headers: {x-tag: new, x-new: 1, accept: b, x-gone: absent, ':authority': other.example}}}",
        )
        .says(&[
            "replace 0 X-Tag 0",
            "get 0 x-tag 0 [new]",
            "replace 0 x-new 0",
            "replace 0 accept 0",
            "replace 0 host 0",
            "get 0 :authority 0 [other.example]",
            "remove 0 X-GONE 0",
            "get 0 x-gone 1",
            "remove 0 x-absent 0",
            "replace 0 :path 0",
            "replace 0 :method 0",
            "replace 0 x-empty 0",
            "get 0 x-empty 0 []",
        ])
        .check();
}

#[test]
fn replacing_all_pairs_keeps_their_order() {
    let calls = [
        set_pairs(
            RESPONSE,
            &[
                (":status", "203"),
                ("x-b", "1"),
                ("x-a", "2"),
                ("X-B", "3"),
                ("content-length", "0"),
            ],
        ),
        map_size(RESPONSE),
        pairs(RESPONSE),
        get(RESPONSE, "x-b"),
    ];
    Scene::new(&module(&[on("response_headers", &calls, 0)]))
        .send("GET /", "{status: 203, headers: {x-b: [1, 3], x-a: 2}}")
        .says(&[
            "set pairs 2 0",
            "map size 2 0 37",
            "pairs 2 0 91:",
            "get 2 x-b 0 [1]",
        ])
        .check();
}

#[test]
fn the_size_of_a_map_is_that_of_its_names_and_values() {
    let calls = [
        map_size(REQUEST),
        pairs(REQUEST),
        map_size(RESPONSE),
        pairs(RESPONSE),
        map_size(8),
        pairs(8),
    ];
    Scene::new(&module(&[on("request_headers", &calls, 0)]))
        .send("{path: /, headers: {a: '1', b: ''}}", "200")
        .says(&[
            "map size 0 0 121",
            "pairs 0 0 205:",
            "map size 2 2",
            "pairs 2 0 0:",
            "map size 8 2",
            "pairs 8 2",
        ])
        .check();
}

#[test]
fn each_callback_has_its_own_maps() {
    let callbacks = [
        "request_headers",
        "request_body",
        "response_headers",
        "response_body",
        "log",
        "done",
        "delete",
    ];
    let functions: Vec<String> = callbacks
        .iter()
        .map(|callback| looks(callback, if *callback == "done" { 1 } else { 0 }))
        .collect();
    // Per callback: what reading and changing each map answers. 0 or 1 where there is the map.
    let seen = [
        ("request_headers", [1, 0, 2, 2, 2, 2, 2, 2]),
        ("request_body", [2, 2, 2, 2, 2, 2, 2, 2]),
        // The end of a body: a change makes trailers, and they stay.
        ("request_body", [2, 2, 2, 0, 2, 2, 2, 2]),
        ("response_headers", [2, 2, 1, 0, 1, 0, 2, 2]),
        ("response_body", [2, 2, 1, 0, 2, 2, 2, 2]),
        ("response_body", [2, 2, 1, 0, 2, 2, 2, 0]),
        ("log", [1, 2, 1, 0, 1, 2, 1, 0]),
        ("done", [2, 2, 1, 0, 2, 2, 1, 0]),
        ("delete", [2, 2, 1, 0, 2, 2, 1, 0]),
    ];
    let lines: Vec<String> = seen
        .iter()
        .flat_map(|(callback, statuses)| {
            let maps = (0..4).flat_map(|map| {
                let (read, changed) = (statuses[2 * map], statuses[2 * map + 1]);
                [
                    format!("get {map} x-absent {read}"),
                    format!("remove {map} x-absent {changed}"),
                    // All pairs of a map that isn't there are none.
                    format!("pairs {map} 0"),
                ]
            });
            std::iter::once((*callback).to_owned()).chain(maps)
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    Scene::new(&module(&functions))
        .upstream("{body: hello}")
        .send("{method: POST, path: /, body: abc}", "200")
        .says(&lines)
        .check();
}

#[test]
fn root_contexts_have_no_maps() {
    let mut calls = all_calls(REQUEST);
    calls.extend(all_calls(RESPONSE));
    Scene::new(&module(&[on("configure", &calls, 1)]))
        .send("GET /", "200")
        .says(&["get 0 x-absent 2"])
        .check();
}

#[test]
fn a_request_without_path_is_a_404_and_without_method_a_503() {
    for (name, expect) in [
        (":path", "404"),
        (":method", "503"),
        (":authority", "200"),
        (":scheme", "200"),
    ] {
        Scene::new(&module(&[on(
            "request_headers",
            &[remove(REQUEST, name)],
            0,
        )]))
        .send("GET /", expect)
        .check();
    }
}

#[test]
fn a_request_whose_pairs_are_all_gone_is_a_404() {
    Scene::new(&module(&[on(
        "request_headers",
        &[set_pairs(REQUEST, &[])],
        0,
    )]))
    .send("GET /", "404")
    .check();
}

#[test]
fn a_response_without_a_status_is_a_502() {
    for call in [
        remove(RESPONSE, ":status"),
        replace(RESPONSE, ":status", "abc"),
    ] {
        Scene::new(&module(&[on("response_headers", &[call], 0)]))
            .send("GET /", "502")
            .check();
    }
}

#[test]
fn an_invalid_header_of_a_request_is_a_503() {
    for (call, body) in [
        (
            add(REQUEST, "x-a", "b\\0d\\0ac: d"),
            "'invalid header value for: x-a'",
        ),
        (
            add(REQUEST, "bad name", "b"),
            "'invalid header name: bad name'",
        ),
    ] {
        Scene::new(&module(&[on("request_headers", &[call], 0)]))
            .send(
                "GET /",
                &format!("{{status: 503, body: {body}, upstream: none}}"),
            )
            .check();
    }
}

#[test]
fn a_header_without_a_name_is_sent() {
    Scene::new(&module(&[on(
        "request_headers",
        &[add(REQUEST, "", "b")],
        0,
    )]))
    .send("GET /", "{status: 200, upstream: {headers: {'': b}}}")
    .says(&["add 0  0"])
    .check();
}
