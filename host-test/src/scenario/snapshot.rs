//! Snapshots: what a scenario saw, kept in a file that later runs are held against.
//!
//! There are two kinds. `NAME.snapshot` holds what every host observes: requests and answers,
//! callouts, details, filter state that the scenario names, metrics and log lines. What two
//! processes can't have in common is left out, as between two hosts, so the file is the same for
//! both. `NAME.trace` holds the callbacks and hostcalls of our own host, without times and
//! instructions; it is the same for every seed that guests don't ask for, but not for another build
//! of a module that makes other calls. Both lie in `snapshots` beside the scenario. They are written
//! by `--update` and by nothing else.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::backend::Exchange;
use super::load::ScenarioFile;
use super::model::HostKind;
use super::parity::{comparable, is_uncompared};
use super::runner::Failure;
use super::trace;
use super::walk::{Observed, Run, Seen};

/// Around a difference so many equal lines are shown.
const AROUND: usize = 3;

/// Of a difference no more lines are shown.
const SHOWN: usize = 40;

/// Holds a run against its snapshots, or writes them: the files that were written, and what is
/// wrong.
pub(super) fn check(
    file: &ScenarioFile,
    host: HostKind,
    run: &Run,
    update: bool,
) -> (Vec<PathBuf>, Vec<Failure>) {
    let (mut written, mut failures) = (Vec::new(), Vec::new());
    let scenario = &file.scenario;
    let mut texts = Vec::new();
    if scenario.snapshot {
        texts.push(("snapshot", observations(file, run)));
    }
    if scenario.trace && host == HostKind::Wasmtime {
        texts.push(("trace", run.trace.clone()));
    }
    for (kind, text) in texts {
        let path = path(&file.path, kind);
        match std::fs::read_to_string(&path) {
            Ok(kept) if kept == text => {}
            // Only our own host writes: what Envoy sees has to be the same.
            _ if update && host == HostKind::Wasmtime => match write(&path, &text) {
                Ok(()) => written.push(path),
                Err(error) => failures.push(failure(format!(
                    "{} can't be written: {error}",
                    path.display()
                ))),
            },
            Ok(kept) => failures.push(Failure {
                trace: difference(&kept, &text),
                ..failure(format!(
                    "what was seen is not what {} holds; if it should be, accept it with \
                     `host-test run --update {}`",
                    path.display(),
                    file.path.display()
                ))
            }),
            Err(_) => failures.push(failure(format!(
                "there is no {}; write it with `host-test run --update {}`",
                path.display(),
                file.path.display()
            ))),
        }
    }
    (written, failures)
}

fn failure(cause: String) -> Failure {
    Failure {
        step: "snapshot".to_owned(),
        place: None,
        causes: vec![cause],
        trace: String::new(),
    }
}

/// `snapshots/NAME.KIND` beside the scenario.
fn path(scenario: &Path, kind: &str) -> PathBuf {
    let folder = scenario.parent().unwrap_or_else(|| Path::new("."));
    let stem = scenario.file_stem().unwrap_or_default();
    folder
        .join("snapshots")
        .join(stem)
        .with_added_extension(kind)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}

/// What a run saw, as every host sees it.
fn observations(file: &ScenarioFile, run: &Run) -> String {
    let watched = file.scenario.watched_filter_state();
    let mut out = String::new();
    for Observed { step, seen, .. } in &run.observed {
        let body = match seen {
            Seen::Exchange(request, exchange) => {
                trace::render(request, &comparable_exchange(exchange, &watched))
            }
            Seen::Logs(lines) => {
                let mut lines: Vec<String> = lines.iter().map(comparable).collect();
                lines.sort();
                lines.iter().map(|line| format!("{line}\n")).collect()
            }
            Seen::Metrics(metrics) => metrics.iter().fold(String::new(), |mut out, (name, n)| {
                let _ = writeln!(out, "{name}: {n}");
                out
            }),
            Seen::SharedData(entries) => format!("{} keys\n", entries.len()),
            Seen::Answer(waited) => format!("{waited}\n"),
            Seen::Callouts(callouts) => callouts.iter().map(trace::callout_lines).collect(),
        };
        if !body.is_empty() {
            let _ = writeln!(out, "{step}: {}", seen.kind());
            for line in body.lines() {
                let _ = writeln!(out, "{}", format!("  {line}").trim_end());
            }
        }
    }
    out
}

/// An exchange without what two processes can't have in common.
fn comparable_exchange(exchange: &Exchange, watched: &BTreeSet<&str>) -> Exchange {
    let mut exchange = exchange.clone();
    exchange
        .filter_state
        .retain(|key, _| watched.contains(key.as_str()));
    // Lines of several workers have no common order; they are looked at in the end.
    exchange.logs.clear();
    let answer = exchange.answer.iter_mut().map(|answer| &mut answer.headers);
    let upstream = exchange.upstream.iter_mut().map(|got| &mut got.headers);
    let callouts = exchange.callouts.iter_mut().map(|got| &mut got.headers);
    for headers in answer.chain(upstream).chain(callouts) {
        // Pseudo-headers have no order on the wire.
        let is_pseudo = |name: &[u8]| name.starts_with(b":");
        let mut pseudo: Vec<_> = headers.iter().filter(|(name, _)| is_pseudo(name)).collect();
        pseudo.sort_unstable();
        let others = headers
            .iter()
            .filter(|(name, _)| !is_pseudo(name) && !is_uncompared(name));
        *headers = pseudo.into_iter().chain(others).collect();
    }
    exchange
}

/// The lines that differ with some around, `-` for what was kept and `+` for what came.
fn difference(kept: &str, came: &str) -> String {
    let (kept, came): (Vec<&str>, Vec<&str>) = (kept.lines().collect(), came.lines().collect());
    let mut lines: Vec<(char, &str)> = Vec::new();
    let (mut a, mut b) = (0, 0);
    while a < kept.len() || b < came.len() {
        if kept.get(a) == came.get(b) {
            lines.push((' ', kept[a]));
            (a, b) = (a + 1, b + 1);
            continue;
        }
        // The nearest place at which both go on alike.
        let (skip_a, skip_b) = meeting(&kept[a..], &came[b..]);
        lines.extend(kept[a..a + skip_a].iter().map(|line| ('-', *line)));
        lines.extend(came[b..b + skip_b].iter().map(|line| ('+', *line)));
        (a, b) = (a + skip_a, b + skip_b);
    }
    let changed: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].0 != ' ').collect();
    let near = |at: usize| changed.iter().any(|&one| one.abs_diff(at) <= AROUND);
    let mut out = String::new();
    let mut shown = 0;
    let mut gap = false;
    for (at, (mark, line)) in lines.iter().enumerate() {
        if !near(at) {
            gap = true;
            continue;
        }
        if std::mem::take(&mut gap) {
            out.push_str("…\n");
        }
        if shown == SHOWN {
            out.push_str("… and more\n");
            break;
        }
        shown += 1;
        let _ = writeln!(out, "{mark} {line}");
    }
    out
}

/// How many lines of each to skip until they meet again.
fn meeting(a: &[&str], b: &[&str]) -> (usize, usize) {
    for sum in 1..a.len() + b.len() {
        for skip_a in 0..=sum.min(a.len()) {
            let skip_b = sum - skip_a;
            if skip_b <= b.len() && a.get(skip_a).is_some() && a.get(skip_a) == b.get(skip_b) {
                return (skip_a, skip_b);
            }
        }
    }
    (a.len(), b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_what_was_kept_what_came_and_what_is_around() {
        let kept = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let came = "1\n2\n3\n4\nfive\n6\n8\n9\n10\n";
        assert_eq!(
            difference(kept, came),
            "…\n  2\n  3\n  4\n- 5\n+ five\n  6\n- 7\n  8\n  9\n+ 10\n"
        );
        assert_eq!(difference("", "a\n"), "+ a\n");
        assert_eq!(difference("a\n", "a\n"), "…\n".replace("…\n", ""));
    }

    #[test]
    fn a_snapshot_lies_in_a_folder_beside_its_scenario() {
        assert_eq!(
            path(Path::new("dir/a.b.yaml"), "trace"),
            Path::new("dir/snapshots/a.b.trace")
        );
    }
}
