//! `/stats` and `/stats/prometheus`: names, labels and groups as Envoy writes them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use regex::Regex;

use super::stats::Sums;
use crate::bootstrap::{StatsTag, TagSource};
use crate::metrics::{Metric, MetricKind, Metrics};

/// Prefix of guests' metrics in `/stats`; Prometheus doesn't see it.
const CUSTOM: &str = "wasmcustom.";

/// The lines of `/stats`: `name: value`, sorted by name.
pub(super) fn text(sums: &Sums, metrics: &Metrics, filter: Option<&Regex>) -> String {
    let mut lines: BTreeMap<Cow<'_, str>, String> = BTreeMap::new();
    for (name, (_, value)) in sums {
        lines.insert(name.into(), value.to_string());
    }
    for (kind, name, metric) in metrics.iter() {
        let value = match kind {
            MetricKind::Histogram => {
                format!("count={}, sum={}", metric.count, metric.value)
            }
            MetricKind::Counter | MetricKind::Gauge => metric.value.to_string(),
        };
        lines.insert(format!("{CUSTOM}{name}").into(), value);
    }
    let mut out = String::new();
    for (name, value) in lines {
        if filter.is_none_or(|filter| filter.is_match(&name)) {
            let _ = writeln!(out, "{name}: {value}");
        }
    }
    out
}

/// One series of a group.
struct Series<'m> {
    labels: String,
    value: u64,
    histogram: Option<&'m Metric>,
}

/// The exposition of `/stats/prometheus`.
pub(super) fn exposition(
    sums: &Sums,
    metrics: &Metrics,
    tags: &[StatsTag],
    filter: Option<&Regex>,
) -> String {
    let mut groups: BTreeMap<(String, MetricKind), Vec<Series<'_>>> = BTreeMap::new();
    let wanted = |name: &str| filter.is_none_or(|filter| filter.is_match(name));
    for (name, (kind, value)) in sums {
        if !wanted(name) {
            continue;
        }
        let (mut name, mut labels) = own_labels(name);
        extract(&mut name, tags, &mut labels);
        let series = Series {
            labels: join(&labels),
            value: *value,
            histogram: None,
        };
        let group = (format!("envoy_{}", sanitised(&name)), *kind);
        groups.entry(group).or_default().push(series);
    }
    for (kind, name, metric) in metrics.iter() {
        let mut name = format!("{CUSTOM}{name}");
        if !wanted(&name) {
            continue;
        }
        let mut labels = Vec::new();
        extract(&mut name, tags, &mut labels);
        let name = name.strip_prefix(CUSTOM).unwrap_or(&name);
        let series = Series {
            labels: join(&labels),
            value: metric.value,
            histogram: (kind == MetricKind::Histogram).then_some(metric),
        };
        groups
            .entry((sanitised(name), kind))
            .or_default()
            .push(series);
    }
    let mut out = String::new();
    for ((name, kind), series) in groups {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for one in series {
            write_series(&name, &one, &mut out);
        }
    }
    out
}

fn write_series(name: &str, series: &Series<'_>, out: &mut String) {
    let Series {
        labels,
        value,
        histogram,
    } = series;
    let Some(histogram) = histogram else {
        let _ = writeln!(out, "{name}{{{labels}}} {value}");
        return;
    };
    let comma = if labels.is_empty() { "" } else { "," };
    let count = histogram.count;
    for (bound, within) in Metric::BOUNDS.iter().zip(histogram.buckets) {
        let _ = writeln!(
            out,
            "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {within}"
        );
    }
    let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{name}_sum{{{labels}}} {value}");
    let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
}

/// Takes the parts of the gateway's own names that Envoy's default tags turn into labels.
fn own_labels(name: &str) -> (String, Vec<(&str, String)>) {
    let Some((area, rest)) = name.split_once('.') else {
        return (name.to_owned(), Vec::new());
    };
    // The last part is the statistic; what is between is the prefix or the cluster, dots and all.
    let Some((of, stat)) = rest.rsplit_once('.') else {
        return (name.to_owned(), Vec::new());
    };
    let label = match area {
        "cluster" => "envoy_cluster_name",
        _ => "envoy_http_conn_manager_prefix",
    };
    let mut labels = Vec::new();
    let mut stat = stat.to_owned();
    let code = stat.rsplit_once("_rq_").and_then(|(start, code)| {
        let digits = code.bytes().all(|b| b.is_ascii_digit());
        let class = code.ends_with("xx") && code.len() == 3;
        match code {
            _ if digits => Some((
                start.to_owned() + "_rq",
                "envoy_response_code",
                code.to_owned(),
            )),
            _ if class => Some((
                start.to_owned() + "_rq_xx",
                "envoy_response_code_class",
                code[..1].to_owned(),
            )),
            _ => None,
        }
    });
    if let Some((shorter, label, value)) = code {
        stat = shorter;
        labels.push((label, value));
    }
    labels.push((label, of.to_owned()));
    (format!("{area}.{stat}"), labels)
}

/// Cuts tags out of a name: the first group of each regex goes, the second (or first) is the value.
fn extract<'t>(name: &mut String, tags: &'t [StatsTag], labels: &mut Vec<(&'t str, String)>) {
    let original = name.clone();
    let mut cuts = Vec::new();
    for tag in tags {
        match &tag.source {
            TagSource::Fixed(value) => labels.push((&tag.name, value.clone())),
            TagSource::Regex(regex) => {
                let Some(captures) = regex.captures(&original) else {
                    continue;
                };
                let Some(cut) = captures.get(1) else { continue };
                let value = captures.get(2).unwrap_or(cut);
                labels.push((&tag.name, value.as_str().to_owned()));
                cuts.push(cut.range());
            }
        }
    }
    cuts.sort_by_key(|cut| std::cmp::Reverse(cut.start));
    for cut in cuts {
        // Tags that overlap cut once.
        if cut.end <= name.len() && name.is_char_boundary(cut.start) {
            name.replace_range(cut, "");
        }
    }
}

fn join(labels: &[(&str, String)]) -> String {
    let mut out = String::new();
    for (index, (name, value)) in labels.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let value = value.replace('\n', "\\n");
        let _ = write!(out, "{comma}{}=\"{value}\"", sanitised(name));
    }
    out
}

/// A name that Prometheus takes: other characters become underscores, and none begins with a digit.
fn sanitised(name: &str) -> String {
    let mut out: String = name
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | ':' => c,
            _ => '_',
        })
        .collect();
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str, regex: &str) -> StatsTag {
        StatsTag {
            name: name.into(),
            source: TagSource::Regex(Regex::new(regex).unwrap()),
        }
    }

    #[test]
    fn tags_become_labels_and_leave_the_name() {
        let mut metrics = Metrics::default();
        let name = "x_decisions_total_rule=login_decision=deny";
        let at = metrics.define(MetricKind::Counter, name);
        metrics.increment(at, 3);
        let tags = [
            tag("rule", "(_rule=([A-Za-z0-9-]+))"),
            tag("decision", "(_decision=([A-Za-z0-9-]+))"),
        ];
        assert_eq!(
            exposition(&Sums::new(), &metrics, &tags, None),
            "# TYPE x_decisions_total counter\n\
             x_decisions_total{rule=\"login\",decision=\"deny\"} 3\n"
        );
        let plain = text(&Sums::new(), &metrics, None);
        assert_eq!(plain, format!("wasmcustom.{name}: 3\n"));
    }

    #[test]
    fn untagged_names_are_made_fit_for_prometheus() {
        let mut metrics = Metrics::default();
        metrics.define(MetricKind::Gauge, "a.b-c=d");
        assert_eq!(
            exposition(&Sums::new(), &metrics, &[], None),
            "# TYPE a_b_c_d gauge\na_b_c_d{} 0\n"
        );
    }

    #[test]
    fn own_statistics_have_envoys_labels() {
        let sums = Sums::from([
            (
                "cluster.a.b.upstream_rq_200".to_owned(),
                (MetricKind::Counter, 2),
            ),
            (
                "cluster.a.b.upstream_rq_2xx".to_owned(),
                (MetricKind::Counter, 2),
            ),
            (
                "http.in.downstream_rq_total".to_owned(),
                (MetricKind::Counter, 5),
            ),
        ]);
        let out = exposition(&sums, &Metrics::default(), &[], None);
        for line in [
            "envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"a.b\"} 2",
            "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",\
             envoy_cluster_name=\"a.b\"} 2",
            "envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix=\"in\"} 5",
        ] {
            assert!(out.lines().any(|l| l == line), "{line}\nin\n{out}");
        }
    }

    #[test]
    fn histograms_have_cumulative_buckets() {
        let mut metrics = Metrics::default();
        let at = metrics.define(MetricKind::Histogram, "h");
        for sample in [1, 7, 4_000_000] {
            metrics.record(at, sample);
        }
        let out = exposition(&Sums::new(), &metrics, &[], None);
        for line in [
            "h_bucket{le=\"0.5\"} 0",
            "h_bucket{le=\"1\"} 1",
            "h_bucket{le=\"10\"} 2",
            "h_bucket{le=\"3600000\"} 2",
            "h_bucket{le=\"+Inf\"} 3",
            "h_sum{} 4000008",
            "h_count{} 3",
        ] {
            assert!(out.lines().any(|l| l == line), "{line}\nin\n{out}");
        }
    }
}
