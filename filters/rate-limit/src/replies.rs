//! The replies that the filter makes itself.

use filter_core::reply::{GrpcStatus, Reply, details};

use crate::config::{Body, OnLimit, Rule};
use crate::decision::Cause;
use crate::fields::Fields;

/// A denial: too many, come back in so many seconds.
pub(crate) fn deny(rule: &Rule, seconds: u64, fields: &Fields) -> Reply {
    let OnLimit {
        status,
        body,
        message,
        headers: more,
    } = &rule.on_limit;
    let message = message
        .replace("{retry_after}", &seconds.to_string())
        .replace("{rule}", &rule.name);
    let mut headers = vec![("retry-after".to_owned(), seconds.to_string())];
    fields.each(|name, value, _| {
        // What is said of limits is text.
        let value = String::from_utf8_lossy(value).into_owned();
        headers.push((name.to_owned(), value));
    });
    headers.extend(more.iter().cloned());
    let (content_type, body) = match body {
        Body::Text => (None, message),
        Body::Json => {
            let body = format!(
                "{{\"error\":\"rate_limited\",\"message\":{},\"rule\":\"{}\",\"retry_after\":{seconds}}}",
                quoted(&message),
                rule.name,
            );
            (Some("application/json"), body)
        }
        Body::Problem => {
            let body = problem(*status, &rule.name, &message);
            (Some("application/problem+json"), body)
        }
    };
    headers.extend(content_type.map(|kind| ("content-type".to_owned(), kind.to_owned())));
    Reply {
        status: *status,
        headers,
        body,
        details: details("rate_limited", &[("rule", &rule.name)]),
        grpc_status: Some(GrpcStatus::ResourceExhausted),
    }
}

/// Problem details (RFC 9457) of the types that draft-ietf-httpapi-ratelimit-headers-10 registers.
fn problem(status: u16, rule: &str, message: &str) -> String {
    let (kind, title) = if status < 500 {
        (
            "quota-exceeded",
            "Request cannot be satisfied as assigned quota has been exceeded",
        )
    } else {
        (
            "temporary-reduced-capacity",
            "Request cannot be satisfied due to temporary server capacity constraints",
        )
    };
    let detail = quoted(message);
    format!(
        "{{\"type\":\"https://iana.org/assignments/http-problem-types#{kind}\",\"title\":\"{title}\",\
         \"status\":{status},\"detail\":{detail},\"violated-policies\":[\"{rule}\"]}}"
    )
}

/// A text as JSON. Control characters don't come up: the configuration has none.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// A refusal: a part of the key is missing.
pub(crate) fn reject(rule: &Rule) -> Reply {
    Reply {
        status: 400,
        headers: Vec::new(),
        body: "The request doesn't say who it is from.".to_owned(),
        details: details("rate_limit_key_missing", &[("rule", &rule.name)]),
        grpc_status: Some(GrpcStatus::InvalidArgument),
    }
}

/// A refusal because the limiter can't decide.
pub(crate) fn unavailable(cause: Cause) -> Reply {
    Reply {
        status: 503,
        headers: Vec::new(),
        body: "The request could not be checked. Try again.".to_owned(),
        details: details("rate_limit_error", &[("cause", cause.word())]),
        grpc_status: Some(GrpcStatus::Unavailable),
    }
}
