//! What tokens a request needs: a tree of requirements, evaluated as Envoy's jwt_authn does.

use crate::config::Config;
use crate::jose::refusal::{Reason, Refusal};

/// What tokens a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// All of these. The first one that fails is the reason.
    All(Vec<Self>),
    /// No token, or right ones.
    AllowMissing,
    /// Anything. Right tokens are handed on.
    AllowMissingOrFailed,
    /// Any of these.
    Any(Vec<Self>),
    /// Anything. Right tokens are handed on; if one isn't right, a header of this name says so.
    ExtractOnly(Option<String>),
    /// Nothing.
    Nothing,
    /// A right token, for what is asked of it: a position in the configuration's list.
    Token(usize),
}

/// What is asked of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The provider's position.
    pub provider: usize,
    /// Audiences in place of the provider's own, if there are any.
    pub audiences: Vec<String>,
}

/// What a request is asked for at a leaf of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// All its tokens, of whatever provider; none is as good.
    Every,
    /// The same, and the upstream is told if one isn't right.
    Reported,
    /// A token for what is asked.
    Token(usize),
}

/// Whether a requirement is met, and if not, why.
pub type Outcome = Result<(), Refusal>;

impl Requirement {
    /// Evaluates the tree from left to right, no further than is needed.
    ///
    /// `leaf` returns `None` for what can't be told yet; the evaluation then ends with `None` and is
    /// begun anew once it can.
    pub fn evaluate(&self, leaf: &mut impl FnMut(Leaf) -> Option<Outcome>) -> Option<Outcome> {
        match self {
            Self::All(all) => {
                for requirement in all {
                    let outcome = requirement.evaluate(leaf)?;
                    if outcome.is_err() {
                        return Some(outcome);
                    }
                }
                Some(Ok(()))
            }
            Self::AllowMissing => leaf(Leaf::Every),
            Self::AllowMissingOrFailed => leaf(Leaf::Every).map(|_| Ok(())),
            Self::Any(any) => evaluate_any(any, leaf),
            Self::ExtractOnly(_) => leaf(Leaf::Reported).map(|_| Ok(())),
            Self::Nothing => Some(Ok(())),
            Self::Token(ask) => leaf(Leaf::Token(*ask)),
        }
    }

    /// Returns whether tokens of a provider can meet it; of any, where none is named.
    pub(crate) fn asks_of(&self, config: &Config, provider: usize) -> bool {
        match self {
            Self::All(list) | Self::Any(list) => {
                list.iter().any(|inner| inner.asks_of(config, provider))
            }
            Self::Token(ask) => {
                let ask = config.asks.get(*ask);
                ask.is_some_and(|ask| ask.provider == provider)
            }
            Self::AllowMissing | Self::AllowMissingOrFailed | Self::ExtractOnly(_) => true,
            Self::Nothing => false,
        }
    }

    /// Returns the headers that say that a token isn't right.
    pub(crate) fn status_headers(&self) -> Vec<&str> {
        match self {
            Self::All(list) | Self::Any(list) => {
                list.iter().flat_map(Self::status_headers).collect()
            }
            Self::ExtractOnly(Some(name)) => vec![name],
            _ => Vec::new(),
        }
    }
}

fn evaluate_any(
    any: &[Requirement],
    leaf: &mut impl FnMut(Leaf) -> Option<Outcome>,
) -> Option<Outcome> {
    let may_fail = any.contains(&Requirement::AllowMissingOrFailed);
    let may_be_missing = any.contains(&Requirement::AllowMissing);
    let is_optional = |r: &&Requirement| {
        matches!(
            r,
            Requirement::AllowMissing | Requirement::AllowMissingOrFailed
        )
    };
    let mut regular = any.iter().filter(|r| !is_optional(r)).peekable();
    if regular.peek().is_none() {
        let outcome = leaf(Leaf::Every)?;
        return Some(if may_fail { Ok(()) } else { outcome });
    }
    // No token is the weakest reason, one of another issuer the second weakest: with any other, the
    // client meant that provider.
    let mut worst = Reason::Missing.because("the request has no token");
    for requirement in regular {
        let Err(refusal) = requirement.evaluate(leaf)? else {
            return Some(Ok(()));
        };
        let is_other = matches!(
            refusal.reason,
            Reason::Missing | Reason::UnknownIssuer | Reason::WrongIssuer
        );
        if !is_other || worst.reason == Reason::Missing {
            worst = refusal;
        }
    }
    let allowed = may_fail || (may_be_missing && worst.reason == Reason::Missing);
    Some(if allowed { Ok(()) } else { Err(worst) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(reason: Reason) -> Outcome {
        Err(reason.because("test"))
    }

    fn outcome(requirement: &Requirement, leaves: &[Outcome]) -> Result<(), Reason> {
        let mut leaf = |leaf| {
            Some(match leaf {
                Leaf::Token(ask) => leaves[ask],
                _ => leaves[0],
            })
        };
        let outcome = requirement.evaluate(&mut leaf).unwrap();
        outcome.map_err(|refusal| refusal.reason)
    }

    #[test]
    fn any_prefers_the_reason_that_is_about_a_token_of_the_provider() {
        let any = Requirement::Any(vec![Requirement::Token(0), Requirement::Token(1)]);
        use Reason::{BadSignature, Expired, Missing, WrongIssuer};
        for (first, second, expected) in [
            (Missing, Missing, Missing),
            (Missing, WrongIssuer, WrongIssuer),
            (WrongIssuer, Missing, WrongIssuer),
            (WrongIssuer, Expired, Expired),
            (Expired, WrongIssuer, Expired),
            (Expired, Missing, Expired),
            (Expired, BadSignature, BadSignature),
        ] {
            let leaves = [refusal(first), refusal(second)];
            assert_eq!(
                outcome(&any, &leaves),
                Err(expected),
                "{first:?} {second:?}"
            );
        }
        assert_eq!(outcome(&any, &[refusal(Expired), Ok(())]), Ok(()));
    }

    #[test]
    fn optional_tokens_must_be_right_and_failed_ones_needn_t() {
        let missing = refusal(Reason::Missing);
        let other = refusal(Reason::WrongIssuer);
        let expired = refusal(Reason::Expired);
        let any = |last| Requirement::Any(vec![last, Requirement::Token(0)]);
        let optional = any(Requirement::AllowMissing);
        assert_eq!(outcome(&optional, &[missing]), Ok(()));
        assert_eq!(outcome(&optional, &[other]), Err(Reason::WrongIssuer));
        assert_eq!(outcome(&optional, &[expired]), Err(Reason::Expired));
        let lax = any(Requirement::AllowMissingOrFailed);
        assert_eq!(outcome(&lax, &[expired]), Ok(()));
        assert_eq!(
            outcome(&Requirement::AllowMissing, &[expired]),
            Err(Reason::Expired)
        );
        assert_eq!(
            outcome(&Requirement::AllowMissingOrFailed, &[expired]),
            Ok(())
        );
        assert_eq!(outcome(&Requirement::ExtractOnly(None), &[expired]), Ok(()));
    }

    #[test]
    fn nothing_is_asked_beyond_what_decides() {
        let tree = Requirement::All(vec![
            Requirement::Any(vec![Requirement::Token(0), Requirement::Token(1)]),
            Requirement::Token(2),
            Requirement::Token(3),
        ]);
        let mut asked = Vec::new();
        let outcome = tree.evaluate(&mut |leaf| {
            asked.push(leaf);
            Some(match leaf {
                Leaf::Token(2) => refusal(Reason::Expired),
                _ => Ok(()),
            })
        });
        assert_eq!(outcome, Some(refusal(Reason::Expired)));
        assert_eq!(asked, [Leaf::Token(0), Leaf::Token(2)]);
    }

    #[test]
    fn what_cannot_be_told_yet_is_not_guessed() {
        let any = Requirement::Any(vec![
            Requirement::Token(0),
            Requirement::AllowMissingOrFailed,
        ]);
        assert_eq!(any.evaluate(&mut |_| None), None);
    }

    fn trees() -> impl Strategy<Value = Requirement> {
        let leaf = prop_oneof![
            (0..4_usize).prop_map(Requirement::Token),
            Just(Requirement::Nothing),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let list = prop::collection::vec(inner, 1..4);
            prop_oneof![
                list.clone().prop_map(Requirement::All),
                list.prop_map(Requirement::Any)
            ]
        })
    }

    fn naive(tree: &Requirement, right: &[bool]) -> bool {
        match tree {
            Requirement::All(all) => all.iter().all(|tree| naive(tree, right)),
            Requirement::Any(any) => any.iter().any(|tree| naive(tree, right)),
            Requirement::Token(ask) => right[*ask],
            _ => true,
        }
    }

    proptest! {
        #[test]
        fn a_tree_of_tokens_is_a_formula(
            tree in trees(),
            right in prop::collection::vec(any::<bool>(), 4),
        ) {
            let leaves: Vec<_> = right
                .iter()
                .map(|right| if *right { Ok(()) } else { refusal(Reason::Expired) })
                .collect();
            prop_assert_eq!(outcome(&tree, &leaves).is_ok(), naive(&tree, &right));
        }
    }
}
