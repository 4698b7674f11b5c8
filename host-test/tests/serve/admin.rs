//! The admin listener.

use crate::gateway::{Running, Setup};
use crate::upstream::Upstream;

const ADMIN: &str = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}";

/// Defines two metrics and increments the first for each request.
const COUNTING: &str = r#"
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $define_metric (i32.const 0) str("hits_total_rule=login_outcome=deny") (i32.const 0)))
      (drop (call $define_metric (i32.const 1) str("level") (i32.const 0)))
      (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $increment (i32.const 4) (i64.const 1)))
      (i32.const 0))"#;

fn value(gateway: &Running, name: &str) -> Option<u64> {
    let stats = gateway.admin("/stats").body;
    stats.lines().find_map(|line| {
        let (known, value) = line.split_once(": ")?;
        (known == name).then(|| value.parse().expect("a number"))
    })
}

#[test]
fn ready_says_live() {
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}")
        .top(ADMIN)
        .start();
    let response = gateway.admin("/ready");
    assert_eq!((response.status, response.body.as_str()), (200, "LIVE\n"));
}

#[test]
fn an_unknown_page_lists_what_there_is() {
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}")
        .top(ADMIN)
        .start();
    let response = gateway.admin("/nowhere");
    assert_eq!(response.status, 404);
    for page in ["/ready", "/stats", "/stats/prometheus"] {
        assert!(
            response.body.contains(&format!("\n  {page}: ")),
            "{}",
            response.body
        );
    }
}

#[test]
fn stats_count_over_all_workers() {
    let upstream = Upstream::answering("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n");
    let gateway = Setup::routes(
        "{match: {prefix: /up}, route: {cluster: up}}, \
         {match: {prefix: /direct}, direct_response: {status: 200}}",
    )
    .cluster("up", &[upstream.address])
    .top(ADMIN)
    .start();
    // Two connections, so two workers.
    for _ in 0..2 {
        let mut client = gateway.connect();
        for path in ["/up", "/up", "/direct", "/nowhere"] {
            client.get(path, "");
        }
    }
    for (name, expected) in [
        ("http.in.downstream_rq_total", 8),
        ("http.in.downstream_rq_completed", 8),
        ("http.in.downstream_rq_2xx", 6),
        ("http.in.downstream_rq_4xx", 2),
        ("http.in.downstream_rq_active", 0),
        ("http.in.downstream_cx_total", 2),
        ("http.in.no_route", 2),
        ("http.in.rq_direct_response", 2),
        ("cluster.up.upstream_rq_total", 4),
        ("cluster.up.upstream_rq_201", 4),
        ("cluster.up.upstream_rq_2xx", 4),
        ("cluster.up.upstream_rq_active", 0),
        ("cluster.up.upstream_cx_total", 2),
    ] {
        assert_eq!(value(&gateway, name), Some(expected), "{name}");
    }
}

#[test]
fn metrics_of_plugins_are_shown_with_their_tags() {
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}")
        .guest("count", COUNTING, "")
        .top(ADMIN)
        .top(
            "stats_config: {stats_tags: [\
             {tag_name: rule, regex: '(_rule=([a-z0-9-]+))'}, \
             {tag_name: outcome, regex: '(_outcome=([a-z]+))'}]}",
        )
        .start();
    for _ in 0..3 {
        gateway.get("/");
    }
    let name = "wasmcustom.hits_total_rule=login_outcome=deny";
    assert_eq!(value(&gateway, name), Some(3));
    assert_eq!(value(&gateway, "wasmcustom.level"), Some(0));
    let exposition = gateway.admin("/stats/prometheus").body;
    for line in [
        "# TYPE hits_total counter",
        "hits_total{rule=\"login\",outcome=\"deny\"} 3",
        "# TYPE level gauge",
        "envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix=\"in\"} 3",
    ] {
        assert!(
            exposition.lines().any(|l| l == line),
            "{line}\nin\n{exposition}"
        );
    }
    let filtered = gateway.admin("/stats?filter=%5Ewasmcustom").body;
    assert_eq!(filtered.lines().count(), 2, "{filtered}");
}
