//! Shows what came of scenarios: to a person, to a program, to a CI server.

mod json;
mod junit;
mod pretty;

use std::collections::BTreeMap;

use super::runner::{FileRun, Verdict};
use crate::inspector::{Mask, Report};

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON document.
    Json,
    /// JUnit's XML, as CI servers read it.
    Junit,
    /// Text; its last line is the count alone.
    #[default]
    Pretty,
}

/// How many cases came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Carried out, and all was as it should be.
    pub passed: usize,
    /// Carried out, and something was not.
    pub failed: usize,
    /// Not carried out, for a reason that the scenario gives.
    pub skipped: usize,
}

impl Summary {
    /// Counts the cases.
    pub fn of(runs: &[FileRun]) -> Self {
        let mut summary = Self::default();
        for case in runs.iter().flat_map(|run| &run.cases) {
            match &case.verdict {
                Verdict::Skipped(_) => summary.skipped += 1,
                verdict if verdict.failed() => summary.failed += 1,
                Verdict::Ran(..) => summary.passed += 1,
            }
        }
        summary
    }
}

/// Writes a report.
pub fn render(format: Format, runs: &[FileRun]) -> String {
    match format {
        Format::Json => json::render(runs),
        Format::Junit => junit::render(runs),
        Format::Pretty => pretty::render(runs),
    }
}

/// Writes the inspector's page with the requests of our own host in it: one file that needs nothing
/// else. Empty unless [`RunOptions::report`](super::RunOptions::report) was asked for.
pub fn html(runs: &[FileRun], mask: Mask) -> String {
    let mut report = Report::default();
    let mut sources = BTreeMap::new();
    for run in runs {
        report.append(run.requests.clone());
        // It was read a moment ago; without it, the page has no scenario to copy.
        if let Ok(text) = std::fs::read_to_string(&run.path) {
            sources.insert(run.name.clone(), text);
        }
    }
    report.html(&sources, mask)
}

#[cfg(test)]
pub(super) mod sample {
    //! A report with one case of each kind.

    use std::time::Duration;

    use super::super::runner::{Case, Failure, FileRun, Verdict};

    pub(super) fn runs() -> Vec<FileRun> {
        let case = |title, verdict| Case {
            title,
            verdict,
            took: Duration::from_millis(1_234),
        };
        let failure = Failure {
            step: "step 2: GET /a?<b>&\"c\"".to_owned(),
            place: Some((9, 5)),
            causes: vec![
                "status: expected 200, got 429".to_owned(),
                "body: a\nb".to_owned(),
            ],
            trace: "> GET /a\n< 429\n".to_owned(),
        };
        vec![
            FileRun {
                path: "dir/a.yaml".into(),
                name: "limits & counts".to_owned(),
                cases: vec![
                    case("wasmtime", Verdict::Ran(Vec::new(), 0)),
                    case("envoy", Verdict::Ran(vec![failure], 3)),
                ],
                written: Vec::new(),
                requests: Default::default(),
            },
            FileRun {
                path: "dir/b.yaml".into(),
                name: "chooses".to_owned(),
                cases: vec![case(
                    "envoy",
                    Verdict::Skipped("it chooses a worker".to_owned()),
                )],
                written: Vec::new(),
                requests: Default::default(),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_case_counts_as_neither_passed_nor_failed() {
        let summary = Summary::of(&sample::runs());
        assert_eq!((summary.passed, summary.failed, summary.skipped), (1, 1, 1));
    }
}
