//! Which host a request goes to, and what happens when that host doesn't answer.

use std::net::SocketAddr;

use crate::gateway::{Running, Setup};
use crate::ports::unused_address;
use crate::upstream::{Upstream, header};

const OVERRIDE: &str = r#"load_balancing_policy: {policies: [{typed_extension_config: {name: oh, typed_config: {"@type": type.googleapis.com/envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost, override_host_sources: [{header: x-up}], fallback_policy: {policies: [{typed_extension_config: {name: rr, typed_config: {"@type": type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin}}}]}}}}]}"#;

const STRIP: &str = r#"typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http_protocol_options: {}}, http_filters: [{name: m, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation, mutations: {request_mutations: [{remove: x-up}]}}}, {name: c, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}}]}}"#;

/// Answers with a name and the request's head.
fn named(name: &'static str) -> Upstream {
    Upstream::new(move |mut connection| {
        while let Some(head) = connection.head() {
            connection.body(&head);
            let body = format!("{name}\n{head}");
            let length = body.len();
            connection.send(&format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
            ));
        }
    })
}

fn cluster(name: &str, fields: &str, addresses: &[SocketAddr]) -> String {
    let endpoint = |address: &SocketAddr| {
        format!(
            "{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}",
            address.ip(),
            address.port()
        )
    };
    let endpoints: Vec<String> = addresses.iter().map(endpoint).collect();
    format!(
        "{{name: {name}, {fields}, load_assignment: {{cluster_name: {name}, \
         endpoints: [{{lb_endpoints: [{}]}}]}}}}",
        endpoints.join(", ")
    )
}

fn who(gateway: &Running, path: &str, headers: &str) -> String {
    let response = gateway.connect().get(path, headers);
    response.body.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_header_of_override_host_chooses_the_host_and_stays_behind() {
    let (one, two) = (named("one"), named("two"));
    let fields = format!("{OVERRIDE}, {STRIP}");
    let gateway = Setup::routes("{match: {prefix: /}, route: {cluster: up}}")
        .raw_cluster(&cluster("up", &fields, &[one.address, two.address]))
        .start();
    for (upstream, name) in [(&one, "one"), (&two, "two"), (&one, "one")] {
        let headers = format!("x-up: 192.0.2.1:1,{}\r\n", upstream.address);
        let response = gateway.connect().get("/", &headers);
        assert!(response.body.starts_with(name), "{}", response.body);
        assert_eq!(header(&response.body, "x-up"), None);
    }
    assert_eq!(gateway.get("/").status, 200, "the fallback policy");
}

#[test]
fn a_retry_goes_on_in_the_list() {
    let one = named("one");
    let dead = unused_address();
    let gateway = Setup::routes(
        "{match: {prefix: /}, route: {cluster: up, \
          retry_policy: {retry_on: connect-failure, num_retries: 2}}}",
    )
    .raw_cluster(&cluster("up", OVERRIDE, &[dead, one.address]))
    .start();
    let headers = format!("x-up: {dead},{}\r\n", one.address);
    for _ in 0..4 {
        assert_eq!(who(&gateway, "/", &headers), "one");
    }
}

#[test]
fn equal_keys_meet_the_same_host_by_ring_and_by_maglev() {
    let hosts = [named("a"), named("b"), named("c")];
    let addresses: Vec<SocketAddr> = hosts.iter().map(|host| host.address).collect();
    for policy in ["RING_HASH", "MAGLEV"] {
        let gateway = Setup::routes(
            "{match: {prefix: /}, route: {cluster: up, \
              hash_policy: [{header: {header_name: x-k}}]}}",
        )
        .raw_cluster(&cluster("up", &format!("lb_policy: {policy}"), &addresses))
        .start();
        let mut met = Vec::new();
        for key in 0..12 {
            let headers = format!("x-k: {key}\r\n");
            let first = who(&gateway, "/", &headers);
            assert_eq!(who(&gateway, "/", &headers), first, "{policy}");
            met.push(first);
        }
        met.sort_unstable();
        met.dedup();
        assert!(met.len() > 1, "{policy}: one host for all keys");
    }
}

#[test]
fn a_header_names_the_cluster_or_the_address() {
    let (one, two) = (named("one"), named("two"));
    let gateway = Setup::routes(
        "{match: {prefix: /cluster}, route: {cluster_header: x-cl}}, \
         {match: {prefix: /}, route: {cluster: od}}",
    )
    .cluster("first", &[one.address])
    .raw_cluster(
        "{name: od, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, \
         original_dst_lb_config: {use_http_header: true, http_header_name: x-pick}}",
    )
    .start();
    assert_eq!(who(&gateway, "/cluster", "x-cl: first\r\n"), "one");
    let lost = gateway.connect().get("/cluster", "x-cl: nobody\r\n");
    assert_eq!((lost.status, lost.body.as_str()), (503, ""));
    let pick = format!("x-pick: {}\r\n", two.address);
    assert_eq!(who(&gateway, "/", &pick), "two");
    let nowhere = gateway.get("/");
    assert_eq!(
        (nowhere.status, nowhere.body.as_str()),
        (503, "no healthy upstream")
    );
}

#[test]
fn a_stateful_session_goes_to_its_host_and_tells_the_client() {
    let (one, two) = (named("one"), named("two"));
    let yaml = Setup::routes("{match: {prefix: /}, route: {cluster: up}}")
        .cluster("up", &[one.address, two.address])
        .native(r#"{name: ss, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSession, session_state: {name: envoy.http.stateful_session.header, typed_config: {"@type": type.googleapis.com/envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState, name: x-sess}}}}"#);
    let gateway = yaml.start();
    let first = gateway.get("/");
    let session = first
        .header("x-sess")
        .expect("the client is told")
        .to_owned();
    let name = first.body.lines().next().unwrap_or_default().to_owned();
    for _ in 0..4 {
        let again = gateway
            .connect()
            .get("/", &format!("x-sess: {session}\r\n"));
        assert!(again.body.starts_with(&name), "{}", again.body);
        assert_eq!(again.header("x-sess"), None, "it is where it wanted to be");
    }
}

#[test]
fn answers_of_5xx_are_asked_for_again_with_the_whole_body() {
    let failing = Upstream::new(|mut connection| {
        while let Some(head) = connection.head() {
            let body = connection.body(&head);
            let attempt = header(&head, "x-envoy-attempt-count").unwrap_or_default();
            let status = if attempt == "3" { "200 OK" } else { "503 No" };
            let answer = format!("{attempt} {body}");
            let length = answer.len();
            connection.send(&format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{answer}"
            ));
        }
    });
    let gateway = Setup::routes(
        "{match: {prefix: /}, route: {cluster: up, retry_policy: {retry_on: 5xx, num_retries: 2, \
          retry_back_off: {base_interval: 0.001s}}}}",
    )
    .host("include_request_attempt_count: true")
    .cluster("up", &[failing.address])
    .top(ADMIN)
    .start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
    let response = client.response();
    assert_eq!((response.status, response.body.as_str()), (200, "3 hello"));
    let stats = gateway.admin("/stats").body;
    assert!(
        stats.contains("cluster.up.upstream_rq_retry: 2\n"),
        "{stats}"
    );
}

#[test]
fn an_attempt_that_takes_too_long_is_a_504() {
    let silent = Upstream::new(|mut connection| connection.drain());
    let gateway = Setup::routes(
        "{match: {prefix: /}, route: {cluster: up, retry_policy: {retry_on: connect-failure, \
          per_try_timeout: 0.05s}}}",
    )
    .cluster("up", &[silent.address])
    .start();
    let response = gateway.get("/");
    assert_eq!(
        (response.status, response.body.as_str()),
        (504, "upstream request timeout")
    );
}

#[test]
fn beyond_the_limits_of_a_cluster_requests_are_refused() {
    let upstream = named("one");
    let gateway = Setup::routes("{match: {prefix: /}, route: {cluster: up}}")
        .raw_cluster(&cluster(
            "up",
            "circuit_breakers: {thresholds: [{max_pending_requests: 0}]}",
            &[upstream.address],
        ))
        .start();
    let response = gateway.get("/");
    assert_eq!(response.status, 503);
    assert!(
        response.body.ends_with("reset reason: overflow"),
        "{}",
        response.body
    );
    assert_eq!(response.header("x-envoy-overloaded"), Some("true"));
}

const ADMIN: &str = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}";

#[test]
fn a_host_that_fails_its_check_is_left_out_and_shown() {
    let (good, bad) = (
        named("good"),
        Upstream::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
    );
    let gateway = Setup::routes("{match: {prefix: /}, route: {cluster: up}}")
        .raw_cluster(&cluster(
            "up",
            "health_checks: [{timeout: 5s, interval: 60s, unhealthy_threshold: 1, \
             healthy_threshold: 1, http_health_check: {path: /up}}]",
            &[good.address, bad.address],
        ))
        .top(ADMIN)
        .start();
    for _ in 0..6 {
        assert_eq!(who(&gateway, "/", ""), "good");
    }
    let clusters = gateway.admin("/clusters?format=json").body;
    let clusters: serde_json::Value = serde_json::from_str(&clusters).expect("JSON");
    let hosts = clusters["cluster_statuses"][0]["host_statuses"].as_array();
    let failed: Vec<(u64, bool)> = hosts
        .expect("hosts")
        .iter()
        .map(|host| {
            let port = &host["address"]["socket_address"]["port_value"];
            let failed = &host["health_status"]["failed_active_health_check"];
            (
                port.as_u64().unwrap_or(0),
                failed.as_bool().unwrap_or(false),
            )
        })
        .collect();
    let expected = [
        (u64::from(good.address.port()), false),
        (u64::from(bad.address.port()), true),
    ];
    assert_eq!(failed, expected);
}

#[test]
fn a_host_that_answers_5xx_in_a_row_is_ejected() {
    let (good, bad) = (
        named("good"),
        Upstream::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
    );
    let gateway = Setup::routes("{match: {prefix: /}, route: {cluster: up}}")
        .raw_cluster(&cluster(
            "up",
            "outlier_detection: {consecutive_5xx: 2, max_ejection_percent: 50}",
            &[good.address, bad.address],
        ))
        .top(ADMIN)
        .start();
    // Each worker takes turns of its own, so that four pairs surely meet the bad host twice.
    let failed = (0..8).filter(|_| gateway.get("/").status == 500).count();
    assert!(failed >= 2, "{failed}");
    let ejected = |page: &str| page.contains("::health_flags::/failed_outlier_check\n");
    assert!(ejected(&gateway.admin("/clusters").body));
}
