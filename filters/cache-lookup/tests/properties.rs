//! The cache against the plain text of RFC 9111 on messages that nobody would write by hand.

mod common;

use common::{cache, reply};
use proptest::prelude::*;

/// What section 4.2.1 says, word by word, for these few directives.
fn lifetime(s_maxage: Option<u64>, max_age: Option<u64>, expires: Option<i64>) -> u64 {
    match (s_maxage, max_age, expires) {
        (Some(seconds), ..) | (None, Some(seconds), _) => seconds,
        (None, None, Some(offset)) => u64::try_from(offset).unwrap_or(0),
        (None, None, None) => 0,
    }
}

proptest! {
    #[test]
    fn a_response_is_reused_exactly_while_its_age_is_less_than_its_lifetime(
        s_maxage in prop::option::of(0_u64..100),
        max_age in prop::option::of(0_u64..100),
        expires in prop::option::of(-50_i64..100),
        age in prop::option::of(0_u64..100),
        slow in 0_u64..5,
        wait in 0_u64..100,
    ) {
        let cache = cache(r#"{"stale": {"if_error": "0s"}}"#);
        cache.slow(slow);
        let texts = [
            s_maxage.map(|seconds| ("cache-control", format!("s-maxage={seconds}"))),
            max_age.map(|seconds| ("cache-control", format!("max-age={seconds}"))),
            expires.map(|offset| ("expires", offset.to_string())),
            age.map(|seconds| ("age", seconds.to_string())),
            Some(("date", "0".to_owned())),
        ];
        let fields: Vec<_> = texts.iter().flatten().map(|(n, v)| (*n, &**v)).collect();
        cache.origin([reply(200, &fields, "x")]);
        cache.get(&[]);
        cache.wait(wait);
        // The response took `slow` seconds, and its date is that of the request.
        let old = age.unwrap_or(0) + slow + wait;
        let expected = lifetime(s_maxage, max_age, expires) > old;
        prop_assert_eq!(cache.get(&[]).is_hit(), expected);
    }

    #[test]
    fn a_range_is_what_it_is_of_the_whole_body(
        body in "[a-z]{0,40}",
        first in 0_usize..50,
        last in prop::option::of(0_usize..50),
    ) {
        let cache = cache("{}");
        cache.origin([reply(200, &[("cache-control", "max-age=60")], &body)]);
        cache.get(&[]);
        let range = format!("bytes={first}-{}", last.map_or(String::new(), |last| last.to_string()));
        let answer = cache.get(&[("range", &range)]);
        prop_assert!(answer.is_hit());
        let is_valid = last.is_none_or(|last| last >= first);
        let (status, expected) = match body.get(first..) {
            _ if !is_valid => (200, &*body),
            Some(rest) if !rest.is_empty() => {
                let end = last.map_or(body.len(), |last| (last + 1).min(body.len()));
                (206, &body[first..end])
            }
            _ => (416, ""),
        };
        prop_assert_eq!((answer.status(), answer.body()), (status, expected.to_owned()));
    }

    #[test]
    fn no_message_whatever_breaks_the_cache(
        fields in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "cache-control", "age", "date", "expires", "etag", "last-modified", "vary",
                    "content-range", "content-length", "no-vary-search", "cdn-cache-control",
                    "cache-groups", "connection", "set-cookie", "content-language",
                ]),
                "[ -~]{0,30}",
            ),
            0..8,
        ),
        asked in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "cache-control", "range", "if-range", "if-none-match", "if-modified-since",
                    "accept-language", "accept-encoding", "cookie",
                ]),
                "[ -~]{0,30}",
            ),
            0..5,
        ),
        status in 200_u16..600,
        wait in 0_u64..10_000,
    ) {
        let cache = cache("{}");
        let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, &**v)).collect();
        let asked: Vec<_> = asked.iter().map(|(n, v)| (*n, &**v)).collect();
        cache.origin([reply(status, &fields, "0123456789"), reply(304, &fields, "")]);
        cache.get(&asked);
        cache.wait(wait);
        cache.get(&asked);
        cache.send("HEAD", "/", &asked);
        cache.send("POST", "/", &asked);
        cache.get(&[]);
    }

    #[test]
    fn another_path_or_variant_is_never_answered(
        paths in (0_u8..3, 0_u8..3),
        foos in (0_u8..3, 0_u8..3),
    ) {
        let cache = cache("{}");
        let fields = [("cache-control", "max-age=60"), ("vary", "foo")];
        cache.origin([reply(200, &fields, "first"), reply(200, &fields, "second")]);
        let send = |path: u8, foo: u8| {
            let target = format!("/{path}");
            cache.send("GET", &target, &[("foo", &foo.to_string())])
        };
        send(paths.0, foos.0);
        let same = (paths.0, foos.0) == (paths.1, foos.1);
        let answer = send(paths.1, foos.1);
        prop_assert_eq!(answer.is_hit(), same);
        prop_assert_eq!(answer.body() == "first", same);
    }
}
