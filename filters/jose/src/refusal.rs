//! Why a request is refused, by a word that never changes and a sentence for people.
//!
//! The words are in metrics, response details and access logs, and dashboards are built on them:
//! one may be added, none renamed. The sentences may change.

use std::fmt;

/// A reason to refuse a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The token's algorithm isn't one that the provider allows.
    AlgNotAllowed,
    /// No key of the set made this signature.
    BadSignature,
    /// A claim isn't what a rule asks for.
    ClaimDenied,
    /// Tokens were found in two places, or twice in one.
    DuplicateToken,
    /// `exp` has passed.
    Expired,
    /// The introspection endpoint says that the token isn't active.
    Inactive,
    /// The token lacks a scope that a rule asks for.
    InsufficientScope,
    /// The introspection endpoint can't be asked.
    IntrospectionUnavailable,
    /// `iat` is in the future.
    IssuedInFuture,
    /// The provider's keys can't be had.
    JwksUnavailable,
    /// The key that the token names can't be used with the token's algorithm.
    KeyMismatch,
    /// The token is valid for longer than the provider allows.
    LifetimeTooLong,
    /// Not a token, or one whose parts aren't what the standards say.
    Malformed,
    /// The request has no token.
    Missing,
    /// The token has no `exp` and the provider asks for one.
    MissingExpiration,
    /// `nbf` has not come yet.
    NotYetValid,
    /// The proof that the sender has the token's key is missing or wrong (DPoP, mTLS).
    ProofFailed,
    /// The list of revoked tokens can't be had.
    RevocationsUnavailable,
    /// The token or its subject was revoked.
    Revoked,
    /// The token is longer than `max_token_bytes`.
    TooLarge,
    /// The token's issuer isn't that of any provider.
    UnknownIssuer,
    /// No key of the set has the token's `kid`, or none fits it.
    UnknownKey,
    /// `alg` is `none` or a name that isn't known.
    UnsupportedAlg,
    /// The header has a `crit` or `b64` that has to be understood and isn't.
    UnsupportedCrit,
    /// `aud` names none of the provider's audiences.
    WrongAudience,
    /// `iss` isn't the provider's.
    WrongIssuer,
    /// `sub` isn't one that the provider allows.
    WrongSubject,
    /// `typ` or `cty` isn't that of the tokens asked for.
    WrongType,
}

impl Reason {
    /// All reasons, in the order of their words.
    pub const ALL: [Self; 28] = [
        Self::AlgNotAllowed,
        Self::BadSignature,
        Self::ClaimDenied,
        Self::DuplicateToken,
        Self::Expired,
        Self::Inactive,
        Self::InsufficientScope,
        Self::IntrospectionUnavailable,
        Self::IssuedInFuture,
        Self::JwksUnavailable,
        Self::KeyMismatch,
        Self::LifetimeTooLong,
        Self::Malformed,
        Self::Missing,
        Self::MissingExpiration,
        Self::NotYetValid,
        Self::ProofFailed,
        Self::RevocationsUnavailable,
        Self::Revoked,
        Self::TooLarge,
        Self::UnknownIssuer,
        Self::UnknownKey,
        Self::UnsupportedAlg,
        Self::UnsupportedCrit,
        Self::WrongAudience,
        Self::WrongIssuer,
        Self::WrongSubject,
        Self::WrongType,
    ];

    /// Returns the word in metrics, response details and logs.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::AlgNotAllowed => "alg_not_allowed",
            Self::BadSignature => "bad_signature",
            Self::ClaimDenied => "claim_denied",
            Self::DuplicateToken => "duplicate_token",
            Self::Expired => "expired",
            Self::Inactive => "inactive",
            Self::InsufficientScope => "insufficient_scope",
            Self::IntrospectionUnavailable => "introspection_unavailable",
            Self::IssuedInFuture => "issued_in_future",
            Self::JwksUnavailable => "jwks_unavailable",
            Self::KeyMismatch => "key_mismatch",
            Self::LifetimeTooLong => "lifetime_too_long",
            Self::Malformed => "malformed",
            Self::Missing => "missing",
            Self::MissingExpiration => "missing_expiration",
            Self::NotYetValid => "not_yet_valid",
            Self::ProofFailed => "proof_failed",
            Self::RevocationsUnavailable => "revocations_unavailable",
            Self::Revoked => "revoked",
            Self::TooLarge => "too_large",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownKey => "unknown_key",
            Self::UnsupportedAlg => "unsupported_alg",
            Self::UnsupportedCrit => "unsupported_crit",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongSubject => "wrong_subject",
            Self::WrongType => "wrong_type",
        }
    }

    /// Makes a refusal with a sentence that says what exactly is wrong.
    pub const fn because(self, detail: &'static str) -> Refusal {
        Refusal {
            reason: self,
            detail,
        }
    }
}

/// A reason and what exactly is wrong, with nothing of the token in it: it may go into a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// A sentence without its full stop, for the developer who sent the token.
    pub detail: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.slug(), self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reasons_are_listed_once_in_the_order_of_their_words() {
        let words = Reason::ALL.map(Reason::slug);
        assert!(words.is_sorted_by(|a, b| a < b), "{words:?}");
        assert!(Reason::ALL.is_sorted());
    }

    #[test]
    fn words_fit_a_metric_name() {
        for word in Reason::ALL.map(Reason::slug) {
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
    }
}
