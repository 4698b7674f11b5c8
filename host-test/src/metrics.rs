//! Metrics that guests define, with Envoy's ids and statuses.
//!
//! A metric is one number per name over all VMs. Ids belong to a VM: counters 4, 8, …, gauges
//! 5, 9, …, histograms 6, 10, …; defining a name again gives a new id of the same metric.

use std::collections::{BTreeMap, HashMap};

use crate::abi::Status;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Set or moved both ways.
    Gauge,
    /// Values with their count and sum.
    Histogram,
}

impl MetricKind {
    /// Reads the guest's number.
    pub fn from_guest(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Counter,
            1 => Self::Gauge,
            2 => Self::Histogram,
            _ => return None,
        })
    }

    fn low_bits(self) -> u32 {
        match self {
            Self::Counter => 0,
            Self::Gauge => 1,
            Self::Histogram => 2,
        }
    }
}

/// One metric's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metric {
    /// Counter's or gauge's value; a histogram's sum.
    pub value: u64,
    /// Values recorded in a histogram, in order of arrival up to [`Metric::KEPT`].
    pub samples: Vec<u64>,
    /// How many values a histogram has recorded.
    pub count: u64,
    /// How many of them are within each of [`Metric::BOUNDS`].
    pub buckets: [u64; Self::BOUNDS.len()],
}

impl Metric {
    /// Upper bounds of the buckets of Envoy's histograms.
    pub const BOUNDS: [f64; 19] = [
        0.5,
        1.0,
        5.0,
        10.0,
        25.0,
        50.0,
        100.0,
        250.0,
        500.0,
        1000.0,
        2500.0,
        5000.0,
        10_000.0,
        30_000.0,
        60_000.0,
        300_000.0,
        600_000.0,
        1_800_000.0,
        3_600_000.0,
    ];

    /// Samples kept for expectations; the sum goes on after that.
    pub const KEPT: usize = 10_000;
}

/// The metrics of all VMs.
#[derive(Debug, Default)]
pub struct Metrics {
    index: HashMap<(MetricKind, String), usize>,
    all: Vec<(MetricKind, String, Metric)>,
}

impl Metrics {
    /// Finds or makes a metric; the position is stable.
    pub fn define(&mut self, kind: MetricKind, name: &str) -> usize {
        if let Some(&at) = self.index.get(&(kind, name.to_owned())) {
            return at;
        }
        let at = self.all.len();
        self.all.push((kind, name.to_owned(), Metric::default()));
        self.index.insert((kind, name.to_owned()), at);
        at
    }

    /// `proxy_increment_metric`.
    pub fn increment(&mut self, at: usize, by: i64) -> Status {
        let Some((kind, _, metric)) = self.all.get_mut(at) else {
            return Status::NotFound;
        };
        match kind {
            // Envoy refuses 0 as well.
            MetricKind::Counter if by <= 0 => return Status::BadArgument,
            MetricKind::Counter | MetricKind::Gauge => {
                metric.value = metric.value.wrapping_add_signed(by);
            }
            MetricKind::Histogram => return Status::BadArgument,
        }
        Status::Ok
    }

    /// `proxy_record_metric`: sets a gauge, adds to a counter, takes a histogram's value.
    pub fn record(&mut self, at: usize, value: u64) -> Status {
        let Some((kind, _, metric)) = self.all.get_mut(at) else {
            return Status::NotFound;
        };
        match kind {
            MetricKind::Counter => metric.value = metric.value.wrapping_add(value),
            MetricKind::Gauge => metric.value = value,
            MetricKind::Histogram => {
                metric.value = metric.value.wrapping_add(value);
                metric.count += 1;
                for (bucket, bound) in metric.buckets.iter_mut().zip(Metric::BOUNDS) {
                    *bucket += u64::from(value as f64 <= bound);
                }
                if metric.samples.len() < Metric::KEPT {
                    metric.samples.push(value);
                }
            }
        }
        Status::Ok
    }

    /// `proxy_get_metric`.
    pub fn get(&self, at: usize) -> Result<u64, Status> {
        match self.all.get(at) {
            None => Err(Status::NotFound),
            Some((MetricKind::Histogram, ..)) => Err(Status::BadArgument),
            Some((_, _, metric)) => Ok(metric.value),
        }
    }

    /// Kind and name of the metric at a position.
    pub(crate) fn at(&self, position: usize) -> Option<(MetricKind, String)> {
        let (kind, name, _) = self.all.get(position)?;
        Some((*kind, name.clone()))
    }

    /// All metrics by name.
    pub fn iter(&self) -> impl Iterator<Item = (MetricKind, &str, &Metric)> {
        self.all
            .iter()
            .map(|(kind, name, metric)| (*kind, name.as_str(), metric))
    }

    /// Counters and gauges by name.
    pub fn numbers(&self) -> BTreeMap<String, u64> {
        self.iter()
            .filter(|(kind, ..)| *kind != MetricKind::Histogram)
            .map(|(_, name, metric)| (name.to_owned(), metric.value))
            .collect()
    }
}

/// The ids that one VM has given out.
#[derive(Debug, Default)]
pub struct MetricIds {
    given: [u32; 3],
    by_id: HashMap<u32, usize>,
}

impl MetricIds {
    /// Gives the next id of a kind to the metric at `position`.
    pub fn give(&mut self, kind: MetricKind, position: usize) -> u32 {
        let low = kind.low_bits();
        let given = &mut self.given[low as usize];
        *given += 1;
        let id = *given * 4 + low;
        self.by_id.insert(id, position);
        id
    }

    /// The position of an id that was given out.
    pub fn find(&self, id: u32) -> Result<usize, Status> {
        self.by_id.get(&id).copied().ok_or(Status::NotFound)
    }

    /// The same for a call that histograms don't have: their ids, and those of no kind, are a bad
    /// argument whether they were given out or not.
    pub fn find_number(&self, id: u32) -> Result<usize, Status> {
        match id & 3 {
            0 | 1 => self.find(id),
            _ => Err(Status::BadArgument),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_step_by_four_within_their_kind() {
        let mut ids = MetricIds::default();
        let kinds = [
            MetricKind::Counter,
            MetricKind::Gauge,
            MetricKind::Histogram,
        ];
        let given: Vec<_> = kinds
            .iter()
            .chain(&kinds)
            .map(|&k| ids.give(k, 0))
            .collect();
        assert_eq!(given, [4, 5, 6, 8, 9, 10]);
        assert_eq!(ids.find_number(7), Err(Status::BadArgument));
        assert_eq!(ids.find_number(6), Err(Status::BadArgument));
        assert_eq!(ids.find(12), Err(Status::NotFound));
    }

    #[test]
    fn a_counter_refuses_zero_and_adds_on_record() {
        let mut metrics = Metrics::default();
        let at = metrics.define(MetricKind::Counter, "c");
        assert_eq!(metrics.increment(at, 0), Status::BadArgument);
        assert_eq!(metrics.increment(at, 2), Status::Ok);
        assert_eq!(metrics.record(at, 3), Status::Ok);
        assert_eq!(metrics.get(at), Ok(5));
        assert_eq!(metrics.define(MetricKind::Counter, "c"), at);
    }

    #[test]
    fn a_histogram_counts_on_when_it_keeps_no_more_values() {
        let mut metrics = Metrics::default();
        let at = metrics.define(MetricKind::Histogram, "h");
        for _ in 0..=Metric::KEPT {
            metrics.record(at, 7);
        }
        let (_, _, metric) = metrics.iter().next().unwrap();
        assert_eq!(metric.samples.len(), Metric::KEPT);
        let within = |bound: f64| {
            let position = Metric::BOUNDS.iter().position(|known| *known == bound);
            metric.buckets[position.unwrap()]
        };
        assert_eq!(
            (metric.count, within(5.0), within(10.0)),
            (10_001, 0, 10_001)
        );
    }

    #[test]
    fn a_gauge_wraps_below_zero() {
        let mut metrics = Metrics::default();
        let at = metrics.define(MetricKind::Gauge, "g");
        metrics.increment(at, -1);
        assert_eq!(metrics.get(at), Ok(u64::MAX));
    }
}
