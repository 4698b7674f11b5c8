//! cache-lookup as a module: its shell, its hostcalls, its state over workers.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use host_test::abi::Status;
use host_test::fault::Fault;
use host_test::headers::Headers;
use host_test::host::{Answer, Host, HostBuilder};
use host_test::module::Module;
use host_test::plugin::Plugin;

use crate::module::plugin;

/// A host whose upstream counts what reaches it and answers with these headers.
fn host(
    config: &str,
    headers: &[(&'static str, &'static str)],
    trailers: &[(&'static str, &'static str)],
) -> (HostBuilder, Rc<Cell<u32>>) {
    let count = Rc::new(Cell::new(0));
    let seen = Rc::clone(&count);
    let (headers, trailers) = (headers.to_vec(), trailers.to_vec());
    let host = Host::builder()
        .plugin(plugin("cache_lookup").config_json(config))
        .upstream(move |_| {
            seen.set(seen.get() + 1);
            let all = [(":status", "200")].into_iter().chain(headers.clone());
            Answer::Respond {
                headers: all.collect::<Headers>(),
                chunks: vec!["first ".into(), "second".into()],
                trailers: trailers.iter().copied().collect(),
            }
        });
    (host, count)
}

#[test]
fn a_hit_stays_within_its_hostcall_budget() {
    let (host, _) = host("{}", &[("cache-control", "max-age=60")], &[]);
    let host = host.build().expect("the filter starts");
    // The third one finds it in the worker's memory.
    let replies: Vec<_> = (0..4).map(|_| host.get("/").send()).collect();
    let budget: BTreeMap<&str, u64> = [
        ("proxy_get_header_map_pairs", 1),
        ("proxy_get_current_time_nanoseconds", 1),
        ("proxy_get_metric", 1),
        ("proxy_increment_metric", 2),
        ("proxy_set_property", 1),
        ("proxy_send_local_response", 1),
    ]
    .into();
    assert_eq!(replies[3].hostcalls(), budget);
    assert_eq!(replies[3].details(), "cache_hit");
    assert_eq!(replies[3].body(), b"first second");
}

#[test]
fn a_miss_that_is_stored_stays_within_its_hostcall_budget() {
    let (host, count) = host("{}", &[("cache-control", "max-age=60")], &[]);
    let host = host.build().expect("the filter starts");
    // The first one takes room in the store for those after it.
    host.get("/first").send();
    let reply = host.get("/second").send();
    let budget: BTreeMap<&str, u64> = [
        ("proxy_get_header_map_pairs", 2),
        ("proxy_get_current_time_nanoseconds", 3),
        ("proxy_get_metric", 1),
        ("proxy_get_shared_data", 5),
        ("proxy_set_shared_data", 4),
        ("proxy_add_header_map_value", 1),
        ("proxy_get_buffer_bytes", 2),
        ("proxy_increment_metric", 2),
        ("proxy_set_property", 1),
    ]
    .into();
    assert_eq!(reply.hostcalls(), budget);
    assert_eq!(count.get(), 2);
}

#[test]
fn a_miss_that_is_not_stored_stays_within_its_hostcall_budget() {
    let (host, _) = host("{}", &[("cache-control", "no-store")], &[]);
    let host = host.build().expect("the filter starts");
    let replies = [(); 2].map(|()| host.get("/").send());
    let shared = |at: usize| {
        let calls = replies[at].hostcalls();
        let of = |name| calls.get(name).copied().unwrap_or(0);
        (of("proxy_get_shared_data"), of("proxy_set_shared_data"))
    };
    assert_eq!(shared(0), (4, 2), "the board, a look, and the lease twice");
    assert_eq!(shared(1), (2, 0), "nobody waits for what isn't stored");
}

/// A host whose upstream answers with a hundred kilobytes.
fn host_of_long_bodies(config: &str) -> (HostBuilder, Vec<u8>) {
    let body: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let sent = body.clone();
    let host = Host::builder()
        .plugin(plugin("cache_lookup").config_json(config))
        .upstream(move |_| Answer::Respond {
            headers: [(":status", "200"), ("cache-control", "max-age=60")]
                .into_iter()
                .collect(),
            chunks: vec![sent.clone().into()],
            trailers: Headers::new(),
        });
    (host, body)
}

#[test]
fn a_long_body_comes_whole_from_the_store_with_its_length() {
    let (host, body) = host_of_long_bodies("{}");
    let host = host.build().expect("starts");
    host.get("/").send();
    let hit = host.get("/").send();
    assert_eq!(hit.details(), "cache_hit");
    assert_eq!(hit.hostcalls().get("proxy_set_buffer_bytes"), Some(&1));
    assert_eq!(hit.header("content-length").as_deref(), Some("100000"));
    assert!(hit.body() == body && hit.is_complete());
    let part = host.get("/").header("range", "bytes=10-59999").send();
    assert_eq!(part.status(), Some(206));
    assert_eq!(part.header("content-length").as_deref(), Some("59990"));
    assert!(part.body() == &body[10..60_000]);
    let head = host.request("HEAD", "/").send();
    assert_eq!(head.details(), "cache_hit");
    assert_eq!(head.header("content-length").as_deref(), Some("100000"));
    assert_eq!(head.body(), b"");
    for reply in [hit, part, head] {
        assert_eq!(reply.violations(), [""; 0]);
    }
}

#[test]
fn a_long_body_can_be_had_as_a_part_of_the_reply() {
    let (host, body) = host_of_long_bodies(r#"{"late_bodies": false}"#);
    let host = host.build().expect("starts");
    host.get("/").send();
    let hit = host.get("/").send();
    assert_eq!(hit.details(), "cache_hit");
    assert!(!hit.hostcalls().contains_key("proxy_set_buffer_bytes"));
    assert_eq!(hit.header("content-length").as_deref(), Some("100000"));
    assert!(hit.body() == body && hit.is_complete());
}

#[test]
fn another_filters_answer_in_place_of_a_hit_gets_nothing_of_the_stored_body() {
    let guest = wat::parse_str(include_str!("../guests/takes-over.wat")).expect("valid WAT");
    let guest = Module::from_bytes("takes-over".as_ref(), &guest).expect("a module");
    // Nearer to the client: it answers when it sees the hit pass.
    let host = Host::builder()
        .plugin(Plugin::new(guest.into()))
        .plugin(plugin("cache_lookup").config_json("{}"))
        .upstream(|_| Answer::Respond {
            headers: [(":status", "200"), ("cache-control", "max-age=60")]
                .into_iter()
                .collect(),
            chunks: vec![vec![b'x'; 100_000].into()],
            trailers: Headers::new(),
        })
        .build()
        .expect("starts");
    for _ in 0..3 {
        let reply = host.get("/").send();
        assert_eq!(reply.status(), Some(403));
        assert_eq!(reply.body(), b"mine");
        assert_eq!(reply.header("content-length").as_deref(), Some("4"));
    }
}

#[test]
fn a_host_that_keeps_no_counters_is_asked_for_changes_at_each_request() {
    let (host, count) = host("{}", &[("cache-control", "max-age=60")], &[]);
    let fault = Fault::answer("proxy_get_metric", Status::NotFound).expect("a hostcall");
    let host = host.workers(2).fault(fault).build().expect("starts");
    for worker in [0, 1, 1, 1] {
        host.get("/").worker(worker).send();
    }
    host.post("/").worker(0).body("x").send();
    host.get("/").worker(1).send();
    assert_eq!(count.get(), 3, "a GET, the POST, and a GET after it");
}

#[test]
fn a_request_that_is_left_alone_touches_no_shared_data() {
    let config = r#"{"rules": [{"name": "off", "bypass": true}]}"#;
    let (host, count) = host(config, &[("cache-control", "max-age=60")], &[]);
    let host = host.build().expect("starts");
    let reply = host.get("/").send();
    assert!(!reply.hostcalls().contains_key("proxy_get_shared_data"));
    host.get("/").send();
    assert_eq!(count.get(), 2);
}

#[test]
fn what_one_worker_stored_another_one_answers_with() {
    let (host, count) = host("{}", &[("cache-control", "max-age=60")], &[]);
    let host = host.workers(3).build().expect("starts");
    for worker in [0, 1, 2, 0, 1, 2] {
        let reply = host.get("/").worker(worker).send();
        assert_eq!(reply.body(), b"first second", "worker {worker}");
    }
    assert_eq!(count.get(), 1);
}

#[test]
fn a_write_on_one_worker_is_seen_by_all() {
    let (host, count) = host("{}", &[("cache-control", "max-age=60")], &[]);
    let host = host.workers(2).build().expect("starts");
    for worker in [0, 1, 1, 1] {
        host.get("/").worker(worker).send();
    }
    host.post("/").worker(0).body("x").send();
    assert_eq!(count.get(), 2, "one GET and the POST");
    host.get("/").worker(1).send();
    assert_eq!(count.get(), 3);
}

#[test]
fn a_response_with_trailers_is_not_stored() {
    let headers = [("cache-control", "max-age=60")];
    let (host, count) = host("{}", &headers, &[("x-sum", "1")]);
    let host = host.build().expect("starts");
    host.get("/").send();
    host.get("/").send();
    assert_eq!(count.get(), 2);
}

#[test]
fn a_response_that_breaks_off_is_not_stored() {
    let count = Rc::new(Cell::new(0));
    let seen = Rc::clone(&count);
    let host = Host::builder()
        .plugin(plugin("cache_lookup").config_json("{}"))
        .upstream(move |_| {
            seen.set(seen.get() + 1);
            let fields = [(":status", "200"), ("cache-control", "max-age=60")];
            match seen.get() {
                1 => Answer::Break {
                    headers: fields.into_iter().collect(),
                    chunks: vec!["half".into()],
                },
                _ => Answer::Respond {
                    headers: fields.into_iter().collect(),
                    chunks: vec!["whole".into()],
                    trailers: Headers::new(),
                },
            }
        })
        .build()
        .expect("starts");
    assert!(!host.get("/").send().is_complete());
    assert_eq!(host.get("/").send().body(), b"whole");
    assert_eq!(host.get("/").send().body(), b"whole");
    assert_eq!(count.get(), 2);
}

#[test]
fn a_response_longer_than_may_be_stored_passes_whole() {
    let config = r#"{"store": {"max_object_bytes": 8}}"#;
    let (host, count) = host(config, &[("cache-control", "max-age=60")], &[]);
    let host = host.build().expect("starts");
    for _ in 0..2 {
        assert_eq!(host.get("/").send().body(), b"first second");
    }
    assert_eq!(count.get(), 2);
}

#[test]
fn a_host_that_refuses_shared_data_is_a_gateway_without_a_cache() {
    let (host, count) = host("{}", &[("cache-control", "max-age=60")], &[]);
    let host = host.build().expect("starts");
    let fault = Fault::answer("proxy_get_shared_data", Status::InternalFailure);
    host.fault(fault.expect("a hostcall"));
    for _ in 0..2 {
        assert_eq!(host.get("/").send().status(), Some(200));
    }
    assert_eq!(count.get(), 2);
    assert!(host.metrics()["cache_lookup_store_errors_total"] > 0);
}

#[test]
fn a_request_with_a_key_of_64_kib_passes_and_leaves_nothing() {
    let (host, count) = host("{}", &[("cache-control", "max-age=60")], &[]);
    let host = host.build().expect("starts");
    let before = host.shared_entries("");
    assert!(!before.is_empty());
    let path = format!("/{}", "x".repeat(64 * 1024));
    for _ in 0..2 {
        let reply = host.get(&path).send();
        assert_eq!(reply.body(), b"first second");
        assert_eq!(
            reply.filter_state()["wasm.cache_lookup_decision"],
            b"bypass"
        );
    }
    assert_eq!(count.get(), 2);
    assert_eq!(host.shared_entries("").len(), before.len());
}
