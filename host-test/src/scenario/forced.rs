//! What scenarios do that only our own host can: faults, ticks on demand, requests at the same
//! time, budgets, and a look at shared data.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::abi::Status;
use crate::fault::{Fault, known_hostcall};
use crate::trace::Thread;

use super::backend::Exchange;
use super::expect::Mismatch;
use super::matcher::{NumberMatch, TextMatch};
use super::model::{Expect, Request};
use super::values::Span;

/// Something that goes wrong on purpose. Exactly one of `hostcall`, `cas`, `trap` and `clock`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "FaultFields")]
pub enum FaultBlock {
    /// The wall clock jumps by so many nanoseconds.
    Clock(i64),
    /// A fault of the host.
    Host(Fault),
}

/// Something that goes wrong on purpose. Exactly one of `hostcall`, `cas`, `trap` and `clock`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct FaultFields {
    /// A hostcall that answers `status` and does nothing else; without `proxy_` if you like.
    hostcall: Option<String>,
    /// What `hostcall` answers.
    status: Option<StatusName>,
    /// Writing shared data with a CAS number loses, as if somebody else had just written the same.
    cas: Option<CasWord>,
    /// A callback (`on_tick`) or a hostcall (`set_shared_data`) in which the guest traps.
    trap: Option<String>,
    /// By how much the wall clock jumps, back with a minus: `1h`, `-90s`. No time passes. Only as a
    /// step.
    clock: Option<String>,
    /// Only for the plugin of this name (default: for all).
    plugin: Option<String>,
    /// Only the n-th time, from 1 (default: each time).
    nth: Option<u64>,
    /// Not before it has gone well so many times (default: 0).
    after: Option<u64>,
    /// So many times in a row (default: for ever).
    times: Option<u64>,
}

/// The status that a hostcall is made to answer.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum StatusName {
    BadArgument,
    CasMismatch,
    Empty,
    InternalFailure,
    InvalidMemoryAccess,
    NotFound,
    Ok,
    SerializationFailure,
    Unimplemented,
}

/// What becomes of a compare-and-set.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum CasWord {
    /// It is lost.
    Lose,
}

impl TryFrom<FaultFields> for FaultBlock {
    type Error = String;

    fn try_from(fields: FaultFields) -> Result<Self, String> {
        let timed = fields.nth.is_some() || fields.after.is_some() || fields.times.is_some();
        if fields.nth.is_some() && (fields.after.is_some() || fields.times.is_some()) {
            return Err("`nth` goes without `after` and `times`".to_owned());
        }
        if fields.status.is_some() != fields.hostcall.is_some() {
            return Err("`hostcall` and `status` belong together".to_owned());
        }
        let fault = match (&fields.hostcall, &fields.cas, &fields.trap, &fields.clock) {
            (Some(name), None, None, None) => {
                let status = fields.status.map_or(Status::Ok, StatusName::status);
                Fault::answer(name, status).map_err(|error| error.to_string())?
            }
            (None, Some(CasWord::Lose), None, None) => Fault::lose_cas(),
            (None, None, Some(name), None) => trap(name)?,
            (None, None, None, Some(_)) if timed || fields.plugin.is_some() => {
                return Err("`clock` stands alone".to_owned());
            }
            (None, None, None, Some(by)) => return jump(by).map(Self::Clock),
            _ => {
                return Err(
                    "a fault is exactly one of `hostcall`, `cas`, `trap` and `clock`".to_owned(),
                );
            }
        };
        let fault = match &fields.plugin {
            Some(plugin) => fault.plugin(plugin),
            None => fault,
        };
        let fault = match fields.nth {
            Some(0) => return Err("`nth` counts from 1".to_owned()),
            Some(n) => fault.nth(n),
            None => fault.after(fields.after.unwrap_or(0)),
        };
        Ok(Self::Host(match fields.times {
            Some(times) => fault.times(times),
            None => fault,
        }))
    }
}

fn trap(name: &str) -> Result<Fault, String> {
    let callback = name
        .strip_prefix("proxy_")
        .unwrap_or(name)
        .starts_with("on_");
    let fault = match callback {
        true => Fault::trap_in(name),
        false => Fault::trap_at(name),
    };
    fault.map_err(|error| error.to_string())
}

fn jump(text: &str) -> Result<i64, String> {
    let (sign, span) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let nanos = Span::parse(span).and_then(|span| i64::try_from(span.0.as_nanos()).ok());
    let nanos = nanos.ok_or_else(|| {
        format!("`{text}` is not a jump of the clock; write for example 1h or -90s")
    })?;
    Ok(sign * nanos)
}

impl StatusName {
    fn status(self) -> Status {
        match self {
            Self::BadArgument => Status::BadArgument,
            Self::CasMismatch => Status::CasMismatch,
            Self::Empty => Status::Empty,
            Self::InternalFailure => Status::InternalFailure,
            Self::InvalidMemoryAccess => Status::InvalidMemoryAccess,
            Self::NotFound => Status::NotFound,
            Self::Ok => Status::Ok,
            Self::SerializationFailure => Status::SerializationFailure,
            Self::Unimplemented => Status::Unimplemented,
        }
    }
}

/// What a `fault` step does.
#[derive(Clone, Debug)]
pub enum FaultStep {
    /// All goes well again.
    None,
    /// These go wrong from now on, besides what went wrong before.
    Set(Vec<FaultBlock>),
}

/// Where ticks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// On all workers and on the main thread.
    All,
    /// On one thread.
    On(Thread),
}

impl<'de> Deserialize<'de> for Tick {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = Tick;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of a worker, `main` or `all`")
            }

            fn visit_u64<E: de::Error>(self, worker: u64) -> Result<Tick, E> {
                Ok(Tick::On(Thread::Worker(worker)))
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Tick, E> {
                match word {
                    "main" => Ok(Tick::On(Thread::Main)),
                    "all" => Ok(Tick::All),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}

/// Requests at the same time on several workers, in an order that the seed decides: guests on
/// different workers interrupt each other at their hostcalls.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Parallel {
    /// Decides the order (default 0).
    #[serde(default)]
    pub seed: u64,
    /// How many times each request is sent (default 1). `{n}` is the number, from 1.
    #[serde(default = "once")]
    pub times: u64,
    /// The requests.
    pub requests: Vec<ParallelRequest>,
    /// How many answers of each status there must be; any other status fails.
    #[serde(default)]
    pub statuses: BTreeMap<u16, NumberMatch>,
}

/// A request that is sent together with others.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ParallelRequest {
    /// The request; `GET /path` for short.
    pub request: Request,
    /// What must be seen of each, whatever the order.
    pub expect: Option<Expect>,
}

fn once() -> u64 {
    1
}

impl Parallel {
    /// How the numbers of statuses are not as expected.
    pub(super) fn mismatches(&self, exchanges: &[Exchange]) -> Vec<Mismatch> {
        let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
        for exchange in exchanges {
            let status = exchange.answer.as_ref().map_or(0, |answer| answer.status);
            *counts.entry(status).or_default() += 1;
        }
        if self.statuses.is_empty() {
            return Vec::new();
        }
        let got = |status| counts.get(&status).copied().unwrap_or(0);
        let wrong = self
            .statuses
            .iter()
            .filter(|(status, expected)| !expected.matches(Some(got(**status))))
            .map(|(status, expected)| (*status, expected.to_string()));
        let others = counts
            .keys()
            .filter(|status| !self.statuses.contains_key(status))
            .map(|status| (*status, "0".to_owned()));
        wrong
            .chain(others)
            .map(|(status, expected)| Mismatch {
                what: match status {
                    0 => "requests without an answer".to_owned(),
                    status => format!("answers with status {status}"),
                },
                expected,
                got: got(status).to_string(),
            })
            .collect()
    }
}

/// What a request may cost. Envoy doesn't count, so it is looked at on our host alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Hostcalls in all.
    pub hostcalls: Option<NumberMatch>,
    /// Hostcalls by name; without `proxy_` if you like.
    #[serde(default)]
    pub calls: BTreeMap<String, NumberMatch>,
    /// Wasm instructions in the request's callbacks. The number is the same on every machine, and
    /// another one with every build of the module: give it room.
    pub instructions: Option<NumberMatch>,
}

/// What a request cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Hostcalls by name.
    pub hostcalls: BTreeMap<&'static str, u64>,
    /// Wasm instructions, if they were counted.
    pub instructions: Option<u64>,
}

impl Budget {
    /// A hostcall in `calls` that isn't one, in a sentence.
    pub(super) fn unknown(&self) -> Option<String> {
        let unknown = |name: &String| known_hostcall(name).err();
        self.calls
            .keys()
            .find_map(unknown)
            .map(|error| error.to_string())
    }

    pub(super) fn mismatches(&self, cost: &Cost) -> Vec<Mismatch> {
        let all = cost.hostcalls.values().sum();
        let calls = self.calls.iter().map(|(name, expected)| {
            let known = known_hostcall(name).unwrap_or_default();
            let got = cost.hostcalls.get(known).copied().unwrap_or(0);
            (format!("budget of {name}"), Some(expected), Some(got))
        });
        let hostcalls = (
            "budget of hostcalls".to_owned(),
            self.hostcalls.as_ref(),
            Some(all),
        );
        let instructions = (
            "budget of instructions".to_owned(),
            self.instructions.as_ref(),
            cost.instructions,
        );
        [hostcalls, instructions]
            .into_iter()
            .chain(calls)
            .filter_map(|(what, expected, got)| {
                let expected = expected.filter(|expected| !expected.matches(got))?;
                Some(Mismatch {
                    what,
                    expected: expected.to_string(),
                    got: got.map_or_else(|| "none".to_owned(), |got| got.to_string()),
                })
            })
            .collect()
    }
}

/// What must be in the shared data of a `vm_id`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SharedDataExpect {
    /// Whose (default: the first plugin's).
    pub vm_id: Option<String>,
    /// Values by key; others may be there too. A key `hex:00ff` is these bytes.
    #[serde(default)]
    pub keys: BTreeMap<String, DataMatch>,
    /// How many keys there are.
    pub count: Option<NumberMatch>,
    /// How many bytes keys and values have together.
    pub bytes: Option<NumberMatch>,
}

/// An expectation of a value in shared data: a text as everywhere, `{hex: DIGITS}` or `{size: N}`.
#[derive(Clone, Debug)]
pub enum DataMatch {
    /// These bytes.
    Hex(Vec<u8>),
    /// So many bytes.
    Size(NumberMatch),
    /// A text.
    Text(TextMatch),
}

/// The long forms of an expectation of a value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DataForm {
    exact: Option<String>,
    hex: Option<String>,
    size: Option<NumberMatch>,
}

impl<'de> Deserialize<'de> for DataMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = DataMatch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, ~REGEX, absent, {exact: TEXT}, {hex: DIGITS} or {size: N}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DataMatch, E> {
                TextMatch::deserialize(StrDeserializer::new(text)).map(DataMatch::Text)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<DataMatch, E> {
                Ok(DataMatch::Text(TextMatch::Exact(number.to_string())))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DataMatch, A::Error> {
                let form = DataForm::deserialize(de::value::MapAccessDeserializer::new(map))?;
                match (form.exact, form.hex, form.size) {
                    (Some(text), None, None) => Ok(DataMatch::Text(TextMatch::Exact(text))),
                    (None, Some(hex), None) => {
                        bytes_of(&hex).map(DataMatch::Hex).ok_or_else(|| {
                            de::Error::custom(format!("`{hex}` is not hexadecimal digits in pairs"))
                        })
                    }
                    (None, None, Some(size)) => Ok(DataMatch::Size(size)),
                    _ => Err(de::Error::custom(
                        "say one of {exact: TEXT}, {hex: DIGITS} and {size: N}",
                    )),
                }
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = hex
        .chars()
        .map(|digit| digit.to_digit(16))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs
        .iter()
        .filter_map(|[high, low]| u8::try_from(high * 16 + low).ok());
    rest.is_empty().then(|| bytes.collect())
}

impl SharedDataExpect {
    /// A key that isn't one, in a sentence.
    pub(super) fn unreadable(&self) -> Option<String> {
        let odd = |key: &&String| {
            key.strip_prefix("hex:")
                .is_some_and(|k| bytes_of(k).is_none())
        };
        let key = self.keys.keys().find(odd)?;
        Some(format!("`{key}` is not hexadecimal digits in pairs"))
    }

    pub(super) fn mismatches(
        &self,
        entries: &BTreeMap<Vec<u8>, Vec<u8>>,
        round: Option<u64>,
    ) -> Vec<Mismatch> {
        let mut found = Vec::new();
        for (key, expected) in &self.keys {
            let name = round.map_or_else(|| key.clone(), |n| super::numbered(key, n));
            let bytes = match name.strip_prefix("hex:") {
                Some(hex) => bytes_of(hex).unwrap_or_default(),
                None => name.clone().into_bytes(),
            };
            let value = entries.get(&bytes).map(Vec::as_slice);
            if let Some((expected, got)) = expected.mismatch(value, round) {
                let what = format!("shared data {name}");
                found.push(Mismatch {
                    what,
                    expected,
                    got,
                });
            }
        }
        let count = entries.len() as u64;
        let bytes: usize = entries
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        let sizes = [
            ("keys of shared data", &self.count, count),
            ("bytes of shared data", &self.bytes, bytes as u64),
        ];
        for (what, expected, got) in sizes {
            if let Some(expected) = expected.as_ref().filter(|e| !e.matches(Some(got))) {
                found.push(Mismatch {
                    what: what.to_owned(),
                    expected: expected.to_string(),
                    got: got.to_string(),
                });
            }
        }
        found
    }
}

impl DataMatch {
    /// What was expected and what came, if that is something else.
    fn mismatch(&self, value: Option<&[u8]>, round: Option<u64>) -> Option<(String, String)> {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let none = || "none".to_owned();
        match self {
            Self::Hex(bytes) => (value != Some(bytes.as_slice()))
                .then(|| (hex(bytes), value.map_or_else(none, hex))),
            Self::Size(size) => {
                let got = value.map(|value| value.len() as u64);
                (!size.matches(got)).then(|| {
                    let got = got.map_or_else(none, |got| format!("{got} bytes"));
                    (format!("{size} bytes"), got)
                })
            }
            Self::Text(text) => {
                let numbered = round.map(|n| text.numbered(n));
                let text = numbered.as_ref().unwrap_or(text);
                let values: Vec<&[u8]> = value.into_iter().collect();
                (!text.matches(&values)).then(|| {
                    let got = value
                        .map_or_else(none, |value| format!("{:?}", super::trace::shown(value)));
                    (text.to_string(), got)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::parse_yaml;
    use super::*;

    #[test]
    fn a_fault_is_read_in_each_of_its_forms() {
        let host = |yaml: &str| match parse_yaml::<FaultBlock>(yaml).unwrap() {
            FaultBlock::Host(fault) => fault,
            FaultBlock::Clock(_) => panic!("{yaml}"),
        };
        let log = || Fault::answer("proxy_log", Status::InternalFailure).unwrap();
        assert_eq!(host("{hostcall: log, status: internal_failure}"), log());
        assert_eq!(
            host("{hostcall: proxy_log, status: internal_failure, nth: 3, plugin: a}"),
            log().nth(3).plugin("a")
        );
        assert_eq!(
            host("{cas: lose, after: 1, times: 2}"),
            Fault::lose_cas().after(1).times(2)
        );
        assert_eq!(host("{trap: on_tick}"), Fault::trap_in("on_tick").unwrap());
        assert_eq!(host("{trap: log}"), Fault::trap_at("log").unwrap());
        let clock = parse_yaml::<FaultBlock>("{clock: -1m30s}").unwrap();
        assert!(matches!(clock, FaultBlock::Clock(-90_000_000_000)));
    }

    #[test]
    fn a_fault_that_makes_no_sense_is_refused_with_a_sentence() {
        let table = [
            ("{hostcall: log}", "`hostcall` and `status` belong together"),
            ("{times: 3}", "exactly one of `hostcall`, `cas`, `trap`"),
            ("{cas: lose, trap: on_tick}", "exactly one of `hostcall`"),
            ("{cas: lose, nth: 0}", "`nth` counts from 1"),
            ("{cas: lose, nth: 1, times: 2}", "`nth` goes without"),
            ("{clock: 1h, times: 2}", "`clock` stands alone"),
            ("{clock: soon}", "`soon` is not a jump of the clock"),
            (
                "{trap: on_tik}",
                "no callback `on_tik`; did you mean `on_tick`?",
            ),
            (
                "{hostcall: get_shared_date, status: ok}",
                "did you mean `get_shared_data`?",
            ),
        ];
        for (yaml, sentence) in table {
            let error = parse_yaml::<FaultBlock>(yaml).unwrap_err().to_string();
            assert!(error.contains(sentence), "{yaml}: {error}");
        }
    }

    #[test]
    fn shared_data_is_held_against_texts_bytes_and_sizes() {
        let entries: BTreeMap<Vec<u8>, Vec<u8>> =
            [(b"a".to_vec(), b"one".to_vec()), (vec![0, 255], vec![1, 2])].into();
        let found = |yaml: &str| -> Vec<String> {
            let expect: SharedDataExpect = parse_yaml(yaml).unwrap();
            let found = expect.mismatches(&entries, Some(1));
            found.iter().map(Mismatch::to_string).collect()
        };
        for yaml in [
            "{keys: {a: one, b: absent, 'hex:00ff': {hex: '0102'}}, count: 2, bytes: {max: 8}}",
            "{keys: {a: ~^o, 'hex:00FF': {size: 2}}}",
        ] {
            assert_eq!(found(yaml), Vec::<String>::new(), "{yaml}");
        }
        assert_eq!(
            found("{keys: {a: two, b: {size: 1}, 'hex:00ff': {hex: '03'}}, count: 1, bytes: 9}"),
            [
                "shared data a: expected \"two\", got \"one\"",
                "shared data b: expected 1 bytes, got none",
                "shared data hex:00ff: expected 03, got 0102",
                "keys of shared data: expected 1, got 2",
                "bytes of shared data: expected 9, got 8",
            ]
        );
    }

    #[test]
    fn a_budget_says_what_was_spent() {
        let budget: Budget =
            parse_yaml("{hostcalls: 2, calls: {log: {max: 1}}, instructions: {max: 10}}").unwrap();
        assert_eq!(budget.unknown(), None);
        let cost = Cost {
            hostcalls: [("proxy_log", 2), ("proxy_done", 1)].into(),
            instructions: Some(11),
        };
        let found = budget.mismatches(&cost);
        let found: Vec<String> = found.iter().map(Mismatch::to_string).collect();
        assert_eq!(
            found,
            [
                "budget of hostcalls: expected 2, got 3",
                "budget of instructions: expected 0 to 10, got 11",
                "budget of log: expected 0 to 1, got 2",
            ]
        );
    }

    #[test]
    fn statuses_are_counted_and_an_unnamed_one_is_wrong() {
        let parallel: Parallel =
            parse_yaml("{requests: [], statuses: {200: 1, 429: {min: 2}}}").unwrap();
        let exchange = |status| Exchange {
            answer: Some(super::super::backend::Answered {
                status,
                ..Default::default()
            }),
            ..Exchange::default()
        };
        let found = |statuses: &[u16]| -> Vec<String> {
            let exchanges: Vec<_> = statuses.iter().map(|status| exchange(*status)).collect();
            let found = parallel.mismatches(&exchanges);
            found.iter().map(Mismatch::to_string).collect()
        };
        assert!(found(&[429, 200, 429]).is_empty());
        assert_eq!(
            found(&[200, 200, 503, 429]),
            [
                "answers with status 200: expected 1, got 2",
                "answers with status 429: expected at least 2, got 1",
                "answers with status 503: expected 0, got 1",
            ]
        );
    }
}
