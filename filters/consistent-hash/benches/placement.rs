//! What a choice and a placement cost, natively: `cargo bench --package consistent-hash`.
//!
//! Each figure is the best of several runs over random hashes; other work on the machine only adds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use consistent_hash::hot_keys::{HotKeys, HotRule};
use consistent_hash::placement::hosts::{Host, HostSet};
use consistent_hash::placement::ring;
use consistent_hash::placement::{Algorithm, Placement};
use filter_core::hash::digest;
use filter_core::time::{Span, Timestamp};

const RUNS: usize = 7;
const LOOKUPS: u32 = 20_000;

fn main() {
    let hashes: Vec<u64> = (0..LOOKUPS).map(|n| digest(&n.to_le_bytes())).collect();
    println!("hosts      algorithm   build ms   first ns   first three ns");
    for count in [8, 100, 256, 1_000, 10_000] {
        let hosts = (0..count).map(|n| Host::new(format!("10.{}.{}.1:80", n / 256, n % 256)));
        let set = HostSet::new(hosts.collect()).expect("hosts");
        let ring = Algorithm::Ring {
            minimum: ring::DEFAULT_MINIMUM,
            maximum: ring::LARGEST,
        };
        let maglev = Algorithm::Maglev { table_size: None };
        for algorithm in [Algorithm::Rendezvous, maglev, ring, Algorithm::Auto] {
            let build = best(3, || {
                black_box(Placement::build(&set, algorithm));
            });
            let placement = Placement::build(&set, algorithm);
            let first = best(RUNS, || {
                for &hash in &hashes {
                    black_box(placement.first(black_box(hash)));
                }
            });
            let three = best(RUNS, || {
                for &hash in &hashes {
                    for place in placement.candidates(black_box(hash)).take(3) {
                        black_box(place);
                    }
                }
            });
            let name = match algorithm {
                Algorithm::Auto => format!("auto: {}", placement.name()),
                _ => placement.name().to_owned(),
            };
            println!(
                "{count:>5}  {name:>15}  {:>9.2}  {:>9.1}  {:>15.1}",
                build.as_secs_f64() * 1e3,
                each(first),
                each(three)
            );
        }
    }
    let mut keys = HotKeys::new(HotRule {
        share: 50,
        spread: 3,
        window: Span::from_secs(10),
    });
    let note = best(RUNS, || {
        for &hash in &hashes {
            black_box(keys.note(black_box(hash), Timestamp::from_nanos(1)));
        }
    });
    println!(
        "a request noted for hot keys of 5 %, all keys different: {:.1} ns",
        each(note)
    );
}

fn best(runs: usize, mut work: impl FnMut()) -> Duration {
    let run = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..runs).map(run).min().unwrap_or_default()
}

fn each(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(LOOKUPS)
}
