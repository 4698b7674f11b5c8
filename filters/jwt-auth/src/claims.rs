//! What a token must claim: conditions on claims, and scopes.

use crate::jose::claims::Claims;
use crate::jose::json::{Kind, Value};

/// A condition on what a token claims.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// All of these hold.
    All(Vec<Condition>),
    /// Any of these holds.
    Any(Vec<Condition>),
    /// The claim at this path is so.
    Claim(Vec<String>, Test),
    /// This doesn't hold.
    Not(Box<Condition>),
}

/// A condition on the value of a claim. All but [`Test::Exists`] fail for one that isn't there.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It is a list with this item, or a text with this as a word.
    Contains(Scalar),
    /// It is there, or isn't.
    Exists(bool),
    /// It is one of these.
    OneOf(Vec<Scalar>),
    /// It is a text that starts so, or a list of which an item does.
    Prefix(String),
    /// It is a number between these, both included.
    Range {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
}

/// A text, a number or a truth value.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text, or a number as it is written.
    Text(String),
}

impl Condition {
    /// Whether claims are as the condition says.
    pub fn holds(&self, claims: &Claims) -> bool {
        match self {
            Self::All(all) => all.iter().all(|condition| condition.holds(claims)),
            Self::Any(any) => any.iter().any(|condition| condition.holds(claims)),
            Self::Claim(path, test) => test.holds(at(claims, path)),
            Self::Not(condition) => !condition.holds(claims),
        }
    }
}

impl Test {
    fn holds(&self, claim: Option<Value<'_>>) -> bool {
        let Some(value) = claim else {
            return *self == Self::Exists(false);
        };
        match self {
            Self::Contains(scalar) => match (value.string(), scalar) {
                (Some(text), Scalar::Text(word)) => text.split(' ').any(|other| other == word),
                _ => value.items().any(|item| scalar.is(item)),
            },
            Self::Exists(exists) => *exists,
            Self::OneOf(list) => list.iter().any(|scalar| scalar.is(value)),
            Self::Prefix(prefix) => {
                let starts = |value: Value<'_>| {
                    let text = value.string();
                    text.is_some_and(|text| text.starts_with(&**prefix))
                };
                starts(value) || value.items().any(starts)
            }
            Self::Range { min, max } => {
                number(value).is_some_and(|number| (*min..=*max).contains(&number))
            }
        }
    }
}

impl Scalar {
    fn is(&self, value: Value<'_>) -> bool {
        match (self, value.kind()) {
            (Self::Bool(expected), Kind::Bool) => value.bool() == Some(*expected),
            (Self::Number(expected), Kind::Number) => number(value) == Some(*expected),
            (Self::Text(expected), Kind::String) => value.string().as_deref() == Some(expected),
            // Forms of configuration that have no numbers have them as text.
            (Self::Text(expected), Kind::Number) => value.raw() == expected,
            _ => false,
        }
    }
}

fn number(value: Value<'_>) -> Option<f64> {
    value.number()?.parse().ok()
}

/// Returns the claim at a path of names.
pub(crate) fn at<'c>(claims: &'c Claims, path: &[String]) -> Option<Value<'c>> {
    let mut value = claims.root();
    for name in path {
        value = value.get(name)?;
    }
    Some(value)
}

/// Returns the first of the scopes asked for that a token lacks.
///
/// Its own are the words of `scope` (RFC 8693 section 4.2), or of `scp`; either may be a list.
pub fn missing_scope<'s>(claims: &Claims, asked: &'s [String]) -> Option<&'s str> {
    let has = |wanted: &str| {
        let claims = ["scope", "scp"]
            .into_iter()
            .filter_map(|name| claims.get(name));
        let mut values = claims.flat_map(|value| std::iter::once(value).chain(value.items()));
        values.any(|value| {
            let words = value.string();
            words.is_some_and(|words| words.split(' ').any(|word| word == wanted))
        })
    };
    asked.iter().map(String::as_str).find(|scope| !has(scope))
}
