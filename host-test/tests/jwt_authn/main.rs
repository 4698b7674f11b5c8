//! jwt-auth beside Envoy's own jwt_authn: the same configurations and the same tokens, ours as a
//! module in our host and theirs in the real Envoy.
//!
//! `cases` is the table. What a case expects is what the native filter does, and the test fails if
//! it does not; where ours decides otherwise on purpose, the case says what it answers and why.

mod cases;
#[path = "../common/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
#[path = "../filters/module.rs"]
mod module;
mod native;
mod ours;
#[path = "../common/process.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod process;
#[path = "../common/real_envoy.rs"]
mod real_envoy;
mod requests;
mod token;
#[path = "../common/upstream.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use requests::{Outcome, Request};

/// A configuration and what is asked of it.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// The message `JwtAuthentication` as JSON, without `@type`.
    pub(crate) config: Value,
    pub(crate) cases: Vec<Case>,
}

/// A request and who lets it through.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) request: Request,
    /// The native filter's status.
    pub(crate) native: u16,
    /// Our status where it is another one, and the reason.
    pub(crate) ours: Option<(u16, &'static str)>,
}

/// What the cases say against what was seen; a line for each contradiction.
fn contradictions(groups: &[Group], native: &[Vec<Outcome>], ours: &[Vec<Outcome>]) -> Vec<String> {
    let mut found = Vec::new();
    for ((group, native), ours) in groups.iter().zip(native).zip(ours) {
        for ((case, native), ours) in group.cases.iter().zip(native).zip(ours) {
            let mut say =
                |text: String| found.push(format!("{} / {}: {text}", group.name, case.name));
            if native.status != case.native {
                say(format!(
                    "native answers {native:?}, the table says {}",
                    case.native
                ));
            }
            let expected = case.ours.map_or(case.native, |(status, _)| status);
            if ours.status != expected {
                say(format!("ours answers {ours:?}, the table says {expected}"));
            } else if case.ours.is_none() && ours.upstream != native.upstream {
                say(format!(
                    "the upstream sees {:?} with ours, {:?} with the native filter",
                    ours.upstream, native.upstream
                ));
            }
        }
    }
    found
}

fn expect_none(contradictions: &[String]) {
    let mut text = String::new();
    for line in contradictions {
        let _ = writeln!(text, "- {line}");
    }
    assert!(
        contradictions.is_empty(),
        "{} contradictions:\n{text}",
        contradictions.len()
    );
}

#[test]
fn the_native_filter_and_ours_decide_alike_but_where_the_table_says_why_not() {
    let groups = cases::groups();
    let ours: Vec<_> = groups.iter().map(ours::run).collect();
    let native = match real_envoy::real_envoy() {
        Some(envoy) => native::run(envoy, &groups),
        // Without Envoy the table stands for it.
        None => groups
            .iter()
            .zip(&ours)
            .map(|(group, ours)| assumed(group, ours))
            .collect(),
    };
    expect_none(&contradictions(&groups, &native, &ours));
}

/// The native outcomes as the table has them.
fn assumed(group: &Group, ours: &[Outcome]) -> Vec<Outcome> {
    let outcomes = group.cases.iter().zip(ours).map(|(case, ours)| Outcome {
        status: case.native,
        upstream: ours.upstream.clone(),
    });
    outcomes.collect()
}

#[test]
fn the_table_has_sixty_cases_that_agree_and_names_each_once() {
    let groups = cases::groups();
    let cases = || groups.iter().flat_map(|group| &group.cases);
    let agreeing = cases().filter(|case| case.ours.is_none()).count();
    assert!(agreeing >= 60, "{agreeing} cases");
    let mut seen = BTreeSet::new();
    for group in &groups {
        for case in &group.cases {
            assert!(seen.insert((group.name, case.name)), "{} twice", case.name);
        }
    }
    let reasons: BTreeMap<_, _> = cases()
        .filter_map(|case| case.ours.map(|(status, why)| (why, status)))
        .collect();
    assert!(reasons.keys().all(|why| why.len() > 20), "{reasons:?}");
}
