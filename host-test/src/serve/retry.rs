//! Whether a request is sent again, and when.

use std::time::Duration;

use super::random::Random;
use super::upstream::Cause;
use crate::bootstrap::RetryPolicy;
use crate::headers::Headers;

/// The retries of one request.
#[derive(Debug)]
pub(super) struct Retries {
    policy: RetryPolicy,
    left: u32,
    made: u32,
}

impl Retries {
    /// The retries that a policy and the request's own headers allow; takes these headers away.
    pub(super) fn new(policy: Option<&RetryPolicy>, request: &mut Headers) -> Option<Self> {
        let on = take(request, "x-envoy-retry-on");
        let most = take(request, "x-envoy-max-retries");
        let codes = take(request, "x-envoy-retriable-status-codes");
        if policy.is_none() && on.is_none() {
            return None;
        }
        let mut policy = policy.cloned().unwrap_or_default();
        for name in on.as_deref().unwrap_or_default().split(',') {
            // What isn't known is passed over, as in Envoy.
            policy.on.add(name.trim());
        }
        for code in codes.as_deref().unwrap_or_default().split(',') {
            policy.status_codes.extend(code.trim().parse::<u16>());
        }
        if let Some(most) = most.and_then(|most| most.parse().ok()) {
            policy.retries = most;
        }
        policy.on.any().then_some(Self {
            left: policy.retries,
            policy,
            made: 0,
        })
    }

    /// Whether an answer is worth another attempt.
    pub(super) fn wants_status(&self, status: u16, response: &Headers) -> bool {
        if response.first("x-envoy-overloaded").is_some() {
            return false;
        }
        let on = &self.policy.on;
        on.all_5xx && status >= 500
            || on.gateway_error && matches!(status, 502..=504)
            || on.retriable_4xx && status == 409
            || on.retriable_status_codes && self.policy.status_codes.contains(&status)
    }

    /// Whether a failure is worth another attempt.
    pub(super) fn wants(&self, cause: &Cause) -> bool {
        let on = &self.policy.on;
        let before = matches!(cause, Cause::Connect(_) | Cause::ConnectTimeout);
        !matches!(cause, Cause::NoHost | Cause::Overflow)
            && (on.reset
                || on.all_5xx
                || on.gateway_error
                || (on.connect_failure || on.reset_before_request) && before
                || on.refused_stream && *cause == Cause::RefusedStream)
    }

    /// Whether an attempt that took too long is worth another one.
    pub(super) fn wants_after_timeout(&self) -> bool {
        let on = &self.policy.on;
        on.reset || on.all_5xx || on.gateway_error
    }

    /// Takes one of the retries that are left.
    pub(super) fn take(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                self.made += 1;
                true
            }
            None => false,
        }
    }

    /// Whether the last attempt was a retry.
    pub(super) fn is_retry(&self) -> bool {
        self.made > 0
    }

    /// How long to wait before the retry that was taken last: exponential with full jitter.
    pub(super) fn back_off(&self, random: &Random) -> Duration {
        let base = self.policy.base_interval;
        let grown = 1_u32.checked_shl(self.made).unwrap_or(u32::MAX) - 1;
        let most = base.saturating_mul(grown).min(self.policy.max_interval);
        let nanos = usize::try_from(most.as_nanos()).unwrap_or(usize::MAX);
        Duration::from_nanos(random.below(nanos.max(1)) as u64)
    }

    pub(super) fn policy(&self) -> &RetryPolicy {
        &self.policy
    }
}

/// Takes a header off a request.
pub(super) fn take(request: &mut Headers, name: &str) -> Option<String> {
    let value = request.text(name)?.into_owned();
    request.remove(name);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::RetryOn;

    fn on(names: &str) -> Retries {
        let mut on = RetryOn::default();
        assert!(names.split(',').all(|name| on.add(name)));
        let policy = RetryPolicy {
            on,
            status_codes: vec![429],
            ..RetryPolicy::default()
        };
        Retries::new(Some(&policy), &mut Headers::new()).unwrap()
    }

    #[test]
    fn each_condition_covers_what_envoy_says() {
        let headers = Headers::new();
        let refused = Cause::Connect("refused".into());
        for (names, statuses, connect, reset) in [
            ("5xx", &[500, 503][..], true, true),
            ("gateway-error", &[502, 503, 504], true, true),
            ("connect-failure", &[], true, false),
            ("reset", &[], true, true),
            ("retriable-4xx", &[409], false, false),
            ("retriable-status-codes", &[429], false, false),
        ] {
            let retries = on(names);
            let wanted = |status: &u16| retries.wants_status(*status, &headers);
            let all = [200, 404, 409, 429, 500, 502, 503, 504];
            let wanted: Vec<u16> = all.into_iter().filter(wanted).collect();
            assert!(
                statuses.iter().all(|status| wanted.contains(status)),
                "{names}"
            );
            assert!(wanted.len() == statuses.len() || names == "5xx", "{names}");
            assert_eq!(retries.wants(&refused), connect, "{names}");
            assert_eq!(retries.wants(&Cause::Terminated), reset, "{names}");
            assert!(!retries.wants(&Cause::NoHost), "{names}");
        }
    }

    #[test]
    fn headers_of_the_request_count_too_and_stay_behind() {
        let mut request: Headers = [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "2")]
            .into_iter()
            .collect();
        let mut retries = Retries::new(None, &mut request).unwrap();
        assert!(request.is_empty());
        assert!(retries.take() && retries.take() && !retries.take());
        assert!(Retries::new(None, &mut Headers::new()).is_none());
    }

    #[test]
    fn the_wait_grows_and_has_an_end() {
        let mut retries = on("5xx");
        retries.left = 100;
        let random = Random::new(1);
        for _ in 0..100 {
            assert!(retries.take());
            let most = retries.policy.base_interval * 10;
            assert!(retries.back_off(&random) <= most);
        }
    }
}
