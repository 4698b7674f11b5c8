//! RFC 9111 request by request, each rule by its sentence; and what a bad message comes to.

mod common;

use cache_lookup::policy::{Policy, Start};
use cache_lookup::request::Seen;
use common::{Cache, Message, NOW, block, cache, config, reply};
use filter_core::headers::Headers;

/// A cache that stored this.
fn with(fields: &[(&str, &str)]) -> Cache {
    with_status(200, fields)
}

fn with_status(status: u16, fields: &[(&str, &str)]) -> Cache {
    let cache = cache("{}");
    cache.origin([reply(status, fields, "stored"), reply(200, &[], "new")]);
    assert!(!cache.get(&[]).is_hit());
    cache
}

fn is_reused(fields: &[(&str, &str)]) -> bool {
    with(fields).get(&[]).is_hit()
}

// Section 3: storing responses in caches.

#[test]
fn a_cache_must_not_store_a_response_with_no_store() {
    for control in ["no-store", "No-StOrE", "max-age=10000, no-store"] {
        assert!(
            !is_reused(&[("cache-control", control), ("expires", "100")]),
            "{control}"
        );
    }
}

#[test]
fn a_shared_cache_must_not_store_a_private_response() {
    assert!(!is_reused(&[("cache-control", "private, max-age=3600")]));
}

#[test]
fn a_cache_must_not_store_a_response_to_a_request_with_no_store() {
    let cache = cache("{}");
    cache.origin([reply(200, &[("cache-control", "max-age=60")], "x")]);
    cache.get(&[("cache-control", "no-store")]);
    assert!(!cache.get(&[]).is_hit());
}

#[test]
fn a_response_without_freshness_and_validator_is_not_stored() {
    assert!(!is_reused(&[]));
}

#[test]
fn must_understand_is_about_the_status_and_overrides_no_store() {
    let control = [("cache-control", "max-age=60, must-understand, no-store")];
    assert!(with(&control).get(&[]).is_hit());
    assert!(!with_status(599, &control).get(&[]).is_hit());
}

#[test]
fn any_final_status_with_explicit_freshness_is_stored() {
    for status in [
        200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599,
    ] {
        let cache = with_status(status, &[("cache-control", "max-age=60")]);
        let again = cache.get(&[]);
        assert!(again.is_hit() && again.status() == status, "{status}");
    }
}

#[test]
fn a_post_is_stored_with_explicit_freshness_and_its_own_content_location_only() {
    let stored = |fields: &[(&str, &str)]| {
        let cache = cache("{}");
        cache.origin([reply(200, fields, "posted")]);
        cache.send("POST", "/", &[]);
        cache.get(&[]).is_hit()
    };
    assert!(stored(&[
        ("expires", "60"),
        ("content-location", "/"),
        ("date", "0")
    ]));
    assert!(!stored(&[
        ("expires", "60"),
        ("content-location", "/other"),
        ("date", "0")
    ]));
    assert!(!stored(&[("expires", "60"), ("date", "0")]));
    assert!(!stored(&[
        ("content-location", "/"),
        ("last-modified", "-1000")
    ]));
}

// Section 3.5: storing responses to authenticated requests.

#[test]
fn a_response_to_authorization_is_not_reused_unless_it_allows_that() {
    let reused = |control: &str| {
        let cache = cache("{}");
        cache.origin([reply(200, &[("cache-control", control)], "x")]);
        cache.get(&[("authorization", "FOO")]);
        cache.get(&[]).is_hit()
    };
    assert!(!reused("max-age=60"));
    for control in [
        "max-age=60, public",
        "max-age=60, must-revalidate",
        "s-maxage=60",
    ] {
        assert!(reused(control), "{control}");
    }
}

#[test]
fn a_validation_with_authorization_updates_nothing_for_others_unless_it_allows_that() {
    let told = |method: &str, control: &str| {
        let cache = with(&[("cache-control", "max-age=1"), ("etag", "\"a\"")]);
        cache.wait(2);
        let status = if method == "HEAD" { 200 } else { 304 };
        let fields = [
            ("etag", "\"a\""),
            ("cache-control", control),
            ("x-user", "alice"),
        ];
        cache.origin([
            reply(status, &fields, ""),
            reply(304, &[("etag", "\"a\"")], ""),
        ]);
        let alice = cache.send(method, "/", &[("authorization", "alice")]);
        assert_eq!(alice.header("x-user"), Some("alice"), "{method} {control}");
        cache.get(&[]).header("x-user").map(str::to_owned)
    };
    for method in ["GET", "HEAD"] {
        assert_eq!(told(method, "max-age=60"), None, "{method}");
        let public = told(method, "max-age=60, public");
        assert_eq!(public.as_deref(), Some("alice"), "{method}");
    }
}

#[test]
fn a_cookie_of_a_validation_is_for_its_client_unless_freshness_is_explicit() {
    let told = |control: &str| {
        let cache = with(&[("cache-control", control), ("etag", "\"a\"")]);
        cache.wait(2);
        let fields = [("etag", "\"a\""), ("set-cookie", "session=alice")];
        cache.origin([
            reply(304, &fields, ""),
            reply(304, &[("etag", "\"a\"")], ""),
        ]);
        let alice = cache.get(&[]);
        assert_eq!(alice.header("set-cookie"), Some("session=alice"));
        let other = cache.get(&[]);
        assert_eq!(other.body(), "stored");
        other.header("set-cookie").is_some()
    };
    assert!(!told("no-cache"));
    assert!(!told("x"));
    assert!(told("max-age=1"));
}

#[test]
fn fields_that_private_or_no_cache_names_reach_the_client_of_a_validation_and_nobody_else() {
    for (stored, validated) in [
        ("max-age=1, private=\"set-cookie\"", None),
        ("max-age=1", Some("max-age=1, private=\"set-cookie\"")),
        ("max-age=1, no-cache=Set-Cookie", None),
    ] {
        let cache = with(&[("cache-control", stored), ("etag", "\"a\"")]);
        cache.wait(2);
        let mut fields = vec![("etag", "\"a\""), ("set-cookie", "session=alice")];
        fields.extend(validated.map(|control| ("cache-control", control)));
        cache.origin([
            reply(304, &fields, ""),
            reply(304, &[("etag", "\"a\"")], ""),
        ]);
        let alice = cache.get(&[]);
        assert_eq!(
            alice.header("set-cookie"),
            Some("session=alice"),
            "{stored}"
        );
        let other = cache.get(&[]);
        assert_eq!(
            (other.body(), other.header("set-cookie")),
            ("stored".to_owned(), None)
        );
    }
}

#[test]
fn a_validation_that_reflects_an_unkeyed_header_updates_nothing() {
    let cache = with(&[("cache-control", "max-age=1"), ("etag", "\"a\"")]);
    cache.wait(2);
    let fields = [
        ("etag", "\"a\""),
        ("content-location", "http://evil.example/"),
    ];
    cache.origin([
        reply(304, &fields, ""),
        reply(304, &[("etag", "\"a\"")], ""),
    ]);
    cache.get(&[("x-forwarded-host", "evil.example")]);
    assert_eq!(cache.get(&[]).header("content-location"), None);
}

// Section 4: constructing responses from caches.

#[test]
fn a_cache_must_generate_an_age_field_when_it_uses_a_stored_response() {
    let cache = with(&[
        ("cache-control", "max-age=3600"),
        ("age", "30"),
        ("date", "0"),
    ]);
    cache.wait(3);
    assert_eq!(cache.get(&[]).header("age"), Some("33"));
}

#[test]
fn the_date_of_a_stored_response_stays_as_it_is() {
    let cache = with(&[("cache-control", "max-age=3600"), ("date", "-5")]);
    cache.wait(3);
    let expected = cache_lookup::date::format(NOW - 5);
    assert_eq!(cache.get(&[]).header("date"), Some(&*expected));
}

#[test]
fn a_cache_must_write_through_requests_with_unsafe_methods() {
    let cache = with(&[("cache-control", "max-age=3600")]);
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
        assert!(!cache.send(method, "/", &[]).is_hit(), "{method}");
    }
}

#[test]
fn other_targets_are_other_responses() {
    let cache = with(&[("cache-control", "max-age=3600")]);
    assert!(!cache.send("GET", "/?a", &[]).is_hit());
}

// Section 4.1: calculating cache keys with Vary.

#[test]
fn a_cache_must_not_use_a_response_whose_vary_fields_do_not_match() {
    let cache = cache("{}");
    let fields = [("cache-control", "max-age=3600"), ("vary", "Foo")];
    cache.origin([reply(200, &fields, "one"), reply(200, &fields, "two")]);
    assert_eq!(cache.get(&[("foo", "1")]).body(), "one");
    assert_eq!(cache.get(&[("foo", "2")]).body(), "two");
    let again = cache.get(&[("foo", "1"), ("other", "x")]);
    assert!(again.is_hit() && again.body() == "one", "both are kept");
    assert!(!cache.get(&[]).is_hit(), "absent is another value");
}

#[test]
fn vary_star_always_fails_to_match() {
    for vary in ["*", "*, *", ", *", "Foo, *"] {
        assert!(
            !is_reused(&[("cache-control", "max-age=3600"), ("vary", vary)]),
            "{vary}"
        );
    }
}

// Section 4.2: freshness.

#[test]
fn a_response_is_not_reused_once_its_age_reaches_its_lifetime() {
    let cache = with(&[("cache-control", "max-age=60")]);
    cache.wait(59);
    assert!(cache.get(&[]).is_hit());
    cache.wait(1);
    assert!(!cache.get(&[]).is_hit());
}

#[test]
fn an_age_greater_than_the_lifetime_makes_a_response_stale() {
    assert!(!is_reused(&[
        ("cache-control", "max-age=3600"),
        ("age", "7200"),
        ("date", "0")
    ]));
    assert!(!is_reused(&[
        ("expires", "10"),
        ("date", "-10"),
        ("age", "25")
    ]));
    assert!(!is_reused(&[
        ("expires", "20"),
        ("date", "10"),
        ("age", "15")
    ]));
}

#[test]
fn the_time_that_a_response_took_counts_as_age() {
    let cache = cache("{}");
    cache.slow(5);
    cache.origin([reply(
        200,
        &[("cache-control", "max-age=60"), ("age", "30")],
        "x",
    )]);
    cache.get(&[]);
    assert_eq!(cache.get(&[]).header("age"), Some("35"));
}

#[test]
fn expires_counts_with_a_date_that_cannot_be_read() {
    let cache = with(&[("date", "foo"), ("expires", "10")]);
    let again = cache.get(&[]);
    assert!(again.is_hit());
    let expected = cache_lookup::date::format(NOW);
    assert_eq!(again.header("date"), Some(&*expected), "it is repaired");
}

// Section 4.2.4: serving stale responses.

#[test]
fn a_stale_response_may_be_used_when_the_origin_fails() {
    let cache = with(&[("cache-control", "max-age=2")]);
    cache.wait(3);
    cache.origin([reply(503, &[], "down")]);
    let answer = cache.get(&[]);
    assert_eq!((answer.status(), answer.body()), (200, "stored".to_owned()));
    cache.wait(601);
    assert_eq!(cache.get(&[]).status(), 503, "not for ever");
}

#[test]
fn a_cache_must_not_use_a_stale_response_that_a_directive_prohibits() {
    for control in [
        "must-revalidate",
        "proxy-revalidate",
        "no-cache",
        "s-maxage=2",
    ] {
        let control = format!("max-age=2, {control}");
        let cache = with(&[("cache-control", &control), ("etag", "\"1\"")]);
        cache.wait(3);
        cache.origin([reply(503, &[], "down")]);
        assert_eq!(cache.get(&[]).status(), 503, "{control}");
    }
}

#[test]
fn stale_while_revalidate_is_a_window() {
    let cache = with(&[("cache-control", "max-age=1, stale-while-revalidate=4")]);
    cache.wait(4);
    let answer = cache.get(&[]);
    assert!(answer.is_hit() && answer.refresh);
    cache.wait(1);
    assert!(!cache.get(&[]).is_hit());
}

#[test]
fn stale_while_revalidate_counts_beside_s_maxage_and_not_beside_must_revalidate() {
    let used = |control: &str| {
        let cache = with(&[("cache-control", control)]);
        cache.wait(2);
        cache.get(&[]).is_hit()
    };
    assert!(used("s-maxage=1, stale-while-revalidate=60"));
    assert!(!used(
        "max-age=1, must-revalidate, stale-while-revalidate=60"
    ));
}

// Section 4.3: validation.

#[test]
fn a_stale_response_is_validated_with_its_validators() {
    let cache = with(&[
        ("cache-control", "max-age=1"),
        ("etag", "W/\"a\""),
        ("last-modified", "-60"),
    ]);
    cache.wait(2);
    let fields = [
        ("cache-control", "max-age=60"),
        ("etag", "W/\"a\""),
        ("x-new", "1"),
    ];
    cache.origin([reply(304, &fields, "")]);
    let answer = cache.get(&[("if-none-match", "\"other\"")]);
    assert_eq!(answer.sent("if-none-match"), Some("W/\"a\""));
    assert!(answer.sent("if-modified-since").is_some());
    assert_eq!((answer.status(), answer.body()), (200, "stored".to_owned()));
    assert_eq!(answer.header("x-new"), Some("1"));
    let again = cache.get(&[]);
    assert!(again.is_hit() && again.header("x-new") == Some("1"));
}

#[test]
fn a_304_with_another_strong_validator_must_not_update() {
    let cache = with(&[("cache-control", "max-age=1"), ("etag", "\"a\"")]);
    cache.wait(2);
    let fields = [
        ("cache-control", "max-age=60"),
        ("etag", "\"b\""),
        ("x-new", "1"),
    ];
    cache.origin([reply(304, &fields, ""), reply(200, &[], "new")]);
    assert_eq!(cache.get(&[]).header("x-new"), None);
    assert_eq!(cache.get(&[]).body(), "new", "and what was stored is gone");
}

#[test]
fn a_validation_that_names_more_fields_in_vary_drops_what_is_stored_without_them() {
    let stays = |old: &str, new: &str| {
        let fields = [
            ("cache-control", "max-age=1"),
            ("etag", "\"a\""),
            ("vary", old),
        ];
        let cache = with(&fields);
        cache.wait(2);
        let fields = [("cache-control", "max-age=60"), ("vary", new)];
        cache.origin([reply(304, &fields, ""), reply(200, &[], "new")]);
        assert_eq!(cache.get(&[]).body(), "stored");
        cache.get(&[]).is_hit()
    };
    assert!(stays("a, b", "B"));
    assert!(stays("a", ""));
    for new in ["a, c", "*", "c"] {
        assert!(!stays("a, b", new), "{new}");
    }
    assert!(!stays("", "a"));
}

#[test]
fn no_cache_must_be_validated_before_each_use() {
    let cache = with(&[("cache-control", "no-cache, max-age=60"), ("etag", "\"a\"")]);
    cache.origin([reply(304, &[("etag", "\"a\"")], "")]);
    let answer = cache.get(&[]);
    assert_eq!(answer.sent("if-none-match"), Some("\"a\""));
    assert_eq!(answer.body(), "stored");
}

#[test]
fn a_client_that_has_the_validated_response_gets_304() {
    let cache = with(&[
        ("cache-control", "max-age=1"),
        ("last-modified", "-60"),
        ("date", "0"),
    ]);
    cache.wait(2);
    cache.origin([reply(304, &[("cache-control", "max-age=60")], "")]);
    let since = cache_lookup::date::format(NOW - 60);
    assert_eq!(cache.get(&[("if-modified-since", &since)]).status(), 304);
}

#[test]
fn without_anything_stored_a_condition_is_the_origins() {
    let cache = cache("{}");
    cache.origin([reply(
        304,
        &[("etag", "\"a\""), ("cache-control", "max-age=60")],
        "",
    )]);
    let answer = cache.get(&[("if-none-match", "\"a\"")]);
    assert_eq!(answer.sent("if-none-match"), Some("\"a\""));
    assert_eq!(answer.status(), 304);
    assert!(
        !cache.get(&[]).is_hit(),
        "a 304 is never stored as a response"
    );
}

// Section 4.3.5: freshening responses with HEAD.

#[test]
fn a_head_that_agrees_updates_and_one_that_does_not_drops_the_stored_response() {
    let after = |fields: &[(&str, &str)]| {
        let cache = with(&[
            ("cache-control", "max-age=1"),
            ("etag", "\"a\""),
            ("x", "1"),
        ]);
        cache.wait(2);
        cache.origin([reply(200, fields, "")]);
        let head = cache.send("HEAD", "/", &[]);
        assert_eq!(head.sent(":method"), Some("HEAD"));
        cache.origin([reply(200, &[], "new")]);
        cache.get(&[])
    };
    let fields = [
        ("cache-control", "max-age=60"),
        ("etag", "\"a\""),
        ("x", "2"),
        ("content-length", "6"),
    ];
    let answer = after(&fields);
    assert!(answer.is_hit() && answer.header("x") == Some("2") && answer.body() == "stored");
    for other in [("etag", "\"b\""), ("content-length", "7")] {
        let answer = after(&[("cache-control", "max-age=60"), other]);
        assert_eq!(answer.body(), "new", "{other:?}");
    }
}

#[test]
fn head_is_answered_from_a_get() {
    let cache = with(&[("cache-control", "max-age=60")]);
    assert!(cache.send("HEAD", "/", &[]).is_hit());
}

// Section 4.4: invalidating stored responses.

#[test]
fn a_successful_unsafe_request_invalidates_and_a_failed_one_does_not() {
    for method in ["POST", "PUT", "DELETE", "M-SEARCH"] {
        for (status, is_hit) in [(200, false), (303, false), (404, true), (500, true)] {
            let cache = with(&[("cache-control", "max-age=60")]);
            cache.origin([reply(status, &[], "")]);
            cache.send(method, "/", &[]);
            assert_eq!(cache.get(&[]).is_hit(), is_hit, "{method} {status}");
        }
    }
}

// Section 3.3 and 3.4: partial responses.

fn part(range: &str, body: &str, more: &[(&str, &str)]) -> Message {
    let mut fields = vec![("cache-control", "max-age=60"), ("content-range", range)];
    fields.extend_from_slice(more);
    reply(206, &fields, body)
}

#[test]
fn a_part_answers_ranges_within_it_only() {
    let cache = cache("{}");
    cache.origin([part("bytes 4-9/10", "456789", &[]), reply(200, &[], "new")]);
    cache.get(&[("range", "bytes=4-")]);
    let answer = cache.get(&[("range", "bytes=6-8")]);
    assert!(answer.is_hit());
    assert_eq!((answer.status(), answer.body()), (206, "678".to_owned()));
    assert_eq!(answer.header("content-range"), Some("bytes 6-8/10"));
    assert!(!cache.get(&[("range", "bytes=3-5")]).is_hit());
    assert!(!cache.get(&[]).is_hit(), "nor a request for the whole");
}

#[test]
fn parts_are_combined_only_with_the_same_strong_validator() {
    let complete = |first: &str, second: &str| {
        let cache = cache("{}");
        let tag = |tag| [("etag", tag)];
        cache.origin([
            part("bytes 0-4/10", "01234", &tag(first)),
            part("bytes 5-9/10", "56789", &tag(second)),
        ]);
        cache.get(&[("range", "bytes=0-4")]);
        cache.get(&[])
    };
    let whole = complete("\"a\"", "\"a\"");
    assert_eq!(whole.sent("range"), Some("bytes=5-"));
    assert_eq!(whole.sent("if-range"), Some("\"a\""));
    assert_eq!(
        (whole.status(), whole.body()),
        (200, "0123456789".to_owned())
    );
    assert_eq!(complete("\"a\"", "\"b\"").status(), 502);
    assert_eq!(complete("W/\"a\"", "W/\"a\"").sent("range"), None);
}

#[test]
fn a_206_or_a_head_never_overwrites_a_whole_response() {
    let cache = with(&[("cache-control", "max-age=1"), ("etag", "\"a\"")]);
    cache.wait(2);
    cache.origin([part("bytes 0-0/6", "s", &[("etag", "\"a\"")])]);
    assert_eq!(cache.get(&[("range", "bytes=0-0")]).status(), 206);
    cache.origin([reply(
        304,
        &[("cache-control", "max-age=60"), ("etag", "\"a\"")],
        "",
    )]);
    assert_eq!(cache.get(&[]).body(), "stored");
}

#[test]
fn a_206_that_has_all_bytes_is_a_200() {
    let cache = cache("{}");
    cache.origin([part("bytes 0-9/10", "0123456789", &[])]);
    cache.get(&[("range", "bytes=0-")]);
    let answer = cache.get(&[]);
    assert!(answer.is_hit());
    assert_eq!(
        (answer.status(), answer.header("content-range")),
        (200, None)
    );
}

// Section 5.2.1: request directives.

#[test]
fn only_if_cached_gets_504_without_a_stored_response() {
    let cache = cache("{}");
    let answer = cache.get(&[("cache-control", "only-if-cached")]);
    assert_eq!((answer.status(), answer.is_hit()), (504, true));
}

#[test]
fn clients_can_ask_for_validated_young_or_long_fresh_responses() {
    for control in ["no-cache", "max-age=0", "min-fresh=4000"] {
        let cache = with(&[("cache-control", "max-age=3600")]);
        cache.wait(1);
        assert!(
            !cache.get(&[("cache-control", control)]).is_hit(),
            "{control}"
        );
    }
    let cache = with(&[("cache-control", "max-age=1")]);
    cache.wait(2);
    assert!(cache.get(&[("cache-control", "max-stale=10")]).is_hit());
}

#[test]
fn clients_directives_can_be_ignored() {
    let cache = cache(r#"{"request_directives": "ignore"}"#);
    cache.origin([reply(200, &[("cache-control", "max-age=60")], "x")]);
    cache.get(&[]);
    for control in ["no-cache", "max-age=0", "no-store"] {
        assert!(
            cache.get(&[("cache-control", control)]).is_hit(),
            "{control}"
        );
    }
}

// What the configuration adds.

#[test]
fn errors_are_cached_as_long_as_their_status_says() {
    let cache = cache(
        r#"{"ttl": {"status": [{"from": 404, "ttl": "10s"}, {"from": 500, "to": 599, "ttl": "1s"}]}}"#,
    );
    cache.origin([reply(404, &[], "no"), reply(200, &[], "new")]);
    cache.get(&[]);
    cache.wait(9);
    assert_eq!(cache.get(&[]).status(), 404);
    cache.wait(1);
    assert_eq!(cache.get(&[]).status(), 200);
}

#[test]
fn a_default_an_override_and_a_limit_of_freshness() {
    let left = |ttl: &str, fields: &[(&str, &str)]| {
        let cache = cache(&format!(r#"{{"ttl": {ttl}}}"#));
        cache.origin([reply(200, fields, "x")]);
        cache.get(&[]);
        (0..1_000)
            .take_while(|_| {
                let hit = cache.get(&[]).is_hit();
                cache.wait(1);
                hit
            })
            .count()
    };
    assert_eq!(left(r#"{"default": "5s"}"#, &[]), 5);
    assert_eq!(
        left(r#"{"default": "5s"}"#, &[("cache-control", "max-age=2")]),
        2
    );
    let fields = [("cache-control", "max-age=2"), ("age", "100")];
    assert_eq!(left(r#"{"override": "5s"}"#, &fields), 5, "from now on");
    assert_eq!(
        left(r#"{"max": "3s"}"#, &[("cache-control", "max-age=20")]),
        3
    );
}

#[test]
fn a_rule_can_force_what_the_origin_forbids() {
    let json = r#"{"rules": [{"name": "a", "force": true, "ttl": {"override": "1m"}}]}"#;
    let cache = cache(json);
    cache.origin([reply(
        200,
        &[("cache-control", "no-store, private, no-cache")],
        "x",
    )]);
    cache.get(&[("authorization", "FOO")]);
    assert!(cache.get(&[]).is_hit());
}

#[test]
fn a_rule_can_be_about_types_of_content_and_can_bypass() {
    let json = r#"{"rules": [
        {"name": "off", "match": {"paths": [{"exact": "/off"}]}, "bypass": true},
        {"name": "images", "content_types": ["image/*"]}]}"#;
    let hit = |path: &str, kind: &str| {
        let cache = cache(json);
        let fields = [("cache-control", "max-age=60"), ("content-type", kind)];
        cache.origin([reply(200, &fields, "x")]);
        cache.send("GET", path, &[]);
        cache.send("GET", path, &[]).is_hit()
    };
    assert!(hit("/", "Image/PNG; x=1"));
    assert!(!hit("/", "text/html"));
    assert!(!hit("/off", "image/png"));
}

#[test]
fn cookies_are_stored_stripped_or_refused_as_configured() {
    let again = |policy: &str, fields: &[(&str, &str)]| {
        let cache = cache(&format!(r#"{{"set_cookie": "{policy}"}}"#));
        cache.origin([reply(200, fields, "x")]);
        cache.get(&[]);
        let again = cache.get(&[]);
        again
            .is_hit()
            .then(|| again.header("set-cookie").map(str::to_owned))
    };
    let explicit = [("cache-control", "max-age=60"), ("set-cookie", "a=b")];
    let heuristic = [("last-modified", "-86400"), ("set-cookie", "a=b")];
    assert_eq!(
        again("store_explicit", &explicit),
        Some(Some("a=b".to_owned()))
    );
    assert_eq!(again("store_explicit", &heuristic), None);
    assert_eq!(again("strip", &explicit), Some(None));
    assert_eq!(again("refuse", &explicit), None);
}

// Bad input.

#[test]
fn two_content_lengths_or_one_that_is_not_the_bodys_are_not_stored() {
    for lengths in [&["6", "7"][..], &["x"], &["7"], &["5"]] {
        let mut fields = vec![("cache-control", "max-age=60")];
        fields.extend(lengths.iter().map(|length| ("content-length", *length)));
        assert!(!is_reused(&fields), "{lengths:?}");
    }
    assert!(is_reused(&[
        ("cache-control", "max-age=60"),
        ("content-length", "6")
    ]));
}

#[test]
fn an_age_of_2_to_the_70_is_stale() {
    let age = "1180591620717411303424";
    assert!(!is_reused(&[
        ("cache-control", "max-age=3600"),
        ("age", age)
    ]));
}

#[test]
fn a_vary_of_1_kb_is_not_stored() {
    let names: Vec<_> = (0..100).map(|number| format!("x-field-{number}")).collect();
    let vary = names.join(", ");
    assert!(vary.len() > 1_024);
    assert!(!is_reused(&[
        ("cache-control", "max-age=60"),
        ("vary", &vary)
    ]));
}

#[test]
fn a_thousand_headers_are_not_stored() {
    let names: Vec<_> = (0..1_000).map(|number| format!("x-{number}")).collect();
    let mut fields = vec![("cache-control", "max-age=60")];
    fields.extend(names.iter().map(|name| (&**name, "1")));
    assert!(!is_reused(&fields));
}

#[test]
fn line_ends_in_a_value_are_not_stored() {
    assert!(!is_reused(&[
        ("cache-control", "max-age=60"),
        ("x", "a\r\nset-cookie: b=c")
    ]));
}

#[test]
fn errors_redirects_and_reflections_of_unkeyed_headers_are_not_stored() {
    let stored = |status, more: (&str, &str), request: (&str, &str)| {
        let cache = cache("{}");
        cache.origin([reply(status, &[("cache-control", "max-age=60"), more], "x")]);
        cache.get(&[request]);
        cache.get(&[]).is_hit()
    };
    let evil = ("x-forwarded-host", "evil.example");
    assert!(!stored(404, ("a", "b"), evil));
    assert!(!stored(302, ("location", "/"), evil));
    assert!(!stored(200, ("link", "<https://evil.example/a.js>"), evil));
    assert!(stored(200, ("a", "b"), evil));
    assert!(stored(404, ("a", "b"), ("x-other", "evil.example")));
    // In the key by `Vary`: nobody else gets it, so that nobody is poisoned.
    assert!(!stored(404, ("vary", "x-forwarded-host"), evil));
}

#[test]
fn grpc_and_upgrades_are_left_alone() {
    let cache = with(&[("cache-control", "max-age=60")]);
    assert!(
        !cache
            .get(&[("content-type", "application/grpc+proto")])
            .is_hit()
    );
    assert!(!cache.get(&[("upgrade", "websocket")]).is_hit());
}

#[test]
fn a_get_with_a_body_is_left_alone() {
    let policy = Policy::new(config("{}"));
    let rule = policy.rule(0).expect("a rule");
    let request = block([(":method", "GET"), (":path", "/")]);
    let seen = Seen::of(Headers::decode(&request));
    assert_eq!(policy.start(rule, &seen, true), Start::Bypass);
    assert_eq!(policy.start(rule, &seen, false), Start::Lookup);
}
