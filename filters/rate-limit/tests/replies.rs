//! What a denied client is told, in every form.

mod common;

use common::{Gateway, reply};
use filter_core::reply::{GrpcStatus, Reply};
use serde_json::{Value, json};

fn denied(on_limit: &str) -> Reply {
    let mut gateway = Gateway::new(&format!(
        r#"{{"headers": "none", "rules": [{{"name": "login",
            "limits": [{{"requests": 1, "per": "1m"}}], "on_limit": {on_limit}}}]}}"#
    ));
    gateway.send(&[]);
    reply(gateway.send(&[]))
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let mut headers = reply.headers.iter();
    let (_, value) = headers.find(|(candidate, _)| candidate == name)?;
    Some(value)
}

#[test]
fn a_message_can_tell_rule_and_time() {
    let reply = denied(r#"{"message": "{rule}: {retry_after} s, {rule}, {other}"}"#);
    assert_eq!(reply.body, "login: 60 s, login, {other}");
    assert_eq!(
        header(&reply, "content-type"),
        None,
        "the gateway's default"
    );
    assert_eq!(reply.status, 429);
    assert_eq!(reply.grpc_status, Some(GrpcStatus::ResourceExhausted));
}

#[test]
fn json_is_json_whatever_the_message() {
    let reply = denied(r#"{"body": "json", "message": "say \"\\please\\\" — {retry_after}"}"#);
    let body: Value = serde_json::from_str(&reply.body).expect("JSON");
    let message = "say \"\\please\\\" — 60";
    let expected =
        json!({"error": "rate_limited", "message": message, "rule": "login", "retry_after": 60});
    assert_eq!(body, expected);
    assert_eq!(header(&reply, "content-type"), Some("application/json"));
}

#[test]
fn problem_details_name_the_type_and_the_policy() {
    let reply = denied(r#"{"body": "problem"}"#);
    let body: Value = serde_json::from_str(&reply.body).expect("JSON");
    assert_eq!(
        body,
        json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
            "status": 429,
            "detail": "Too many requests. Try again in 60 s.",
            "violated-policies": ["login"],
        })
    );
    assert_eq!(
        header(&reply, "content-type"),
        Some("application/problem+json")
    );
    let reply = denied(r#"{"body": "problem", "status": 503}"#);
    let body: Value = serde_json::from_str(&reply.body).expect("JSON");
    let kind = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";
    assert_eq!(
        (&body["type"], &body["status"]),
        (&json!(kind), &json!(503))
    );
    assert_eq!(reply.status, 503);
}

#[test]
fn more_headers_follow_the_filters_own() {
    let reply = denied(
        r#"{"headers": [{"name": "X-Why", "value": "too many"}, {"name": "x-why", "value": "b"}]}"#,
    );
    let headers: Vec<_> = reply.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(
        headers,
        [("retry-after", "60"), ("x-why", "too many"), ("x-why", "b")]
    );
}
