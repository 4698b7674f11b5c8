//! A set of keys, and which of them a token may be signed with.

use std::fmt;

use super::jwk::{self, Unusable};
use crate::algorithm::Algorithm;
use crate::header::Header;
use crate::json::{Document, Flaw, Kind};
use crate::refusal::{Reason, Refusal};
use crate::verify::Key;

/// Keys that a token without `kid` is tried with; checking all of a large set would let any sender
/// buy its price with one request.
const MAX_TRIED: usize = 16;

/// The usable keys of a JWK set.
#[derive(Debug, Default)]
pub struct KeySet {
    /// By `kid`, keys without one first; among equal ones in the order of the set.
    keys: Vec<Key>,
    skipped: Vec<Skipped>,
    /// Algorithms that the keys are used with, if not with all that fit.
    only: Option<Vec<Algorithm>>,
}

/// A key of the set that isn't used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its position in the set.
    pub index: usize,
    /// Why.
    pub cause: Unusable,
}

/// Why a document is no JWK set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidSet {
    /// It isn't strict JSON.
    Json(Flaw),
    /// It isn't an object with a list `keys`.
    Shape,
}

impl KeySet {
    /// Reads a JWK set that is part of the configuration. White space within a string is no mistake in
    /// it: long numbers are folded in configurations, also in Envoy's documentation. Keys that can't be used are left out and told by [`KeySet::skipped`]: a set
    /// may have keys for others (RFC 7517 section 5).
    ///
    /// # Errors
    ///
    /// For a document that isn't a JWK set at all. A set in which no key can be used is one.
    pub fn read(json: Vec<u8>) -> Result<Self, InvalidSet> {
        Self::read_with(json, Ok)
    }

    /// Reads a JWK set from elsewhere, in which secrets are left out too.
    ///
    /// # Errors
    ///
    /// As [`KeySet::read`].
    pub fn read_remote(json: Vec<u8>) -> Result<Self, InvalidSet> {
        Self::read_with(json, |key| {
            let cause = Unusable::Secret;
            if key.is_secret() { Err(cause) } else { Ok(key) }
        })
    }

    /// Has the keys used with these algorithms alone.
    pub fn limit_to(&mut self, algorithms: &[Algorithm]) {
        self.only = Some(algorithms.to_vec());
    }

    /// Returns the number of usable keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the keys that were left out, in the order of the set.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Returns the usable keys.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// Returns the keys that a token of this header may be signed with: those with its `kid`, and
    /// those without one; any if the token has none. At most 16, and all fit its algorithm.
    ///
    /// # Errors
    ///
    /// If there are none: [`Reason::AlgNotAllowed`] if the set is for other algorithms,
    /// [`Reason::KeyMismatch`] if the key that the token names is for other
    /// algorithms, [`Reason::UnknownKey`] otherwise, upon which a fetch of the set may help.
    pub fn candidates(&self, header: &Header) -> Result<Candidates<'_>, Refusal> {
        let is_allowed = |only: &Vec<Algorithm>| only.contains(&header.alg);
        if !self.only.as_ref().is_none_or(is_allowed) {
            let detail = "the issuer doesn't sign with the token's algorithm (`alg`)";
            return Err(Reason::AlgNotAllowed.because(detail));
        }
        let Some(kid) = header.kid.as_deref() else {
            let all = Candidates::new(&self.keys, &[], header.alg);
            let detail = "the set has no key for the token's algorithm";
            return all.ok_or_else(|| Reason::UnknownKey.because(detail));
        };
        let (nameless, named) = self.ranges(kid);
        if let Some(candidates) = Candidates::new(named, nameless, header.alg) {
            return Ok(candidates);
        }
        Err(if named.is_empty() {
            Reason::UnknownKey.because("the set has no key with the token's `kid`")
        } else {
            Reason::KeyMismatch.because("the token's `kid` is that of a key for other algorithms")
        })
    }

    fn read_with(
        json: Vec<u8>,
        admit: impl Fn(Key) -> Result<Key, Unusable>,
    ) -> Result<Self, InvalidSet> {
        let document = Document::read_with_controls(json).map_err(InvalidSet::Json)?;
        let list = document.root().get("keys");
        let list = list.filter(|list| list.kind() == Kind::Array);
        let list = list.ok_or(InvalidSet::Shape)?;
        let mut set = Self::default();
        for (index, jwk) in list.items().enumerate() {
            match jwk::read(jwk).and_then(&admit) {
                Ok(key) => set.keys.push(key),
                Err(cause) => set.skipped.push(Skipped { index, cause }),
            }
        }
        // Stable: keys of one name are tried in their order.
        set.keys.sort_by(|a, b| a.kid().cmp(&b.kid()));
        Ok(set)
    }

    /// Returns the keys without `kid` and those with this one.
    fn ranges(&self, kid: &str) -> (&[Key], &[Key]) {
        let nameless = self.keys.partition_point(|key| key.kid().is_none());
        let from = self.keys.partition_point(|key| key.kid() < Some(kid));
        let to = self.keys.partition_point(|key| key.kid() <= Some(kid));
        (
            self.keys.get(..nameless).unwrap_or_default(),
            self.keys.get(from..to).unwrap_or_default(),
        )
    }
}

/// Keys to try, best first.
#[derive(Clone, Debug)]
pub struct Candidates<'k> {
    first: &'k [Key],
    then: &'k [Key],
    alg: Algorithm,
    left: usize,
}

impl<'k> Candidates<'k> {
    /// Returns `None` if no key fits the algorithm.
    fn new(first: &'k [Key], then: &'k [Key], alg: Algorithm) -> Option<Self> {
        let all = Self {
            first,
            then,
            alg,
            left: MAX_TRIED,
        };
        all.clone().next().map(|_| all)
    }
}

impl<'k> Iterator for Candidates<'k> {
    type Item = &'k Key;

    fn next(&mut self) -> Option<&'k Key> {
        self.left = self.left.checked_sub(1)?;
        loop {
            let keys = if self.first.is_empty() {
                &mut self.then
            } else {
                &mut self.first
            };
            let key = keys.split_off_first()?;
            if key.fits(self.alg) {
                return Some(key);
            }
        }
    }
}

impl fmt::Display for InvalidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(flaw) => write!(f, "the JWK set isn't strict JSON: {flaw}"),
            Self::Shape => f.write_str("the JWK set isn't an object with a list `keys`"),
        }
    }
}
