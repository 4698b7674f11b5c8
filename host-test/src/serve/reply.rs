//! Answers that the gateway makes itself, in Envoy's words: status, body, details, flags.

use std::borrow::Cow;

use super::head::{Refusal, Unsendable};
use super::upstream::Cause;

/// Body of a 504.
pub(super) const TIMEOUT_BODY: &str = "upstream request timeout";

/// An answer of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Cow<'static, str>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub(super) details: Cow<'static, str>,
    /// `%RESPONSE_FLAGS%`; empty for none.
    pub(super) flags: &'static str,
    /// Whether the connection is closed after it.
    pub(super) close: bool,
}

impl Reply {
    fn new(status: u16, body: &'static str, details: &'static str, flags: &'static str) -> Self {
        Self {
            status,
            body: body.into(),
            details: details.into(),
            flags,
            close: false,
        }
    }

    /// No cluster has the name that the request gives.
    pub(super) fn cluster_not_found(status: u16) -> Self {
        Self::new(status, "", "cluster_not_found", "NC")
    }

    /// An attempt has taken too long.
    pub(super) fn per_try_timeout() -> Self {
        Self::new(504, TIMEOUT_BODY, "upstream_per_try_timeout", "UT")
    }

    /// A body that can't be parsed.
    pub(super) fn codec_error() -> Self {
        Self::refusal(Refusal::Codec("http1.codec_error"))
    }

    pub(super) fn route_not_found() -> Self {
        Self::new(404, "", "route_not_found", "NR")
    }

    /// What a route answers by itself.
    pub(super) fn direct(status: u16) -> Self {
        Self::new(status, "", "direct_response", "")
    }

    pub(super) fn timeout() -> Self {
        Self::new(504, TIMEOUT_BODY, "response_timeout", "UT")
    }

    pub(super) fn refusal(refusal: Refusal) -> Self {
        let reply = match refusal {
            Refusal::Codec(details) => Self::new(400, "Bad Request", details, "DPE"),
            Refusal::Fragment => Self::new(400, "", "path_normalization_failed", ""),
            Refusal::HeadersTooLarge(details) => {
                Self::new(431, "Request Header Fields Too Large", details, "DPE")
            }
            Refusal::TransferEncoding => {
                let details = "http1.invalid_transfer_encoding";
                Self::new(501, "Not Implemented", details, "DPE")
            }
            Refusal::HeadTimeout => Self::new(408, "", "request_header_timeout", ""),
            Refusal::Upgrade => Self::new(403, "", "upgrade_failed", ""),
            Refusal::LowVersion => Self::new(426, "Upgrade Required", "low_version", "DPE"),
            Refusal::MissingHost => Self::new(400, "", "missing_host_header", ""),
        };
        Self {
            close: refusal != Refusal::Upgrade,
            ..reply
        }
    }

    /// The filters left a request that can't be written.
    pub(super) fn unsendable_request(unsendable: &Unsendable) -> Self {
        let body = words(unsendable);
        let details = format!("filter_removed_required_request_headers{{{body}}}");
        Self {
            status: 503,
            details: details.replace(' ', "_").into(),
            body: body.into(),
            flags: "DPE",
            close: false,
        }
    }

    /// The filters left a response that can't be written.
    pub(super) fn unsendable_response(unsendable: &Unsendable) -> Self {
        let body = words(unsendable);
        let details = format!("filter_removed_required_response_headers{{{body}}}");
        Self {
            status: 502,
            details: details.replace(' ', "_").into(),
            body: body.into(),
            flags: "",
            close: false,
        }
    }

    /// There is no response from upstream.
    pub(super) fn failure(cause: &Cause) -> Self {
        let (status, body, details, flags) = failure_reply(cause);
        Self {
            status,
            body: body.into(),
            details: details.into(),
            flags,
            close: false,
        }
    }
}

fn words(unsendable: &Unsendable) -> String {
    match unsendable {
        Unsendable::Name(name) => format!("invalid header name: {name}"),
        Unsendable::Value(name) => format!("invalid header value for: {name}"),
        Unsendable::Missing(name) => format!("missing required header: {name}"),
    }
}

/// Status, body, details and flags for a failure of the upstream.
pub(super) fn failure_reply(cause: &Cause) -> (u16, String, String, &'static str) {
    let (status, reason, flags) = match cause {
        Cause::NoHost => {
            let body = "no healthy upstream".to_owned();
            return (503, body, "no_healthy_upstream".into(), "UH");
        }
        Cause::Connect(_) => (503, "remote connection failure", "UF"),
        Cause::ConnectTimeout => (503, "connection timeout", "UF"),
        Cause::Terminated => (503, "connection termination", "UC"),
        Cause::Overflow => (503, "overflow", "UO"),
        Cause::Protocol => (502, "protocol error", "UPE"),
        Cause::RefusedStream => (503, "remote refused stream reset", "UR"),
        Cause::Reset => (503, "remote reset", "UR"),
    };
    let body = format!(
        "upstream connect error or disconnect/reset before headers. reset reason: {reason}"
    );
    let mut details = format!("upstream_reset_before_response_started{{{reason}");
    if let Some(failure) = transport_failure(cause) {
        details += &format!("|{failure}");
    }
    (status, body, (details + "}").replace(' ', "_"), flags)
}

/// `%UPSTREAM_TRANSPORT_FAILURE_REASON%` of a failure.
pub(super) fn transport_failure(cause: &Cause) -> Option<String> {
    match cause {
        Cause::Connect(words) => Some(format!("delayed connect error: {words}").replace(' ', "_")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_filters_spoilt_is_told_in_envoys_words() {
        let value = Reply::unsendable_request(&Unsendable::Value("x-a".into()));
        assert_eq!(value.body, "invalid header value for: x-a");
        assert_eq!(
            value.details,
            "filter_removed_required_request_headers{invalid_header_value_for:_x-a}"
        );
        let status = Reply::unsendable_response(&Unsendable::Missing(":status"));
        assert_eq!(status.body, "missing required header: :status");
        assert_eq!((status.status, status.flags), (502, ""));
    }

    #[test]
    fn failures_are_told_in_envoys_words() {
        let refused = Reply::failure(&Cause::Connect("Connection refused".into()));
        assert_eq!(
            refused.body,
            "upstream connect error or disconnect/reset before headers. \
             reset reason: remote connection failure"
        );
        assert_eq!(
            refused.details,
            "upstream_reset_before_response_started{remote_connection_failure|\
             delayed_connect_error:_Connection_refused}"
        );
        assert_eq!((refused.status, refused.flags), (503, "UF"));
        let garbage = Reply::failure(&Cause::Protocol);
        assert_eq!((garbage.status, garbage.flags), (502, "UPE"));
        assert_eq!(
            garbage.details,
            "upstream_reset_before_response_started{protocol_error}"
        );
    }
}
