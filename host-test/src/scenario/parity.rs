//! What two hosts observed of one scenario, compared.
//!
//! Everything counts: answer, upstream request, callouts, details, filter state, metrics and log lines,
//! whether an expectation names it or not. Left out is only what two processes can't have in
//! common, and [`UNCOMPARED`] is all of that.

use std::collections::BTreeSet;

use crate::headers::Headers;
use crate::host::Received;
use crate::worker::LogLine;

use super::backend::Exchange;
use super::expect::Mismatch;
use super::trace::{callout_lines, log_line, shown};
use super::walk::{Observed, Seen};

/// Headers that are not compared, and why. Where guests can see them they are there on both hosts.
pub const UNCOMPARED: &[(&str, &str)] = &[
    ("date", "the answer's moment on the host's own clock"),
    ("x-request-id", "drawn at random for each request"),
    (
        "x-envoy-upstream-service-time",
        "how long the upstream took",
    ),
    (
        "transfer-encoding",
        "framing of the one connection, not of the message",
    ),
    (
        "connection",
        "framing of the one connection, not of the message",
    ),
];

/// How far the report of a trap is compared: the words of two engines and their backtraces differ,
/// and Envoy does not name the plugin.
const TRAP: &str = " failed: ";

/// How two hosts' observations differ; `expected` is the first host's side. Of filter state only
/// the watched keys are compared: Envoy's access log has to be asked for each by name.
pub(super) fn differences(
    ours: &Observed,
    theirs: &Observed,
    watched: &BTreeSet<&str>,
) -> Vec<Mismatch> {
    let mut found = Vec::new();
    match (&ours.seen, &theirs.seen) {
        (Seen::Exchange(_, ours), Seen::Exchange(_, theirs)) => {
            exchanges(&mut found, ours, theirs, watched);
        }
        (Seen::Logs(ours), Seen::Logs(theirs)) => logs(&mut found, ours, theirs),
        (Seen::Answer(ours), Seen::Answer(theirs)) => {
            let side = |waited: bool| if waited { "waits" } else { "none waits" }.to_owned();
            differ(&mut found, "a callout", side(*ours), side(*theirs));
        }
        (Seen::Callouts(ours), Seen::Callouts(theirs)) => {
            // Workers have no order in common.
            let sorted = |callouts: &[Received]| {
                let mut callouts = callouts.to_vec();
                callouts.sort_by_cached_key(comparable_callout);
                callouts
            };
            callouts(&mut found, &sorted(ours), &sorted(theirs));
        }
        (Seen::Metrics(ours), Seen::Metrics(theirs)) => {
            let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
            for name in names {
                let side =
                    |value: Option<&u64>| value.map_or_else(|| "none".to_owned(), u64::to_string);
                let (ours, theirs) = (side(ours.get(name)), side(theirs.get(name)));
                differ(&mut found, &format!("metric {name}"), ours, theirs);
            }
        }
        _ => differ(
            &mut found,
            "step",
            ours.seen.kind().to_owned(),
            theirs.seen.kind().to_owned(),
        ),
    }
    found
}

fn exchanges(
    found: &mut Vec<Mismatch>,
    ours: &Exchange,
    theirs: &Exchange,
    watched: &BTreeSet<&str>,
) {
    let status = |exchange: &Exchange| match &exchange.answer {
        Some(answer) => answer.status.to_string(),
        None => "no answer".to_owned(),
    };
    differ(found, "status", status(ours), status(theirs));
    if let (Some(ours), Some(theirs)) = (&ours.answer, &theirs.answer) {
        headers(found, "header", &ours.headers, &theirs.headers);
        differ(found, "body", shown(&ours.body), shown(&theirs.body));
    }
    match (&ours.upstream, &theirs.upstream) {
        (Some(ours), Some(theirs)) => {
            headers(found, "upstream header", &ours.headers, &theirs.headers);
            differ(
                found,
                "upstream body",
                shown(&ours.body),
                shown(&theirs.body),
            );
        }
        (ours, theirs) => {
            let side = |got: bool| if got { "a request" } else { "none" }.to_owned();
            differ(
                found,
                "upstream",
                side(ours.is_some()),
                side(theirs.is_some()),
            );
        }
    }
    callouts(found, &ours.callouts, &theirs.callouts);
    differ(
        found,
        "details",
        ours.details.clone(),
        theirs.details.clone(),
    );
    for key in watched {
        let side = |exchange: &Exchange| match exchange.filter_state.get(*key) {
            Some(value) => shown(value),
            None => "none".to_owned(),
        };
        differ(
            found,
            &format!("filter state {key}"),
            side(ours),
            side(theirs),
        );
    }
}

fn callouts(found: &mut Vec<Mismatch>, ours: &[Received], theirs: &[Received]) {
    let count = |callouts: &[Received]| callouts.len().to_string();
    differ(found, "number of callouts", count(ours), count(theirs));
    for (n, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let n = n + 1;
        let what = format!("cluster of callout {n}");
        differ(found, &what, ours.cluster.clone(), theirs.cluster.clone());
        headers(
            found,
            &format!("callout {n} header"),
            &ours.headers,
            &theirs.headers,
        );
        let what = format!("callout {n} body");
        differ(found, &what, shown(&ours.body), shown(&theirs.body));
        let what = format!("callout {n} trailer");
        headers(found, &what, &ours.trailers, &theirs.trailers);
    }
}

/// What callouts are put in order by.
fn comparable_callout(callout: &Received) -> String {
    let headers = callout
        .headers
        .iter()
        .filter(|(name, _)| !is_uncompared(name));
    let headers: Headers = headers.collect();
    callout_lines(&Received {
        headers,
        ..callout.clone()
    })
}

/// Compares names, values and their order; pseudo-headers apart, which have no order on the wire.
fn headers(found: &mut Vec<Mismatch>, what: &str, ours: &Headers, theirs: &Headers) {
    let mut names: Vec<&[u8]> = Vec::new();
    for (name, _) in ours.iter().chain(theirs.iter()) {
        if !names.contains(&name) && !is_uncompared(name) {
            names.push(name);
        }
    }
    let before = found.len();
    for name in names {
        let side = |headers: &Headers| {
            let values: Vec<String> = headers.all(&shown(name)).map(shown).collect();
            match values.as_slice() {
                [] => "none".to_owned(),
                [one] => format!("{one:?}"),
                many => format!("{many:?}"),
            }
        };
        differ(
            found,
            &format!("{what} {}", shown(name)),
            side(ours),
            side(theirs),
        );
    }
    if found.len() == before {
        differ(
            found,
            &format!("order of {what}s"),
            order(ours),
            order(theirs),
        );
    }
}

fn order(headers: &Headers) -> String {
    let names: Vec<String> = headers
        .iter()
        .filter(|(name, _)| !is_uncompared(name) && !name.starts_with(b":"))
        .map(|(name, _)| shown(name))
        .collect();
    names.join(", ")
}

fn is_uncompared(name: &[u8]) -> bool {
    UNCOMPARED
        .iter()
        .any(|(uncompared, _)| uncompared.as_bytes() == name)
}

/// Lines of several workers have no common order, so they are compared as a sorted list.
fn logs(found: &mut Vec<Mismatch>, ours: &[LogLine], theirs: &[LogLine]) {
    let sorted = |lines: &[LogLine]| {
        let mut lines: Vec<String> = lines.iter().map(comparable).collect();
        lines.sort();
        lines
    };
    let (mut ours, mut theirs) = (sorted(ours), sorted(theirs));
    // Only what one side has alone is worth showing.
    let common = |line: &String, others: &mut Vec<String>| {
        let at = others.iter().position(|other| other == line);
        at.map(|at| others.remove(at)).is_some()
    };
    ours.retain(|line| !common(line, &mut theirs));
    let side = |lines: &[String]| match lines {
        [] => "none of these".to_owned(),
        lines => lines
            .iter()
            .map(|line| format!("\n        {line}"))
            .collect(),
    };
    differ(found, "log lines", side(&ours), side(&theirs));
}

fn comparable(line: &LogLine) -> String {
    match line.message.split_once(TRAP) {
        Some((function, _)) if function.starts_with("Function: ") => format!("trap in {function}"),
        _ => log_line(line),
    }
}

fn differ(found: &mut Vec<Mismatch>, what: &str, expected: String, got: String) {
    if expected != got {
        found.push(Mismatch {
            what: what.to_owned(),
            expected,
            got,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::backend::Answered;
    use super::super::model::Request;
    use super::*;

    fn exchange(headers: &[(&str, &str)]) -> Exchange {
        Exchange {
            answer: Some(Answered {
                status: 200,
                headers: headers.iter().copied().collect(),
                body: b"hello".to_vec(),
            }),
            ..Exchange::default()
        }
    }

    fn compare(ours: Seen, theirs: Seen) -> Vec<String> {
        let observed = |seen| Observed {
            step: String::new(),
            place: None,
            seen,
        };
        differences(&observed(ours), &observed(theirs), &["k"].into())
            .iter()
            .map(Mismatch::to_string)
            .collect()
    }

    fn compare_exchanges(ours: Exchange, theirs: Exchange) -> Vec<String> {
        let request = super::super::load::parse_yaml::<Request>("GET /")
            .unwrap()
            .0;
        let seen = |exchange| Seen::Exchange(Box::new(request.clone()), Box::new(exchange));
        compare(seen(ours), seen(theirs))
    }

    #[test]
    fn what_two_processes_cannot_share_is_left_out() {
        let ours: Vec<_> = UNCOMPARED.iter().map(|(name, _)| (*name, "1")).collect();
        assert!(compare_exchanges(exchange(&ours), exchange(&[])).is_empty());
    }

    #[test]
    fn a_header_that_no_expectation_names_is_a_difference() {
        let found = compare_exchanges(
            exchange(&[("a", "1"), ("b", "2"), ("b", "3")]),
            exchange(&[("a", "1"), ("b", "2")]),
        );
        assert_eq!(found, [r#"header b: expected ["2", "3"], got "2""#]);
    }

    #[test]
    fn the_order_of_headers_is_a_difference() {
        let found = compare_exchanges(
            exchange(&[("a", "1"), ("date", "x"), ("b", "2")]),
            exchange(&[("b", "2"), ("a", "1")]),
        );
        assert_eq!(found, ["order of headers: expected a, b, got b, a"]);
    }

    #[test]
    fn status_body_details_and_filter_state_are_differences() {
        let mut ours = exchange(&[]);
        ours.details = "a".to_owned();
        ours.filter_state = BTreeMap::from([("k".to_owned(), b"v".to_vec())]);
        let mut theirs = exchange(&[]);
        theirs.answer = Some(Answered {
            status: 503,
            ..Answered::default()
        });
        assert_eq!(
            compare_exchanges(ours, theirs),
            [
                "status: expected 200, got 503",
                "body: expected hello, got ",
                "details: expected a, got ",
                "filter state k: expected v, got none",
            ]
        );
    }

    #[test]
    fn metrics_and_log_lines_are_differences() {
        let metrics = |n: u64| Seen::Metrics([("a".to_owned(), 1), ("b".to_owned(), n)].into());
        assert!(compare(metrics(2), metrics(2)).is_empty());
        assert_eq!(
            compare(metrics(2), metrics(3)),
            ["metric b: expected 2, got 3"]
        );

        let logs = |messages: &[&str]| {
            let line = |message: &&str| LogLine {
                level: log::Level::Info,
                plugin: "p".to_owned(),
                message: (*message).to_owned(),
            };
            Seen::Logs(messages.iter().map(line).collect())
        };
        assert!(compare(logs(&["a", "b"]), logs(&["b", "a"])).is_empty());
        let traps = [
            "Function: f failed: one",
            "Function: f failed: two",
            "Function: g failed: one",
        ];
        assert!(compare(logs(&traps[..1]), logs(&traps[1..2])).is_empty());
        assert_eq!(compare(logs(&traps[..1]), logs(&traps[2..])).len(), 1);
        assert_eq!(
            compare(logs(&["a", "b", "b"]), logs(&["b", "c"])),
            ["log lines: expected \n        info p: a\n        info p: b, got \n        info p: c"]
        );
    }
}
