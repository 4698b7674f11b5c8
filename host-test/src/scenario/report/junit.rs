//! The report for a CI server: JUnit's XML, a suite per file.

use std::fmt::Write as _;

use crate::scenario::runner::{Case, Failure, FileRun, Verdict};

use super::Summary;

pub(super) fn render(runs: &[FileRun]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"host-test\" {}>", counts(runs));
    // A plugin-tester suite has a run for each of its tests.
    for file in runs.chunk_by(|a, b| a.path == b.path) {
        let path = escaped(&file[0].path.to_string_lossy());
        let counts = counts(file);
        let _ = writeln!(out, "  <testsuite name=\"{path}\" {counts}>");
        for run in file {
            for case in &run.cases {
                put_case(&mut out, run, case);
            }
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn counts(runs: &[FileRun]) -> String {
    let summary = Summary::of(runs);
    let seconds: f64 = runs
        .iter()
        .flat_map(|run| &run.cases)
        .map(|case| case.took.as_secs_f64())
        .sum();
    format!(
        "tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{seconds:.3}\"",
        summary.passed + summary.failed + summary.skipped,
        summary.failed,
        summary.skipped,
    )
}

fn put_case(out: &mut String, run: &FileRun, case: &Case) {
    let _ = write!(
        out,
        "    <testcase classname=\"{}\" name=\"{} ({})\" time=\"{:.3}\"",
        escaped(&run.path.to_string_lossy()),
        escaped(&run.name),
        case.title,
        case.took.as_secs_f64(),
    );
    match &case.verdict {
        Verdict::Ran(_, 0) => out.push_str("/>\n"),
        Verdict::Skipped(because) => {
            let because = escaped(because);
            let _ = writeln!(
                out,
                ">\n      <skipped message=\"{because}\"/>\n    </testcase>"
            );
        }
        Verdict::Ran(failures, _) => {
            out.push_str(">\n");
            for failure in failures {
                let message = escaped(failure.causes.first().map_or("", String::as_str));
                let _ = writeln!(
                    out,
                    "      <failure message=\"{message}\">{}</failure>",
                    escaped(&details(failure))
                );
            }
            out.push_str("    </testcase>\n");
        }
    }
}

fn details(failure: &Failure) -> String {
    let mut text = failure.step.clone();
    if let Some((line, column)) = failure.place {
        let _ = write!(text, " (line {line}, column {column})");
    }
    for cause in &failure.causes {
        let _ = write!(text, "\n{cause}");
    }
    let _ = write!(text, "\n{}", failure.trace);
    text
}

/// Text for XML. What XML can't hold at all, control characters above all, becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn it_is_xml_with_a_case_for_each_host() {
        let mut runs = sample::runs();
        runs[1].name = "odd \u{0}\u{1b}[0m ]]> 'name'".to_owned();
        let text = render(&runs);
        let document = roxmltree::Document::parse(&text).unwrap();
        let suites = document.root_element();
        assert_eq!(suites.attribute("tests"), Some("3"));
        assert_eq!(suites.attribute("failures"), Some("1"));
        assert_eq!(suites.attribute("skipped"), Some("1"));

        let cases: Vec<_> = document
            .descendants()
            .filter(|node| node.has_tag_name("testcase"))
            .collect();
        let names: Vec<_> = cases
            .iter()
            .map(|case| case.attribute("name").unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "limits & counts (wasmtime)",
                "limits & counts (envoy)",
                "odd \u{fffd}\u{fffd}[0m ]]> 'name' (envoy)",
            ]
        );
        let failure = cases[1].first_element_child().unwrap();
        assert_eq!(
            failure.attribute("message"),
            Some("status: expected 200, got 429")
        );
        assert!(
            failure
                .text()
                .unwrap()
                .contains("step 2: GET /a?<b>&\"c\" (line 9, column 5)")
        );
        assert!(cases[0].first_element_child().is_none());
    }
}
