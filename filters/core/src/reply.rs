//! A response that a filter makes itself, as data.

/// A response in place of the upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers besides `:status`; hosts add length and type of the body.
    pub headers: Vec<(String, String)>,
    /// Body; text unless a header says otherwise.
    pub body: String,
    /// Why, for access logs: Envoy's `%RESPONSE_CODE_DETAILS%`.
    pub details: String,
    /// Status for gRPC requests, which hosts answer in their own form.
    pub grpc_status: Option<GrpcStatus>,
}

/// gRPC status codes that filters answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcStatus {
    /// The client sent something that can't be served.
    InvalidArgument,
    /// The client may not do this.
    PermissionDenied,
    /// The client has used up what it may use.
    ResourceExhausted,
    /// The gateway can't serve right now.
    Unavailable,
    /// The client didn't prove who it is.
    Unauthenticated,
}

impl GrpcStatus {
    /// Returns the number that goes over the wire.
    pub const fn code(self) -> i32 {
        match self {
            Self::InvalidArgument => 3,
            Self::PermissionDenied => 7,
            Self::ResourceExhausted => 8,
            Self::Unavailable => 14,
            Self::Unauthenticated => 16,
        }
    }
}

/// Returns what a reply's details say: `what{name=value,…}`.
///
/// Names and values are the configuration's, never the client's: details go to logs as they are.
pub fn details(what: &str, facts: &[(&str, &str)]) -> String {
    let mut out = format!("{what}{{");
    for (index, (name, value)) in facts.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        out.push_str(&format!("{separator}{name}={value}"));
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_name_what_happened_and_where() {
        assert_eq!(
            details("rate_limited", &[("rule", "login"), ("limit", "1m")]),
            "rate_limited{rule=login,limit=1m}"
        );
        assert_eq!(details("x", &[]), "x{}");
    }
}
