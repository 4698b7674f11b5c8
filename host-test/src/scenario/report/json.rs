//! The report for a program.

use serde_json::{Value, json};

use crate::scenario::runner::{Case, FileRun, Verdict};

use super::Summary;

pub(super) fn render(runs: &[FileRun]) -> String {
    let summary = Summary::of(runs);
    let report = json!({
        "passed": summary.passed,
        "failed": summary.failed,
        "skipped": summary.skipped,
        "scenarios": runs.iter().map(scenario).collect::<Vec<_>>(),
    });
    format!("{report:#}\n")
}

fn scenario(run: &FileRun) -> Value {
    json!({
        "file": run.path.to_string_lossy(),
        "name": run.name,
        "written": run.written.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
        "cases": run.cases.iter().map(case).collect::<Vec<_>>(),
    })
}

fn case(case: &Case) -> Value {
    let mut value = json!({
        "host": case.title,
        "milliseconds": u64::try_from(case.took.as_millis()).unwrap_or(u64::MAX),
    });
    match &case.verdict {
        Verdict::Skipped(because) => {
            value["outcome"] = "skipped".into();
            value["because"] = because.as_str().into();
        }
        Verdict::Ran(_, 0) => value["outcome"] = "passed".into(),
        Verdict::Ran(failures, count) => {
            value["outcome"] = "failed".into();
            value["failure_count"] = (*count).into();
            let failures = failures.iter().map(|failure| {
                json!({
                    "step": failure.step,
                    "line": failure.place.map(|(line, _)| line),
                    "column": failure.place.map(|(_, column)| column),
                    "causes": failure.causes,
                    "trace": failure.trace,
                })
            });
            value["failures"] = failures.collect();
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn each_case_has_its_outcome_and_its_failures() {
        let report: Value = serde_json::from_str(&render(&sample::runs())).unwrap();
        assert_eq!(report["passed"], 1);
        assert_eq!(report["scenarios"][1]["cases"][0]["outcome"], "skipped");
        let failed = &report["scenarios"][0]["cases"][1];
        assert_eq!(failed["outcome"], "failed");
        assert_eq!(failed["failure_count"], 3);
        assert_eq!(failed["failures"][0]["line"], 9);
        assert_eq!(
            failed["failures"][0]["causes"][0],
            "status: expected 200, got 429"
        );
    }
}
