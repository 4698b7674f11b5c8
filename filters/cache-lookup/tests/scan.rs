//! Far more than fits is sent through the store.

mod shared_data;

use cache_lookup::store::{Core, Kept, Meta, Settings};
use filter_core::hash::{Seed, digest};
use shared_data::SharedData;

const MIB: u64 = 1024 * 1024;

/// A length from 100 bytes to 5 MB, each order of magnitude about as often as the others.
fn length(number: u64) -> u64 {
    let random = digest(&number.to_le_bytes());
    let magnitude = 100 << (random % 16);
    (magnitude + (random >> 20) % magnitude).min(5_000_000)
}

fn body(number: u64) -> Vec<u8> {
    let mut body = vec![(number % 251) as u8; length(number) as usize];
    let end = body.len() - 8;
    body[end..].copy_from_slice(&number.to_le_bytes());
    body
}

/// The bytes that the keys themselves take in the host, generously.
fn keys_cost(shared: &SharedData) -> u64 {
    shared.keys() as u64 * 192
}

#[test]
fn ten_times_max_bytes_stay_within_it_and_leave_the_hot_set_alone() {
    let max_bytes = 64 * MIB;
    let settings = Settings {
        max_bytes,
        max_object_bytes: 8 * MIB,
        worker_bytes: 0,
    };
    let core = Core::new(&settings, Seed::from_bytes([9; 16]));
    let mut shared = SharedData::default();
    // About a third of what fits.
    let hot: Vec<u64> = (0..60).collect();
    let mut hits = 0_u32;
    let mut lookups = 0_u32;
    let get = |shared: &mut SharedData, number: u64, now: u64| {
        let (_, view) = shared.run(core.look(None));
        let hash = core.hash(&number.to_le_bytes());
        core.ask(hash);
        if let Some(found) = shared.run(core.find(&view, hash, now)) {
            assert!(found.body == body(number), "wrong bytes for {number}");
            return true;
        }
        let mut draft = core.draft(&view, hash, Some(length(number))).unwrap();
        assert!(draft.append(&body(number)));
        let meta = Meta {
            keep_until: u64::MAX,
            ..Meta::default()
        };
        let kept = shared.run(core.commit(draft, meta, now));
        assert!(matches!(kept, Kept::Stored | Kept::NotAdmitted), "{kept:?}");
        let bytes = shared.bytes() + keys_cost(shared);
        assert!(bytes <= max_bytes, "{bytes} of {max_bytes}");
        false
    };
    for round in 0..4 {
        for number in &hot {
            get(&mut shared, *number, round);
        }
    }
    let mut sent = 0;
    let mut number = 1000;
    while sent < 10 * max_bytes {
        get(&mut shared, number, number);
        sent += length(number);
        // A hot object is asked for between any two of the scan.
        let hottest = hot[(digest(&number.to_be_bytes()) % 60) as usize];
        lookups += 1;
        hits += u32::from(get(&mut shared, hottest, number));
        number += 1;
    }
    let rate = f64::from(hits) / f64::from(lookups);
    assert!(rate > 0.95, "{rate} of {lookups}");
    let used = shared.run(core.used());
    assert!(
        used > core.layout().budget() / 2,
        "the store is in use: {used}"
    );
    assert_eq!(used, shared.bytes_of(b'e') + shared.bytes_of(b'c'));
}

#[test]
fn a_set_that_got_hot_gets_in_past_one_that_no_longer_is() {
    let max_bytes = 4 * MIB;
    let settings = Settings {
        max_bytes,
        max_object_bytes: MIB,
        worker_bytes: 0,
    };
    let core = Core::new(&settings, Seed::from_bytes([9; 16]));
    let mut shared = SharedData::default();
    let mut ask = |number: u64| {
        let (_, view) = shared.run(core.look(None));
        let hash = core.hash(&number.to_le_bytes());
        core.ask(hash);
        if shared.run(core.find(&view, hash, 0)).is_some() {
            return true;
        }
        let mut draft = core.draft(&view, hash, None).unwrap();
        assert!(draft.append(&[1; 50_000]));
        let meta = Meta {
            keep_until: u64::MAX,
            ..Meta::default()
        };
        shared.run(core.commit(draft, meta, 0));
        false
    };
    for round in 0..20_u64 {
        for number in 0..50 {
            ask(number + round % 2);
        }
    }
    for _ in 0..30 {
        for number in 1000..1050 {
            ask(number);
        }
    }
    let hits = (1000..1050).filter(|number| ask(*number)).count();
    assert!(hits > 45, "{hits}");
}
