//! What a configuration may say, and what is answered to one that says something else.

use consistent_hash::config::{Config, RawConfig, Steer};
use consistent_hash::placement::Algorithm;
use filter_core::config::document::{check_or_update, schema, table};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn config(json: &str) -> Config {
    Config::read(json.as_bytes()).unwrap_or_else(|errors| panic!("{}", errors.one_line()))
}

fn mistakes(json: &str) -> Vec<String> {
    let errors = Config::read(json.as_bytes()).expect_err(json);
    errors.iter().map(ToString::to_string).collect()
}

/// The mistakes in a configuration that has a host besides what is given.
fn more_mistakes(more: &str) -> Vec<String> {
    mistakes(&format!(
        r#"{{"hosts": [{{"address": "10.0.0.1:80"}}], {more}}}"#
    ))
}

#[test]
fn a_minimal_configuration_has_these_defaults() {
    let config = config(r#"{"hosts": [{"address": "10.0.0.1:80"}]}"#);
    let steer = Steer::OverrideHost {
        header: "x-upstream-candidates".to_owned(),
        candidates: 3,
    };
    assert_eq!(config.steer, steer);
    assert_eq!(config.algorithm, Algorithm::Auto);
    assert_eq!(config.body_limit, 262_144);
    assert!(!config.counts_requests && !config.health.is_watched());
    assert!(config.explain.is_none() && config.sessions.is_none() && config.zones.is_none());
    let host = config
        .hosts
        .as_ref()
        .and_then(|hosts| hosts.get(0))
        .expect("a host");
    assert_eq!((host.weight, host.draining), (1, false));
}

#[test]
fn a_configuration_without_hosts_is_refused() {
    let expected = [
        "hosts: an empty list is not allowed; allowed: a list of at least one host, or \"discovery\"",
    ];
    assert_eq!(mistakes(r#"{"hosts": []}"#), expected);
    assert_eq!(mistakes("{}").len(), 1);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let found = mistakes(
        r#"{"hosts": [{"address": "a.example:80"}, {"address": "10.0.0.1:80", "weigth": 2}],
            "key": [{"headr": "x-user"}, {"json_body": {"pointer": "model"}}],
            "bounded_load": {"balance_factor": 1}}"#,
    );
    let expected = [
        "hosts[0].address: \"a.example:80\" is not allowed",
        "hosts[1].weigth: unknown field; allowed: address, cluster, weight, zone, hash_key, draining, metadata; did you mean \"weight\"?",
        "key[0].headr: unknown",
        "key[1].json_body.pointer: \"model\" is not allowed",
        "bounded_load.balance_factor: 1 is not allowed; allowed: a number above 1 and up to 10, such as 1.25",
    ];
    for expected in expected {
        assert!(
            found.iter().any(|line| line.starts_with(expected)),
            "{expected}\n{found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    #[rustfmt::skip]
    let rows = [
        (r#""key": ["session_cookie"]"#, "key[0]: there is no \"session_cookie\" to read"),
        (r#""session_cookie": {"secrets": ["0123456789abcdef"]}"#,
            "session_cookie: is given and never read; add \"session_cookie\" to \"key\""),
        (r#""key": ["session_cookie"], "session_cookie": {"secrets": ["short"]}"#,
            "session_cookie.secrets[0]: too short; allowed: a secret of at least 16 characters"),
        (r#""key": ["session_cookie"], "session_cookie": {"secrets": []}"#,
            "session_cookie.secrets: this value is not allowed; allowed: a list of at least one secret"),
        (r#""key": ["session_cookie"], "session_cookie": {"secrets": ["0123456789abcdef"], "same_site": "none", "secure": false}"#,
            "session_cookie.secure: browsers refuse \"same_site: none\" without it"),
        (r#""key": ["session_cookie"], "session_cookie": {"secrets": ["0123456789abcdef"], "path": "/a;b"}"#,
            "session_cookie.path: \"/a;b\" is not allowed; allowed: a path such as \"/\", without \";\" and \",\""),
        (r#""key": [{"path_template": "/a/b"}]"#,
            "key[0].path_template: \"/a/b\" is not allowed; allowed: segments that each begin with \"/\": text, \"*\", \"{name}\" at least once, and \"**\" at the end"),
        (r#""key": [{"combined": []}]"#,
            "key[0].combined: an empty list is not allowed; allowed: a list of at least one part"),
        (r#""missing": "least_request""#,
            "missing: \"least_request\" needs \"count_requests\" or \"bounded_load\""),
        (r#""algorithm": {"maglev": {"table_size": 100}}"#,
            "algorithm.maglev.table_size: 100 is not allowed; allowed: a prime number, such as 65537"),
        (r#""algorithm": {"ring": {"minimum_size": 10, "maximum_size": 9}}"#,
            "algorithm.ring.minimum_size: is more than \"maximum_size\""),
        (r#""algorithm": "jump""#,
            "algorithm: \"jump\" is not allowed; allowed: auto, rendezvous, maglev, ring"),
        (r#""hot_keys": {"hot_share": 0}"#,
            "hot_keys.hot_share: 0 is not allowed; allowed: a number from 0.01 to 1, such as 0.2"),
        (r#""health": {"slow_start": "10s"}"#,
            "health.slow_start: no host ever comes back without \"active\" or \"passive\""),
        (r#""health": {"active": {"path": "/"}}"#,
            "health.active.cluster: required, but missing; it needs the policy \"override_host\" by the header of \"steer\""),
        (r#""health": {"active": {"cluster": "a", "path": "/", "statuses": [299, 200]}}"#,
            "health.active.statuses: a list is not allowed; allowed: the lowest good status and then the highest, such as [200, 299]"),
        (r#""health": {"active": {"cluster": "a", "path": "health"}}"#,
            "health.active.path: \"health\" is not allowed; allowed: a path such as \"/health\", without blanks"),
        (r#""health": {"active": {"cluster": "a", "path": "/", "interval": "99ms"}}"#,
            "health.active.interval: \"99ms\" is not allowed; allowed: a duration of at least \"100ms\""),
        (r#""health": {"passive": {"consecutive_slow": 3}}"#,
            "health.passive.consecutive_slow: what is slow isn't said; add \"slow\""),
        (r#""health": {"passive": {"ejection_time": "10m"}}"#,
            "health.passive.max_ejection_time: is less than \"ejection_time\""),
        (r#""discovery": {"cluster": "", "path": "/", "format": "list"}"#,
            "discovery.cluster: \"\" is not allowed; allowed: text that is not empty"),
    ];
    for (more, expected) in rows {
        assert_eq!(more_mistakes(more), [expected], "{more}");
    }
}

#[test]
fn hosts_that_make_no_sense_are_refused() {
    #[rustfmt::skip]
    let rows = [
        (r#"{"address": "10.0.0.1:80"}, {"address": "10.0.0.1:80"}"#, "hosts[1]: 10.0.0.1:80 is listed twice"),
        (r#"{"address": "10.0.0.1"}"#,
            "hosts[0].address: \"10.0.0.1\" is not allowed; allowed: an address and a port, such as \"10.0.0.1:8080\" or \"[2001:db8::1]:8080\""),
        (r#"{"address": "10.0.0.1:0"}"#,
            "hosts[0].address: \"10.0.0.1:0\" is not allowed; allowed: an address and a port, such as \"10.0.0.1:8080\" or \"[2001:db8::1]:8080\""),
        (r#"{"cluster": "a"}"#,
            "hosts[0].cluster: is for \"steer: cluster_header\"; write an \"address\""),
        (r#"{"address": "10.0.0.1:80", "zone": "a,b"}"#,
            "hosts[0].zone: \"a,b\" is not allowed; allowed: text without blanks and commas"),
        (r#"{"address": "10.0.0.1:80", "weight": 70000}"#,
            "hosts[0].weight: 70000 is not allowed; allowed: an integer from 0 to 65535"),
    ];
    for (hosts, expected) in rows {
        assert_eq!(
            mistakes(&format!(r#"{{"hosts": [{hosts}]}}"#)),
            [expected],
            "{hosts}"
        );
    }
}

#[test]
fn a_gateway_that_chooses_itself_needs_no_hosts_and_takes_none() {
    let config = config(r#"{"steer": {"hash_key": {"header": "X-Key"}}, "key": ["path"]}"#);
    assert_eq!(config.steer.header(), Some("x-key"));
    let found = mistakes(
        r#"{"steer": {"hash_key": {}}, "hosts": [{"address": "10.0.0.1:80"}], "bounded_load": {}}"#,
    );
    assert_eq!(found.len(), 3, "{found:#?}");
}

#[test]
fn shards_are_clusters() {
    let config = config(
        r#"{"steer": {"cluster_header": {"header": "x-shard"}}, "key": ["path"],
            "hosts": [{"cluster": "shard-0"}, {"cluster": "shard-1"}]}"#,
    );
    assert_eq!(config.hosts.map(|hosts| hosts.len()), Some(2));
    let found = mistakes(
        r#"{"steer": {"cluster_header": {"header": "x-shard"}}, "hosts": [{"address": "10.0.0.1:80"}]}"#,
    );
    assert_eq!(
        found,
        ["hosts[0].address: with \"steer: cluster_header\" a host is a \"cluster\""]
    );
}

#[test]
fn a_secret_is_never_written_into_the_log() {
    let found =
        more_mistakes(r#""key": ["session_cookie"], "session_cookie": {"secrets": ["hush"]}"#);
    assert!(!found.concat().contains("hush"), "{found:?}");
}

#[test]
fn the_schema_file_is_what_the_code_says() {
    let path = format!("{FOLDER}/schema.json");
    check_or_update(path, None, &schema::<RawConfig>("consistent-hash")).unwrap();
}

#[test]
fn the_readme_table_is_what_the_code_says() {
    let path = format!("{FOLDER}/README.md");
    let markers = Some(["<!-- fields -->", "<!-- /fields -->"]);
    check_or_update(path, markers, &table::<RawConfig>()).unwrap();
}
