//! What is expected of claims, as jwt_authn expects it. Pure: the time is an argument.

use std::time::Duration;

use crate::claims::Claims;
use crate::date::NumericDate;
use crate::refusal::{Reason, Refusal};

/// The clock skew that jwt_authn allows unless it is told otherwise.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// When a token is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How far the clocks of issuer and gateway may differ.
    pub clock_skew: Duration,
    /// Whether a token must have `exp`.
    pub require_expiration: bool,
    /// How much longer a token may be valid, which implies that it must have `exp`.
    pub max_lifetime: Option<Duration>,
    /// Whether a token that was issued in the future is refused. jwt_authn doesn't look at `iat`.
    pub check_issued_at: bool,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            clock_skew: CLOCK_SKEW,
            require_expiration: false,
            max_lifetime: None,
            check_issued_at: false,
        }
    }
}

impl Times {
    /// Checks `nbf`, `exp`, what is left of its life and `iat` at the moment `now`.
    ///
    /// # Errors
    ///
    /// The first of these that isn't as it should be.
    pub fn check(&self, claims: &Claims, now: NumericDate) -> Result<(), Refusal> {
        let latest = now.after(self.clock_skew);
        let earliest = now.before(self.clock_skew);
        if claims.not_before().is_some_and(|nbf| nbf > latest) {
            return Err(Reason::NotYetValid.because("the token isn't valid yet (`nbf`)"));
        }
        match claims.expires() {
            // RFC 7519 section 4.1.4 has it expire at `exp` itself; with the skew that jwt_authn
            // always allows, its "after" is the same to within a second.
            Some(exp) if exp < earliest => {
                return Err(Reason::Expired.because("the token has expired (`exp`)"));
            }
            Some(exp) => {
                let left = exp.since(now);
                if self.max_lifetime.is_some_and(|longest| left >= longest) {
                    let detail = "the token is valid for longer than `max_lifetime`";
                    return Err(Reason::LifetimeTooLong.because(detail));
                }
            }
            None if self.require_expiration || self.max_lifetime.is_some() => {
                return Err(Reason::MissingExpiration.because("the token has no `exp`"));
            }
            None => {}
        }
        if self.check_issued_at && claims.issued_at().is_some_and(|iat| iat > latest) {
            return Err(
                Reason::IssuedInFuture.because("the token was issued in the future (`iat`)")
            );
        }
        Ok(())
    }
}

/// Checks that `iss` is `issuer`.
///
/// # Errors
///
/// If it is another or none.
pub fn check_issuer(claims: &Claims, issuer: &str) -> Result<(), Refusal> {
    if claims.issuer().as_deref() == Some(issuer) {
        return Ok(());
    }
    Err(Reason::WrongIssuer.because("`iss` isn't the provider's issuer"))
}

/// The audiences that a provider takes.
///
/// As in jwt_authn a scheme and a slash at the end don't count: `https://api.example.com/` and
/// `api.example.com` are one audience.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audiences(Vec<String>);

impl Audiences {
    /// Makes a list; an empty one takes every token.
    pub fn new(audiences: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let core = |audience: &str| core_of(audience).to_owned();
        Self(
            audiences
                .into_iter()
                .map(|text| core(text.as_ref()))
                .collect(),
        )
    }

    /// Checks that one of the token's audiences is in the list.
    ///
    /// # Errors
    ///
    /// If none is.
    pub fn check(&self, claims: &Claims) -> Result<(), Refusal> {
        let is_ours = |aud: &str| self.0.iter().any(|ours| ours == core_of(aud));
        if self.0.is_empty() || claims.audiences().any(|aud| is_ours(&aud)) {
            return Ok(());
        }
        Err(Reason::WrongAudience.because("`aud` has none of the audiences asked for"))
    }
}

/// Returns an audience without its scheme and the slash at its end.
fn core_of(audience: &str) -> &str {
    let bare = audience.strip_prefix("http://");
    let bare = bare.or_else(|| audience.strip_prefix("https://"));
    let bare = bare.unwrap_or(audience);
    bare.strip_suffix('/').unwrap_or(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: NumericDate = NumericDate::from_unix_seconds(1_700_000_000);

    fn claims(json: &str) -> Claims {
        Claims::read(json.as_bytes().to_vec()).unwrap()
    }

    fn check(times: Times, json: &str) -> Result<(), Reason> {
        times
            .check(&claims(json), NOW)
            .map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_token_expires_when_exp_and_the_skew_are_over() {
        let times = Times::default();
        assert_eq!(check(times, r#"{"exp":1700000000}"#), Ok(()));
        assert_eq!(check(times, r#"{"exp":1699999940}"#), Ok(()));
        assert_eq!(
            check(times, r#"{"exp":1699999939.999}"#),
            Err(Reason::Expired)
        );
        assert_eq!(check(times, r#"{"exp":1699999939}"#), Err(Reason::Expired));
        assert_eq!(check(times, r#"{"exp":9223372036854775807}"#), Ok(()));
    }

    #[test]
    fn exp_zero_is_expired() {
        for exp in ["0", "-0", "0.0", "0e9", "1e-400"] {
            let json = format!(r#"{{"exp":{exp}}}"#);
            assert_eq!(
                check(Times::default(), &json),
                Err(Reason::Expired),
                "{exp}"
            );
        }
    }

    #[test]
    fn a_token_becomes_valid_at_nbf_less_the_skew() {
        let times = Times::default();
        assert_eq!(check(times, r#"{"nbf":1700000060}"#), Ok(()));
        assert_eq!(
            check(times, r#"{"nbf":1700000060.5}"#),
            Err(Reason::NotYetValid)
        );
        assert_eq!(
            check(times, r#"{"nbf":9223372036854775807}"#),
            Err(Reason::NotYetValid)
        );
        let strict = Times {
            clock_skew: Duration::ZERO,
            ..times
        };
        assert_eq!(
            check(strict, r#"{"nbf":1700000001}"#),
            Err(Reason::NotYetValid)
        );
        assert_eq!(
            check(strict, r#"{"nbf":1700000000,"exp":1700000000}"#),
            Ok(())
        );
    }

    #[test]
    fn the_longest_skew_overflows_nothing() {
        let times = Times {
            clock_skew: Duration::MAX,
            check_issued_at: true,
            ..Times::default()
        };
        let json = r#"{"nbf":9223372036854775807,"iat":9223372036854775807,"exp":0}"#;
        assert_eq!(check(times, json), Ok(()));
    }

    #[test]
    fn expiration_can_be_required() {
        let times = Times {
            require_expiration: true,
            ..Times::default()
        };
        assert_eq!(check(times, "{}"), Err(Reason::MissingExpiration));
        assert_eq!(check(times, r#"{"exp":1700000001}"#), Ok(()));
        assert_eq!(check(Times::default(), "{}"), Ok(()));
    }

    #[test]
    fn what_is_left_of_its_life_must_be_less_than_the_longest() {
        let times = Times {
            max_lifetime: Some(Duration::from_secs(3600)),
            ..Times::default()
        };
        assert_eq!(check(times, r#"{"exp":1700003599.9}"#), Ok(()));
        assert_eq!(
            check(times, r#"{"exp":1700003600}"#),
            Err(Reason::LifetimeTooLong)
        );
        assert_eq!(check(times, "{}"), Err(Reason::MissingExpiration));
    }

    #[test]
    fn the_time_of_issue_is_looked_at_if_asked_for() {
        let times = Times {
            check_issued_at: true,
            ..Times::default()
        };
        assert_eq!(check(times, r#"{"iat":1700000060}"#), Ok(()));
        assert_eq!(
            check(times, r#"{"iat":1700000061}"#),
            Err(Reason::IssuedInFuture)
        );
        assert_eq!(check(Times::default(), r#"{"iat":1800000000}"#), Ok(()));
    }

    #[test]
    fn the_issuer_is_compared_byte_by_byte() {
        let check = |json| check_issuer(&claims(json), "https://a/").map_err(|r| r.reason);
        assert_eq!(check(r#"{"iss":"https://a/"}"#), Ok(()));
        assert_eq!(check(r#"{"iss":"https:\/\/a\/"}"#), Ok(()));
        for json in [
            "{}",
            r#"{"iss":"https://a"}"#,
            r#"{"iss":"HTTPS://a/"}"#,
            r#"{"iss":""}"#,
        ] {
            assert_eq!(check(json), Err(Reason::WrongIssuer), "{json}");
        }
    }

    #[test]
    fn one_common_audience_is_enough() {
        let ours = Audiences::new(["api", "https://b.example/"]);
        let check = |json| ours.check(&claims(json)).map_err(|refusal| refusal.reason);
        for json in [
            r#"{"aud":"api"}"#,
            r#"{"aud":["x","api"]}"#,
            r#"{"aud":"https://api/"}"#,
            r#"{"aud":"b.example"}"#,
            r#"{"aud":["http://b.example"]}"#,
        ] {
            assert_eq!(check(json), Ok(()), "{json}");
        }
        for json in [
            "{}",
            r#"{"aud":[]}"#,
            r#"{"aud":""}"#,
            r#"{"aud":"API"}"#,
            r#"{"aud":"api//"}"#,
        ] {
            assert_eq!(check(json), Err(Reason::WrongAudience), "{json}");
        }
        assert_eq!(Audiences::default().check(&claims("{}")), Ok(()));
    }
}
