//! What discovery endpoints answer.

use consistent_hash::config::Format;
use consistent_hash::discovery::{Lie, read, write};
use consistent_hash::placement::hosts::Host;

fn found(format: &Format, body: &str) -> Result<Vec<(String, u32, bool)>, Lie> {
    let hosts = read(format, body.as_bytes())?;
    let facts = hosts
        .into_iter()
        .map(|host| (host.address, host.weight, host.draining));
    Ok(facts.collect())
}

fn host(address: &str, weight: u32, draining: bool) -> (String, u32, bool) {
    (address.to_owned(), weight, draining)
}

#[test]
fn a_list_has_addresses_or_objects() {
    let body = r#"["10.0.0.2:80", {"address": "10.0.0.1:80", "weight": 3, "zone": "a", "draining": true, "other": 1},
        {"address": "[2001:db8::1]:80"}, "10.0.0.2:80"]"#;
    let expected = [
        host("10.0.0.1:80", 3, true),
        host("10.0.0.2:80", 1, false),
        host("[2001:db8::1]:80", 1, false),
    ];
    assert_eq!(found(&Format::List, body), Ok(expected.to_vec()));
}

#[test]
fn envoy_tells_of_its_hosts_and_their_health() {
    let host_at = |port: u16, health: &str| {
        format!(
            r#"{{"address": {{"socket_address": {{"address": "10.0.0.1", "port_value": {port}}}}},
                "stats": [], "health_status": {{{health}}}, "weight": 2, "locality": {{"zone": "z"}}}}"#
        )
    };
    let hosts = [
        host_at(1, r#""eds_health_status": "HEALTHY""#),
        host_at(
            2,
            r#""failed_active_health_check": true, "eds_health_status": "HEALTHY""#,
        ),
        host_at(3, r#""failed_outlier_check": true"#),
        host_at(4, r#""eds_health_status": "DRAINING""#),
        host_at(5, r#""eds_health_status": "UNHEALTHY""#),
    ];
    let body = format!(
        r#"{{"cluster_statuses": [{{"name": "other"}}, {{"name": "web", "host_statuses": [{}]}}]}}"#,
        hosts.join(",")
    );
    let of = |name: &str| found(&Format::EnvoyClusters(name.to_owned()), &body);
    assert_eq!(
        of("web"),
        Ok(vec![
            host("10.0.0.1:1", 2, false),
            host("10.0.0.1:4", 2, true)
        ])
    );
    assert_eq!(of("other"), Err(Lie::Empty));
    assert_eq!(of("unknown"), Err(Lie::Empty));
}

#[test]
fn consul_tells_of_services_and_their_checks() {
    let body = r#"[
        {"Node": {"Address": "10.0.0.1"}, "Service": {"Address": "", "Port": 80, "Weights": {"Passing": 4, "Warning": 1}},
         "Checks": [{"Status": "passing"}]},
        {"Node": {"Address": "10.0.0.1"}, "Service": {"Address": "10.0.0.2", "Port": 80, "Weights": {"Passing": 4, "Warning": 1}},
         "Checks": [{"Status": "passing"}, {"Status": "warning"}]},
        {"Node": {"Address": "10.0.0.3"}, "Service": {"Port": 80}, "Checks": [{"Status": "critical"}]}]"#;
    let expected = [host("10.0.0.1:80", 4, false), host("10.0.0.2:80", 1, false)];
    assert_eq!(found(&Format::ConsulHealth, body), Ok(expected.to_vec()));
}

#[test]
fn an_answer_that_is_no_set_of_hosts_is_a_lie() {
    let rows = [
        ("", Lie::NotJson),
        ("<html>", Lie::NotJson),
        (r#"["10.0.0.1:80""#, Lie::NotJson),
        ("[]", Lie::Empty),
        ("{}", Lie::Form),
        ("null", Lie::Form),
        (r#"["a.example:80"]"#, Lie::Form),
        (r#"["10.0.0.1"]"#, Lie::Form),
        (r#"["10.0.0.1:80", 7]"#, Lie::Form),
        (r#"[{"address": "10.0.0.1:80", "weight": "2"}]"#, Lie::Form),
        (
            r#"[{"address": "10.0.0.1:80", "zone": "a\r\nb"}]"#,
            Lie::Form,
        ),
        (
            r#"[{"address": "10.0.0.1:80"}, {"address": "10.0.0.1:80", "weight": 2}]"#,
            Lie::Hosts,
        ),
    ];
    for (body, lie) in rows {
        assert_eq!(found(&Format::List, body), Err(lie), "{body}");
    }
}

#[test]
fn what_workers_share_reads_as_it_was_written() {
    let mut host = Host::new("10.0.0.1:80").with_weight(7);
    host.zone = Some("a".to_owned());
    host.hash_key = Some("web-1".to_owned());
    host.draining = true;
    host.metadata.insert("rack".to_owned(), "\"9".to_owned());
    let hosts = [host, Host::new("10.0.0.2:80")];
    assert_eq!(read(&Format::List, &write(&hosts)), Ok(hosts.to_vec()));
}
