//! What the workers of a gateway make of the fleet's lists.

#[path = "shared_data/mod.rs"]
mod shared_data;

use cache_lookup::remote::fleet::{self, EVERY, Line, List, News, SKEW, Target};
use cache_lookup::store::{Layout, Settings};
use shared_data::SharedData;

/// When the store was made.
const STARTED: u64 = 100_000;

fn layout() -> Layout {
    Layout::new(&Settings {
        max_bytes: 1 << 20,
        max_object_bytes: 1 << 16,
        worker_bytes: 0,
    })
}

fn lines(ids: std::ops::Range<u64>, at: u64) -> Vec<Line> {
    ids.map(|id| Line {
        at,
        gateway: 1,
        id,
        what: Target::Keys(vec![b"key".to_vec()]),
        soft: false,
    })
    .collect()
}

fn sift(shared: &mut SharedData, lines: &[Line]) -> News {
    shared.run(fleet::sift(&layout(), List::Keys, lines, STARTED))
}

fn ids(ids: std::ops::Range<u64>) -> News {
    News {
        ids: ids.collect(),
        is_lost: false,
    }
}

#[test]
fn a_line_is_new_to_one_worker_of_a_gateway() {
    let mut shared = SharedData::default();
    assert_eq!(sift(&mut shared, &[]), ids(0..0));
    assert_eq!(sift(&mut shared, &lines(0..3, STARTED)), ids(0..3));
    assert_eq!(sift(&mut shared, &lines(0..3, STARTED)), ids(0..0));
    assert_eq!(sift(&mut shared, &lines(2..5, STARTED)), ids(3..5));
}

#[test]
fn of_the_first_reading_those_are_new_that_the_store_may_have_missed() {
    let mut shared = SharedData::default();
    let mut all = lines(0..2, STARTED - SKEW - 1);
    all.extend(lines(2..4, STARTED - SKEW));
    assert_eq!(sift(&mut shared, &all), ids(2..4));
    assert_eq!(sift(&mut shared, &all), ids(0..0));
}

#[test]
fn a_full_list_of_which_nothing_is_known_may_have_had_more() {
    let length = u64::from(List::Keys.length());
    let mut shared = SharedData::default();
    assert!(!sift(&mut shared, &lines(0..length, STARTED)).ids.is_empty());
    let overlapping = sift(&mut shared, &lines(length - 1..2 * length - 1, STARTED));
    assert!(!overlapping.is_lost);
    let news = sift(&mut shared, &lines(2 * length..3 * length, STARTED));
    assert!(news.is_lost);
    assert_eq!(news.ids.len() as u64, length);
    let mut shared = SharedData::default();
    let old = lines(0..length, STARTED - SKEW - 1);
    assert_eq!(sift(&mut shared, &old), ids(0..0), "older than the store");
}

#[test]
fn what_a_gateway_knows_of_a_list_takes_bounded_room() {
    let mut shared = SharedData::default();
    let mut most = 0;
    for round in 0..20 {
        let length = u64::from(List::Keys.length());
        sift(
            &mut shared,
            &lines(round * length..(round + 1) * length, STARTED),
        );
        most = most.max(shared.bytes());
    }
    assert!(
        most <= 64 + 2 * 8 * u64::from(List::Keys.length()),
        "{most}"
    );
}

#[test]
fn one_worker_reads_the_keys_for_all() {
    let mut shared = SharedData::default();
    let layout = layout();
    let mut is_turn = |now| shared.run(fleet::is_turn(&layout, List::Keys, now));
    assert!(is_turn(STARTED));
    assert!(!is_turn(STARTED));
    assert!(!is_turn(STARTED + EVERY - 1));
    assert!(is_turn(STARTED + EVERY));
    assert!(is_turn(STARTED), "the clock was set back");
    sift(&mut shared, &lines(0..3, STARTED));
    let mut is_turn = |now| shared.run(fleet::is_turn(&layout, List::Keys, now));
    assert!(
        !is_turn(STARTED + 1),
        "a reading doesn't forget who had the turn"
    );
}
