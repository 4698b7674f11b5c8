//! Every signature vector of Project Wycheproof, through [`Key::check`].
//!
//! A vector that can't apply (a hash, salt, curve or key size that JOSE or our policy doesn't have)
//! isn't skipped: it must be refused, and is counted under the reason. The counts are asserted, so
//! that vectors which a new version of the crate adds or drops are noticed.

mod ecdsa;
mod eddsa;
mod hmac;
mod rsa;

use std::collections::BTreeMap;

use jwt_auth::jose::algorithm::Algorithm;
use jwt_auth::jose::verify::{Check, Key, Native};

/// What became of vectors, by kind.
#[derive(Debug, Default, PartialEq)]
struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn add(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        for (kind, count) in other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    fn total(&self) -> usize {
        self.0.values().sum()
    }

    fn assert(&self, expected: &[(&'static str, usize)]) {
        let expected: BTreeMap<_, _> = expected.iter().copied().collect();
        assert_eq!(self.0, expected);
    }
}

/// Checks without the host's help.
fn is_right(key: &Key, alg: Algorithm, text: &[u8], signature: &[u8]) -> bool {
    match key.check(alg, text, signature, Native::default()) {
        Check::Decided(is_right) => is_right,
        Check::Host(_) => panic!("there is no host"),
    }
}

const ALL_NATIVE: Native = Native {
    p256: true,
    p384: true,
    p521: true,
    rsa: true,
};
