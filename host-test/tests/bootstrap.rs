//! Bootstrap files: what is refused, in which words, and that the shipped ones are taken.

use std::fs;
use std::path::Path;

use host_test::bootstrap::{self, Fault, Problem};

/// A bootstrap that is right, in block style so that places are easy to name.
const RIGHT: &str = r#"admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 9901}}
node: {id: me, cluster: here}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: AUTO
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: up, timeout: 3s}
          http_filters:
          - name: plugin
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: plugin
                failure_policy: FAIL_RELOAD
                vm_config:
                  runtime: envoy.wasm.runtime.v8
                  code: {local: {filename: plugin.wasm}}
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: up
    type: STATIC
    connect_timeout: 1s
    lb_policy: ROUND_ROBIN
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}
"#;

/// The problems of the right bootstrap with one part replaced.
fn problems(part: &str, replacement: &str) -> Vec<Problem> {
    assert!(RIGHT.contains(part), "{part}");
    let yaml = RIGHT.replace(part, replacement);
    match bootstrap::parse(Path::new("e.yaml"), &yaml, false) {
        Ok(_) => Vec::new(),
        Err(report) => report.problems().to_vec(),
    }
}

#[test]
fn a_right_bootstrap_is_read_into_its_types() {
    let loaded = bootstrap::parse(Path::new("e.yaml"), RIGHT, false).expect("it is right");
    let bootstrap = loaded.bootstrap;
    assert_eq!(
        (bootstrap.node_id.as_str(), bootstrap.node_cluster.as_str()),
        ("me", "here")
    );
    let listener = &bootstrap.listeners[0];
    assert_eq!(listener.address.to_string(), "127.0.0.1:10000");
    assert_eq!(listener.manager.filters[0].plugin.name, "plugin");
    assert_eq!(bootstrap.clusters[0].connect_timeout.as_secs(), 1);
    assert_eq!(
        bootstrap.clusters[0].endpoints,
        [("127.0.0.1".to_owned(), 8080)]
    );
}

/// Line and column of the first place where a text stands.
fn place(yaml: &str, text: &str) -> (usize, usize) {
    let at = yaml.find(text).unwrap_or_else(|| panic!("{text} is there"));
    let before = &yaml[..at];
    let line = before.matches('\n').count() + 1;
    (line, at - before.rfind('\n').map_or(0, |end| end + 1) + 1)
}

#[test]
fn mistakes_are_told_with_their_places() {
    // A part, what it is replaced by, the text at the place of the mistake, the message's start.
    for (part, replacement, at, message) in [
        (
            "stat_prefix: in",
            "stat_prefix: n",
            "n\n          codec",
            "stat_prefix must be a string (write it in quotes); `n` is a boolean",
        ),
        (
            "prefix: /}",
            "prefx: /}",
            "prefx",
            "a route match has no field `prefx`; did you mean `prefix`?",
        ),
        (
            "prefix: /}",
            "prefix: /, path: /a}",
            "path: /a",
            "a route match has either `prefix` or `path`, not both",
        ),
        (
            "match: {prefix: /}",
            "match: {}",
            "{}",
            "a route match needs `prefix`, `path`, `safe_regex` or `path_separated_prefix`",
        ),
        (
            "cluster: up, t",
            "cluster: upp, t",
            "upp",
            "there is no cluster `upp`; did you mean `up`?",
        ),
        (
            "timeout: 3s}",
            "timeout: 3}",
            "3}",
            "timeout must be a duration in seconds such as `5s` or `0.25s`; `3` is an integer",
        ),
        (
            "FAIL_RELOAD",
            "FAIL_RELAOD",
            "FAIL_RELAOD",
            "failure_policy `FAIL_RELAOD` is unknown; did you mean `FAIL_RELOAD`?",
        ),
        (
            "port_value: 8080",
            "port_value: 80800",
            "80800",
            "port_value must be an integer from 0 to 65535; `80800` is an integer",
        ),
        (
            "address: 127.0.0.1, port_value: 8080",
            "address: localhost, port_value: 8080",
            "localhost",
            "`localhost` is not an IP address",
        ),
        (
            "name: router\n",
            "name: plugin\n",
            "name: plugin\n            typed_config:\n              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router",
            "two filters of http_filters are named `plugin`",
        ),
        (
            "          - name: plugin",
            "          - name: first\n            typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}\n          - name: plugin",
            "name: plugin",
            "the router must be the last filter; this one comes after it",
        ),
        (
            "filters.http.router.v3.Router\n",
            "filters.http.router.v3.Router\n              dynamic_statz: true\n",
            "dynamic_statz",
            "an HTTP filter's typed_config has no field `dynamic_statz`; did you mean `dynamic_stats`?",
        ),
        (
            "domains: [\"*\"]",
            "domains: [a, A]",
            "name: all",
            "the domain `a` occurs twice in this route_config",
        ),
        (
            "\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n",
            "\"@type\": Wasm\n",
            "Wasm\n",
            "`Wasm` is not a type: write type.googleapis.com/NAME",
        ),
    ] {
        let problems = problems(part, replacement);
        let problem = problems
            .first()
            .unwrap_or_else(|| panic!("{replacement} is taken"));
        assert!(problem.message.starts_with(message), "{}", problem.message);
        let expected = place(&RIGHT.replace(part, replacement), at);
        assert_eq!((problem.at.line, problem.at.column), expected, "{message}");
        assert_eq!(problem.fault, Fault::Malformed, "{message}");
    }
}

#[test]
fn what_envoy_has_and_the_gateway_has_not_is_unsupported_by_name() {
    for (part, replacement, message) in [
        (
            "codec_type: AUTO",
            "codec_type: HTTP3",
            "codec_type `HTTP3` is not supported by this gateway; supported: AUTO, HTTP1, HTTP2",
        ),
        (
            "codec_type: AUTO",
            "normalize_path: true",
            "`normalize_path` of http_connection_manager is not supported",
        ),
        (
            "timeout: 3s}",
            "retry_policy: {retry_on: envoy-ratelimited}}",
            "retry_on `envoy-ratelimited` is not supported",
        ),
        (
            "lb_policy: ROUND_ROBIN",
            "lb_policy: LOAD_BALANCING_POLICY_CONFIG",
            "lb_policy `LOAD_BALANCING_POLICY_CONFIG` is not supported",
        ),
        ("type: STATIC", "type: EDS", "type `EDS` is not supported"),
        (
            "lb_policy: ROUND_ROBIN",
            "lb_subset_config: {}",
            "`lb_subset_config` of a cluster is not supported",
        ),
        (
            "http.wasm.v3.Wasm",
            "http.cors.v3.Cors",
            "an HTTP filter of type `envoy.extensions.filters.http.cors.v3.Cors` is not supported",
        ),
        (
            "local: {filename: plugin.wasm}",
            "remote: {}",
            "`remote` of `code` is not supported",
        ),
        (
            "node: ",
            "layered_runtime: {}\nnode: ",
            "`layered_runtime` of a bootstrap is not supported",
        ),
    ] {
        let problems = problems(part, replacement);
        let problem = problems
            .first()
            .unwrap_or_else(|| panic!("{replacement} is taken"));
        assert!(problem.message.starts_with(message), "{}", problem.message);
        assert_eq!(problem.fault, Fault::Unsupported, "{message}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let yaml = RIGHT
        .replace("lb_policy: ROUND_ROBIN", "lb_polcy: ROUND_ROBIN")
        .replace("id: me", "id: yes")
        .replace("failure_policy", "failure_polcy");
    let report = bootstrap::parse(Path::new("e.yaml"), &yaml, false).expect_err("it is wrong");
    let lines: Vec<usize> = report
        .problems()
        .iter()
        .map(|problem| problem.at.line)
        .collect();
    assert_eq!(lines, [3, 28, 39]);
}

#[test]
fn lenient_passes_over_what_is_unsupported_and_not_over_mistakes() {
    let unsupported = RIGHT.replace("codec_type: AUTO", "normalize_path: true");
    let loaded = bootstrap::parse(Path::new("e.yaml"), &unsupported, true).expect("it is passed");
    assert_eq!(loaded.warnings.problems().len(), 1);
    let misspelt = RIGHT.replace("codec_type: AUTO", "normalise_pathe: true");
    let report = bootstrap::parse(Path::new("e.yaml"), &misspelt, true).expect_err("a mistake");
    assert_eq!(report.problems().len(), 1);
}

#[test]
fn yaml_that_is_broken_is_told_with_its_place() {
    let report = bootstrap::parse(Path::new("e.yaml"), "a: [1\nb: 2\n", false).expect_err("broken");
    let problem = &report.problems()[0];
    assert_eq!(problem.fault, Fault::Malformed);
    assert!(problem.at.line >= 1, "{problem:?}");
    assert!(report.to_string().starts_with("e.yaml:"), "{report}");
}

#[test]
fn the_shipped_bootstraps_are_taken() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../envoy");
    let mut read = 0;
    for entry in fs::read_dir(directory).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            if let Err(error) = bootstrap::load(&path, false) {
                panic!("{error}");
            }
            read += 1;
        }
    }
    assert!(read > 0, "{directory} holds no bootstrap");
}
