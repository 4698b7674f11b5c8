//! The replies that the filter makes itself.

use filter_core::reply::{GrpcStatus, Reply, details};

use crate::config::Rule;
use crate::decision::{Cause, Field};

/// A denial: too many, come back in so many seconds.
pub(crate) fn deny(rule: &Rule, seconds: u64, fields: Vec<Field>) -> Reply {
    let mut headers = vec![("retry-after".to_owned(), seconds.to_string())];
    headers.extend(
        fields
            .into_iter()
            .map(|field| (field.name.to_owned(), field.value)),
    );
    Reply {
        status: 429,
        headers,
        body: format!("Too many requests. Try again in {seconds} s."),
        details: details("rate_limited", &[("rule", &rule.name)]),
        grpc_status: Some(GrpcStatus::ResourceExhausted),
    }
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
