//! The report for a person.

use std::fmt::Write as _;
use std::path::Path;

use crate::scenario::runner::{Failure, FileRun, Verdict};

use super::Summary;

pub(super) fn render(runs: &[FileRun]) -> String {
    let mut out = String::new();
    for run in runs {
        let path = run.path.display();
        for written in &run.written {
            let _ = writeln!(out, "wrote {}", written.display());
        }
        for case in &run.cases {
            let name = &run.name;
            let title = case.title;
            let _ = match &case.verdict {
                Verdict::Skipped(because) => {
                    writeln!(out, "skip  {path} on {title}: {because}")
                }
                Verdict::Ran(_, 0) => {
                    let millis = case.took.as_millis();
                    writeln!(out, "ok    {path} on {title} ({millis} ms): {name}")
                }
                Verdict::Ran(..) => writeln!(out, "FAIL  {path} on {title}: {name}"),
            };
            if let Verdict::Ran(failures, count) = &case.verdict {
                for failure in failures {
                    put_failure(&mut out, &run.path, failure);
                }
                if *count > failures.len() {
                    let more = count - failures.len();
                    let _ = writeln!(out, "  … and {more} more like these");
                }
            }
        }
    }
    let Summary {
        passed,
        failed,
        skipped,
    } = Summary::of(runs);
    let _ = write!(out, "{passed} passed, {failed} failed");
    if skipped > 0 {
        let _ = write!(out, ", {skipped} skipped");
    }
    out.push('\n');
    out
}

fn put_failure(out: &mut String, path: &Path, failure: &Failure) {
    if let Some((line, column)) = failure.place {
        let _ = writeln!(
            out,
            "  {}:{line}:{column}: {}",
            path.display(),
            failure.step
        );
    } else if !failure.step.is_empty() {
        let _ = writeln!(out, "  {}", failure.step);
    }
    for cause in &failure.causes {
        let _ = writeln!(out, "    {cause}");
    }
    for line in failure.trace.lines() {
        let _ = writeln!(out, "      | {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn says_what_failed_where_and_ends_with_the_count() {
        let expected = "\
ok    dir/a.yaml on wasmtime (1234 ms): limits & counts
FAIL  dir/a.yaml on envoy: limits & counts
  dir/a.yaml:9:5: step 2: GET /a?<b>&\"c\"
    status: expected 200, got 429
    body: a
b
      | > GET /a
      | < 429
  … and 2 more like these
skip  dir/b.yaml on envoy: it chooses a worker
1 passed, 1 failed, 1 skipped
";
        assert_eq!(render(&sample::runs()), expected);
    }

    #[test]
    fn the_count_stands_alone_if_nothing_was_skipped() {
        let runs = &sample::runs()[..1];
        assert!(render(runs).ends_with("\n1 passed, 1 failed\n"));
    }
}
