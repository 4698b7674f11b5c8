//! Shows what requests cost: to a person and to a program.

use std::fmt::Write as _;

use serde_json::{Value, json as value};

use super::{Bench, Spread};

/// A table, times in microseconds.
pub fn pretty(bench: &Bench) -> String {
    let mut out = String::new();
    let micros = |nanoseconds: u64| format!("{:.2}", nanoseconds as f64 / 1_000.0);
    let _ = writeln!(out, "{}: {}", bench.path.display(), bench.name);
    let _ = writeln!(
        out,
        "{} rounds; a fresh host starts in {} us\n",
        bench.rounds,
        micros(bench.start.median)
    );
    let titles = bench.requests.iter().map(|request| request.title.len());
    let width = titles.max().unwrap_or(0).max("request".len());
    let _ = writeln!(
        out,
        "{:>4}  {:width$}  {:>6}  {:>9}  {:>17}  {:>15}  {:>9}  {:>13}",
        "line",
        "request",
        "times",
        "us median",
        "10 to 90 %",
        "without plugins",
        "hostcalls",
        "instructions"
    );
    for request in &bench.requests {
        let time = request.nanoseconds;
        let range = format!("{} to {}", micros(time.low), micros(time.high));
        let _ = writeln!(
            out,
            "{:>4}  {:width$}  {:>6}  {:>9}  {range:>17}  {:>15}  {:>9}  {:>13}",
            request.line,
            request.title,
            request.times,
            micros(time.median),
            micros(request.without_plugins.median),
            request.hostcalls.median,
            request.instructions.median,
        );
    }
    out
}

/// One JSON document; times in nanoseconds.
pub fn json(bench: &Bench) -> String {
    let requests: Vec<Value> = bench
        .requests
        .iter()
        .map(|request| {
            value!({
                "line": request.line,
                "request": request.title,
                "times": request.times,
                "nanoseconds": spread(request.nanoseconds),
                "nanoseconds_without_plugins": spread(request.without_plugins),
                "hostcalls": spread(request.hostcalls),
                "instructions": spread(request.instructions),
            })
        })
        .collect();
    let whole = value!({
        "file": bench.path,
        "name": bench.name,
        "rounds": bench.rounds,
        "start_nanoseconds": spread(bench.start),
        "requests": requests,
    });
    format!("{whole:#}\n")
}

fn spread(spread: Spread) -> Value {
    value!({ "low": spread.low, "median": spread.median, "high": spread.high })
}
