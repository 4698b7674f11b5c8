//! The page with its data in it: one file that shows what came of a run of scenarios.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::entry::{self, Seen};
use super::mask::Mask;
use super::page;
use super::scenario::base64;
use crate::metrics::MetricKind;

/// Requests as they come in, to be written as a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    requests: Vec<Json>,
    samples: Vec<Json>,
    metrics: BTreeMap<String, i128>,
    shared: Vec<Json>,
}

impl Report {
    /// Adds a request.
    pub(crate) fn push(&mut self, seen: &mut Seen, mask: Mask) {
        let callbacks = seen.trace.callbacks().iter();
        let spans = callbacks.filter_map(|one| one.detail.as_ref());
        let spans: Vec<(Instant, Duration)> = spans.map(|d| (d.began, d.took)).collect();
        let began = spans.iter().map(|(began, _)| *began).min();
        let end = spans.iter().map(|(began, took)| *began + *took).max();
        seen.took = match (began, end) {
            (Some(began), Some(end)) => end.saturating_duration_since(began),
            _ => Duration::ZERO,
        };
        let (_, detail) = entry::write(0, seen, began, mask);
        self.requests.push(detail);
        let callbacks = seen.trace.callbacks().iter();
        let changes = callbacks
            .filter_map(|one| one.detail.as_ref())
            .flat_map(|detail| &detail.metrics);
        for change in changes.filter(|change| change.kind != MetricKind::Histogram) {
            let value = self.metrics.entry(change.name.clone()).or_default();
            match change.recorded && change.kind == MetricKind::Gauge {
                true => *value = change.by.into(),
                false => *value += i128::from(change.by),
            }
        }
        let values: BTreeMap<&str, i64> = self
            .metrics
            .iter()
            .map(|(name, value)| (name.as_str(), i64::try_from(*value).unwrap_or(i64::MAX)))
            .collect();
        self.samples.push(json!([seen.at, values, seen.listener]));
    }

    /// Adds the keys of a `vm_id` and the sizes of their values, as a scenario has left them.
    pub(crate) fn shared(
        &mut self,
        scenario: &str,
        vm_id: &str,
        data: &BTreeMap<Vec<u8>, Vec<u8>>,
        mask: Mask,
    ) {
        if data.is_empty() {
            return;
        }
        let bytes: usize = data
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        let shown = data
            .iter()
            .take(super::routes::KEYS_SHOWN)
            .map(|(key, value)| {
                let key = crate::trace::escaped(key, false);
                json!([mask.text(&key), value.len()])
            });
        self.shared.push(json!({
            "scenario": scenario,
            "vm_id": vm_id,
            "keys": data.len(),
            "bytes": bytes,
            "entries": shown.collect::<Vec<_>>(),
        }));
    }

    /// Adds what another holds, behind.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.requests.append(&mut other.requests);
        self.samples.append(&mut other.samples);
        self.shared.append(&mut other.shared);
    }

    /// The page; `sources` are the scenarios' files by their names.
    pub(crate) fn html(mut self, sources: &BTreeMap<String, String>, mask: Mask) -> String {
        for (request, id) in self.requests.iter_mut().zip(1_u64..) {
            request["id"] = id.into();
        }
        let counted = self.requests.iter().any(|one| one["counted"] == true);
        let data = json!({
            "info": {
                "version": env!("CARGO_PKG_VERSION"),
                "masked": mask == Mask::On,
                "counted": counted,
                "capacity": self.requests.len().max(1),
                "samples": self.samples,
            },
            "requests": self.requests,
            "shared": self.shared,
            "sources": sources,
        });
        // Inside a script element only `<` means something.
        let data = data.to_string().replace('<', "\\u003c");
        let (css, js) = (page::css(), page::js());
        let policy = format!(
            "default-src 'none'; img-src data:; style-src '{}'; script-src '{}'; \
             base-uri 'none'; form-action 'none'",
            fingerprint(css),
            fingerprint(js)
        );
        let head = format!(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n<style>{css}</style>"
        );
        let scripts = format!(
            "<script type=\"application/json\" id=\"data\">{data}</script>\n<script>{js}</script>"
        );
        // The script's place is the end of the body, where all it looks for is there.
        page::HTML
            .replace(page::STYLE, &head)
            .replace(page::SCRIPT, "")
            .replace("</body>", &format!("{scripts}\n</body>"))
    }
}

/// An inline element as a Content-Security-Policy names it.
fn fingerprint(text: &str) -> String {
    format!("sha256-{}", base64(&Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;

    #[test]
    fn what_requests_hold_cannot_become_a_part_of_the_page() {
        let mut headers = Headers::new();
        headers.append(":path", "/</script><script>alert(1)</script><!--");
        let mut seen = Seen::default();
        seen.request.headers = headers;
        let mut report = Report::default();
        report.push(&mut seen, Mask::On);
        let sources = BTreeMap::from([("a".to_owned(), "name: </script>".to_owned())]);
        let html = report.html(&sources, Mask::On);
        // The data's own end and the script's.
        assert_eq!(html.matches("</script>").count(), 2);
        assert!(!html.contains("<!--"));
        let data = html
            .split_once("id=\"data\">")
            .and_then(|(_, rest)| rest.split_once("</script>"))
            .map(|(data, _)| data);
        let data: Json = serde_json::from_str(data.unwrap()).unwrap();
        assert_eq!(data["requests"][0]["id"], 1);
        assert_eq!(data["sources"]["a"], "name: </script>");
    }
}
