//! The tables in `filters/consistent-hash/tests/golden`, and how they are written.

use std::fmt::Write as _;
use std::path::Path;

use consistent_hash::placement::Algorithm;
use consistent_hash::placement::{maglev, ring};

use crate::case::{Case, Names};

/// How many keys a table is about.
pub(crate) const KEYS: usize = 100_000;

/// Of how many keys one has its host written down; the checksum is about all of them.
const SAMPLE: usize = 2_000;

/// The key of that number.
pub(crate) fn key(number: usize) -> String {
    format!("user-{number}")
}

/// A case for each table.
pub(crate) fn cases() -> Vec<Case> {
    let policies = [
        (
            "maglev",
            Algorithm::Maglev {
                table_size: Some(maglev::DEFAULT_TABLE_SIZE),
            },
        ),
        (
            "ring_hash",
            Algorithm::Ring {
                minimum: ring::DEFAULT_MINIMUM,
                maximum: ring::LARGEST,
            },
        ),
    ];
    let mut cases = Vec::new();
    for (policy, algorithm) in policies {
        for count in [8, 100] {
            for weighted in [false, true] {
                let kind = if weighted { "-weighted" } else { "" };
                let weights = (0..count).map(|host| if weighted { host * 7 % 5 + 1 } else { 1 });
                cases.push(Case {
                    name: format!("{policy}-{count}{kind}"),
                    algorithm,
                    weights: weights.collect(),
                    names: Names::HashKey,
                    fails: false,
                });
            }
        }
    }
    cases
}

/// Writes what Envoy chose for each key.
pub(crate) fn write(case: &Case, version: &str, chosen: &[usize]) {
    assert_eq!(chosen.len(), KEYS);
    let mut text = format!(
        "# What Envoy {version} chose, written by a test of host-test: see ../golden.rs.\n"
    );
    let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("memory");
    match case.algorithm {
        Algorithm::Maglev { table_size } => {
            line(format_args!("maglev {}", table_size.expect("given")));
        }
        Algorithm::Ring { minimum, maximum } => line(format_args!("ring_hash {minimum} {maximum}")),
        Algorithm::Auto | Algorithm::Rendezvous => unreachable!("Envoy has no such policy"),
    }
    // The checksum is of the places in this list, two bytes each.
    let listed: Vec<usize> = case.listed().collect();
    for &host in &listed {
        let keys = chosen.iter().filter(|&&chosen| chosen == host).count();
        let (name, weight) = (case.key_of(host), case.weights[host]);
        line(format_args!("host {name} {weight} {keys}"));
    }
    let places = chosen.iter().flat_map(|chosen| {
        let place = listed.iter().position(|host| host == chosen);
        let place = u16::try_from(place.expect("one of the hosts")).expect("few hosts");
        place.to_le_bytes()
    });
    let checksum = filter_core::hash::digest(&places.collect::<Vec<u8>>());
    line(format_args!("keys {KEYS} {checksum:016x}"));
    for number in (0..KEYS).step_by(SAMPLE) {
        let host = case.key_of(chosen[number]);
        line(format_args!("key {} {host}", key(number)));
    }
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../filters/consistent-hash/tests/golden");
    std::fs::write(folder.join(format!("{}.txt", case.name)), text).expect("written");
}
