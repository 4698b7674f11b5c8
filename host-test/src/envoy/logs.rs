//! Envoy's own log: takes the records apart and finds the guests' lines among them.

use crate::headers::Headers;
use crate::scenario::Scenario;
use crate::worker::LogLine;

/// Begins a record, stands between its parts, and ends it. Messages have none of them.
const BEGIN: char = '\x1e';
const PART: char = '\x1f';
const END: char = '\x1d';

/// Envoy's `--log-format` for records that [`Records`] can take apart: level, logger, message.
pub(super) const FORMAT: &str = "\x1e%l\x1f%n\x1f%v\x1d";

/// A record of Envoy's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) level: String,
    pub(super) logger: String,
    pub(super) message: String,
}

/// Puts records together from the lines of Envoy's log.
#[derive(Debug, Default)]
pub(super) struct Records {
    whole: Vec<Record>,
    open: Option<Record>,
}

impl Records {
    /// Adds a line; returns the record that it ends, if it does. What is outside of records, such
    /// as the words of a crash, gets records of its own.
    pub(super) fn add_line(&mut self, line: &str) -> Option<&Record> {
        let (line, ends) = match line.strip_suffix(END) {
            Some(line) => (line, true),
            None => (line, false),
        };
        let record = match (line.strip_prefix(BEGIN), self.open.take()) {
            (Some(rest), _) => {
                let mut parts = rest.splitn(3, PART).map(str::to_owned);
                let mut part = || parts.next().unwrap_or_default();
                Record {
                    level: part(),
                    logger: part(),
                    message: part(),
                }
            }
            (None, Some(mut record)) => {
                record.message.push('\n');
                record.message.push_str(line);
                record
            }
            (None, None) => {
                self.whole.push(Record {
                    message: line.to_owned(),
                    ..Record::default()
                });
                return self.whole.last();
            }
        };
        if ends {
            self.whole.push(record);
            self.whole.last()
        } else {
            self.open = Some(record);
            None
        }
    }

    /// Takes the whole records since the last call.
    pub(super) fn take(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.whole)
    }

    /// The message of the last record of this level or worse; else the last message at all.
    pub(super) fn last_words(&self) -> Option<&str> {
        let grave = |record: &&Record| matches!(record.level.as_str(), "critical" | "error");
        let last = self
            .whole
            .iter()
            .rev()
            .find(grave)
            .or_else(|| self.whole.last());
        last.map(|record| record.message.as_str())
    }
}

/// What Envoy's log tells of a request that the router begins to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Routed {
    /// The cluster it goes to.
    To(String),
    /// Its headers.
    With(Headers),
}

/// What a record tells of a request that is sent; the cluster comes before the headers.
pub(super) fn routed(record: &Record) -> Option<Routed> {
    if record.logger != "router" {
        return None;
    }
    if let Some((_, rest)) = record.message.split_once("] cluster '") {
        let (cluster, _) = rest.split_once("' match for URL '")?;
        return Some(Routed::To(cluster.to_owned()));
    }
    let (_, lines) = record.message.split_once("] router decoding headers:\n")?;
    let pair = |line: &str| {
        let (name, value) = line.strip_prefix('\'')?.split_once("', '")?;
        Some((name.to_owned(), value.strip_suffix('\'')?.to_owned()))
    };
    Some(Routed::With(lines.lines().filter_map(pair).collect()))
}

/// What a trap is reported with. Envoy does not say whose it was.
const TRAP: &str = "Function: ";

/// Finds the guests' lines and the traps: Envoy puts `wasm log NAME ROOT VM: ` in front of those of streams and
/// `wasm log ROOT VM: ` in front of the others, without what is empty.
pub(super) struct GuestLines {
    prefixes: Vec<(String, String)>,
}

impl GuestLines {
    /// Knows the plugins of a scenario.
    pub(super) fn of(scenario: &Scenario) -> Self {
        let mut prefixes: Vec<(String, String)> = Vec::new();
        for plugin in &scenario.plugins {
            let (name, root, vm) = (plugin.name(), plugin.root_id.as_str(), plugin.vm_id());
            for words in [&[name, root, vm][..], &[root, vm][..]] {
                let words = words.iter().filter(|word| !word.is_empty());
                let prefix = words.fold("wasm log".to_owned(), |all, word| all + " " + word);
                prefixes.push((prefix + ": ", name.to_owned()));
            }
        }
        // The longest that fits is meant.
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { prefixes }
    }

    /// The guest's line that a record is, if it is one.
    pub(super) fn find(&self, record: &Record) -> Option<LogLine> {
        if record.logger != "wasm" {
            return None;
        }
        let (message, plugin) = if record.message.starts_with(TRAP) {
            (record.message.as_str(), "")
        } else {
            self.prefixes.iter().find_map(|(prefix, plugin)| {
                let message = record.message.strip_prefix(prefix.as_str())?;
                Some((message, plugin.as_str()))
            })?
        };
        Some(LogLine {
            level: match record.level.as_str() {
                "trace" => log::Level::Trace,
                "debug" => log::Level::Debug,
                "info" => log::Level::Info,
                "warning" => log::Level::Warn,
                _ => log::Level::Error,
            },
            plugin: plugin.to_owned(),
            message: message.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::scenario::ScenarioFile;

    use super::*;

    fn record(message: &str) -> Record {
        Record {
            level: "warning".to_owned(),
            logger: "wasm".to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn records_keep_all_their_lines() {
        let mut records = Records::default();
        for line in [
            "outside",
            "\x1einfo\x1fmain\x1fone",
            "two\x1d",
            "\x1ewarning\x1fwasm\x1fx\x1fy\x1d",
            "\x1einfo\x1fwasm\x1fopen",
        ] {
            records.add_line(line);
        }
        let whole = records.take();
        let messages: Vec<_> = whole.iter().map(|record| record.message.as_str()).collect();
        assert_eq!(messages, ["outside", "one\ntwo", "x\x1fy"]);
        assert_eq!(whole[1].logger, "main");

        let rest = records
            .add_line("end\x1d")
            .map(|record| record.message.clone());
        assert_eq!(rest.as_deref(), Some("open\nend"));
    }

    #[test]
    fn the_router_tells_where_a_request_goes_and_with_what() {
        let router = |message: &str| {
            routed(&Record {
                logger: "router".to_owned(),
                ..record(message)
            })
        };
        assert_eq!(
            router("[Tags: \"StreamId\":\"1\"] cluster 'auth' match for URL '/a'"),
            Some(Routed::To("auth".to_owned()))
        );
        let headers: Headers = [(":path", "/a"), ("b", "it's")].into_iter().collect();
        let message =
            "[Tags: \"StreamId\":\"1\"] router decoding headers:\n':path', '/a'\n'b', 'it's'\n";
        assert_eq!(router(message), Some(Routed::With(headers)));
        assert_eq!(
            router("[Tags: \"StreamId\":\"1\"] upstream headers complete: end_stream=false"),
            None
        );
        assert_eq!(
            routed(&record("[x] cluster 'auth' match for URL '/a'")),
            None
        );
    }

    #[test]
    fn guest_lines_are_found_by_their_prefix() {
        let text = "name: a\nsteps: [{advance: 1s}]\nplugins: [{module: a.wasm}, {module: b.wasm, \
                    root_id: r, vm_id: a}, {module: c.wasm, vm_id: ''}]";
        let file = ScenarioFile::parse(Path::new("a.yaml"), text).unwrap();
        let lines = GuestLines::of(&file.scenario);
        let found = |message: &str| {
            let line = lines.find(&record(message))?;
            Some(format!("{} {}: {}", line.level, line.plugin, line.message))
        };
        let table = [
            (
                "wasm log a a: in a stream: x",
                Some("WARN a: in a stream: x"),
            ),
            ("wasm log a: of the root", Some("WARN a: of the root")),
            ("wasm log b r a: in a stream", Some("WARN b: in a stream")),
            ("wasm log r a: of the root", Some("WARN b: of the root")),
            ("wasm log c: in a stream", Some("WARN c: in a stream")),
            (
                "wasm log: of a root without a name",
                Some("WARN c: of a root without a name"),
            ),
            ("wasm log other: x", None),
            (
                "Function: proxy_on_tick failed: x",
                Some("WARN : Function: proxy_on_tick failed: x"),
            ),
            ("Plugin configured to fail closed", None),
        ];
        for (message, line) in table {
            assert_eq!(found(message).as_deref(), line, "{message}");
        }
        let elsewhere = Record {
            logger: "main".to_owned(),
            ..record("wasm log a: x")
        };
        assert_eq!(lines.find(&elsewhere), None);
    }
}
