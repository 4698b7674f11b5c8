//! The store, one worker at a time.

mod shared_data;

use cache_lookup::remote::fleet;
use cache_lookup::store::layout::{CHUNK, WAYS};
use cache_lookup::store::{Core, Kept, Loaded, Meta, Purge, Scope, Settings, View};
use filter_core::hash::{Hash, Seed};
use shared_data::SharedData;

const MIB: u64 = 1024 * 1024;
const FOREVER: u64 = u64::MAX;

struct Cache {
    core: Core,
    shared: SharedData,
    now: u64,
}

impl Cache {
    fn new(max_bytes: u64) -> Self {
        let settings = Settings {
            max_bytes,
            max_object_bytes: 6 * MIB,
            worker_bytes: 16 * MIB,
        };
        Self {
            core: Core::new(&settings, Seed::from_bytes([1; 16])),
            shared: SharedData::default(),
            now: 1_000_000,
        }
    }

    fn hash(&self, key: &str) -> Hash {
        self.core.hash(key.as_bytes())
    }

    fn view(&mut self) -> View {
        self.shared.run(self.core.look(None)).1
    }

    fn get(&mut self, key: &str) -> Option<Loaded> {
        let (view, hash) = (self.view(), self.hash(key));
        self.core.ask(hash);
        self.shared.run(self.core.find(&view, hash, self.now))
    }

    fn put(&mut self, key: &str, body: &[u8]) -> Kept {
        self.put_with(key, body, FOREVER, &[])
    }

    fn put_with(&mut self, key: &str, body: &[u8], keep_until: u64, tags: &[&str]) -> Kept {
        let view = self.view();
        self.put_since(&view, key, body, keep_until, tags)
    }

    fn put_since(
        &mut self,
        view: &View,
        key: &str,
        body: &[u8],
        keep_until: u64,
        tags: &[&str],
    ) -> Kept {
        let length = Some(body.len() as u64);
        let Some(mut draft) = self.core.draft(view, self.hash(key), length) else {
            return Kept::TooLarge;
        };
        for piece in body.chunks(10_000) {
            assert!(draft.append(piece));
        }
        let meta = Meta {
            head: format!("head of {key}").into_bytes(),
            keep_until,
            name: key.as_bytes().to_vec(),
            tags: tags.iter().map(|tag| tag.as_bytes().to_vec()).collect(),
        };
        self.shared.run(self.core.commit(draft, meta, self.now))
    }

    fn body(&mut self, key: &str) -> Option<Vec<u8>> {
        self.get(key).map(|found| found.body)
    }

    /// Bytes that are in use, without those that the worker has in advance.
    fn used(&mut self) -> u64 {
        self.shared.run(self.core.used()) - self.core.in_advance()
    }

    /// Reads and writes of storing an object.
    fn calls_to_put(&mut self, key: &str, body: &[u8]) -> u64 {
        let view = self.view();
        let before = self.shared.calls;
        assert_eq!(self.put_since(&view, key, body, FOREVER, &[]), Kept::Stored);
        self.shared.calls - before
    }

    fn purge(&mut self, what: Scope, soft: bool) {
        self.shared.run(self.core.purge(Purge { what, soft }));
    }

    fn invalidate(&mut self, key: &str, soft: bool) -> bool {
        let hash = self.hash(key);
        self.shared.run(self.core.invalidate(hash, soft, self.now))
    }
}

fn body(len: usize, version: u64) -> Vec<u8> {
    (0..len as u64)
        .map(|at| ((at * 31 + version * 17 + at / 256) % 251) as u8)
        .collect()
}

#[test]
fn bodies_of_every_length_around_the_chunk_size_come_back_exactly() {
    let mut cache = Cache::new(64 * MIB);
    for len in [0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5_000_000] {
        let key = format!("a.example/{len}");
        assert_eq!(cache.put(&key, &body(len, 1)), Kept::Stored);
        let found = cache.get(&key).unwrap();
        assert_eq!(found.body, body(len, 1), "{len}");
        assert_eq!(found.head, format!("head of {key}").into_bytes());
        assert!(!found.stale);
    }
    assert_eq!(cache.get("a.example/2"), None);
}

#[test]
fn a_newer_version_takes_the_place_of_the_older_one() {
    let mut cache = Cache::new(64 * MIB);
    cache.put("k", &body(200_000, 1));
    cache.put("k", &body(100, 2));
    assert_eq!(cache.body("k"), Some(body(100, 2)));
    let used = cache.used();
    assert!(used < 1000, "the older one's bytes are free: {used}");
}

#[test]
fn what_is_kept_until_then_is_gone_from_then_on() {
    let mut cache = Cache::new(64 * MIB);
    cache.put_with("k", b"body", cache.now + 10, &[]);
    cache.now += 9;
    assert!(cache.get("k").is_some());
    cache.now += 1;
    assert!(cache.get("k").is_none());
}

#[test]
fn a_body_over_max_object_bytes_is_not_stored() {
    let mut cache = Cache::new(64 * MIB);
    let (view, hash) = (cache.view(), cache.hash("k"));
    assert!(cache.core.draft(&view, hash, Some(6 * MIB + 1)).is_none());
    let mut draft = cache.core.draft(&view, hash, None).unwrap();
    assert!(draft.append(&vec![0; 6 * MIB as usize]));
    assert!(!draft.append(b"x"));
}

#[test]
fn bodies_on_their_way_take_bounded_memory() {
    let mut cache = Cache::new(64 * MIB);
    let view = cache.view();
    let piece = vec![0; MIB as usize];
    let mut drafts = Vec::new();
    for number in 0..100 {
        let hash = cache.hash(&number.to_string());
        if let Some(mut draft) = cache.core.draft(&view, hash, None)
            && draft.append(&piece)
        {
            drafts.push(draft);
        }
    }
    assert_eq!(drafts.len(), 16);
    drafts.clear();
    let mut draft = cache.core.draft(&view, cache.hash("k"), Some(MIB)).unwrap();
    assert!(draft.append(&piece), "dropped drafts give their room back");
}

#[test]
fn a_purge_hits_what_it_names_and_nothing_born_later() {
    let mut cache = Cache::new(64 * MIB);
    let fill = |cache: &mut Cache| {
        cache.put_with("a.example/img/1", b"1", FOREVER, &["news"]);
        cache.put_with("a.example/img/2", b"2", FOREVER, &["sport", "all"]);
        cache.put_with("b.example/", b"3", FOREVER, &["news"]);
    };
    let keys = ["a.example/img/1", "a.example/img/2", "b.example/"];
    let there = |cache: &mut Cache| keys.map(|key| cache.get(key).is_some());
    for (what, left) in [
        (Scope::Tag(b"news".to_vec()), [false, true, false]),
        (
            Scope::Prefix(b"a.example/img/".to_vec()),
            [false, false, true],
        ),
        (Scope::All, [false, false, false]),
    ] {
        fill(&mut cache);
        assert_eq!(there(&mut cache), [true; 3]);
        cache.purge(what.clone(), false);
        assert_eq!(there(&mut cache), left, "{what:?}");
        fill(&mut cache);
        assert_eq!(there(&mut cache), [true; 3], "{what:?}");
    }
}

#[test]
fn a_soft_purge_leaves_objects_that_are_stale() {
    let mut cache = Cache::new(64 * MIB);
    for what in [
        Scope::Tag(b"news".to_vec()),
        Scope::Prefix(b"k".to_vec()),
        Scope::All,
    ] {
        cache.put_with("k", b"body", FOREVER, &["news"]);
        assert!(!cache.get("k").unwrap().stale);
        cache.purge(what.clone(), true);
        assert!(cache.get("k").unwrap().stale, "{what:?}");
    }
    cache.put("k", b"body");
    assert!(!cache.get("k").unwrap().stale);
    assert!(cache.invalidate("k", true));
    assert!(cache.get("k").unwrap().stale);
}

#[test]
fn what_was_asked_for_before_a_purge_is_not_found_after_it() {
    let mut cache = Cache::new(64 * MIB);
    let view = cache.view();
    cache.purge(Scope::All, false);
    cache.put_since(&view, "k", b"old", FOREVER, &[]);
    assert_eq!(cache.get("k"), None);
}

#[test]
fn what_was_asked_for_before_an_invalidation_is_not_stored_after_it() {
    let mut cache = Cache::new(64 * MIB);
    for (soft, stored) in [(false, false), (false, true), (true, false)] {
        let key = format!("{soft}{stored}");
        if stored {
            cache.put(&key, b"older");
        }
        let view = cache.view();
        assert_eq!(cache.invalidate(&key, soft), stored);
        let kept = cache.put_since(&view, &key, b"old", FOREVER, &[]);
        assert_eq!(kept, Kept::Superseded);
        assert_eq!(cache.get(&key), None);
        assert_eq!(cache.put(&key, b"new"), Kept::Stored);
        assert_eq!(cache.body(&key), Some(b"new".to_vec()));
    }
}

#[test]
fn an_older_invalidation_that_comes_later_takes_nothing_back() {
    for softs in [[false, false], [false, true], [true, false], [true, true]] {
        let mut cache = Cache::new(MIB);
        let hash = cache.hash("a");
        cache.put("a", b"old");
        let [older_soft, younger_soft] = softs;
        let mut older = cache.core.invalidate(hash, older_soft, cache.now);
        // It reads the board and writes its number, and then others have their turn.
        let mut answer = None;
        for _ in 0..2 {
            let done = cache.shared.step(&mut older, &mut answer);
            assert_eq!(done, None);
        }
        let asked = cache.shared.run(cache.core.look(None)).1;
        let younger = cache.core.invalidate(hash, younger_soft, cache.now);
        cache.shared.run(younger);
        while cache.shared.step(&mut older, &mut answer).is_none() {}
        drop(older);
        let kept = cache.put_since(&asked, "a", b"asked before the younger one", FOREVER, &[]);
        assert_eq!(kept, Kept::Superseded, "{softs:?}");
        assert_eq!(cache.put("a", b"asked after both"), Kept::Stored);
    }
}

#[test]
fn an_invalidation_among_other_keys_objects_keeps_out_what_was_asked_for_before() {
    let mut cache = Cache::new(MIB);
    let hash = cache.hash("a");
    let set_of = |cache: &Cache, hash| cache.core.layout().set_of(hash);
    // As many as fill the set that "a" belongs to.
    let names = (0..).map(|number: u32| format!("other-{number}"));
    let others = names.filter(|name| set_of(&cache, cache.hash(name)) == set_of(&cache, hash));
    for name in others.take(usize::from(WAYS)).collect::<Vec<_>>() {
        assert_eq!(cache.put(&name, b"x"), Kept::Stored, "{name}");
    }
    for _ in 0..10 {
        cache.core.ask(hash); // It would be let in.
    }
    let asked = cache.view();
    assert!(!cache.invalidate("a", false));
    let kept = cache.put_since(&asked, "a", b"asked before", FOREVER, &[]);
    assert_eq!(kept, Kept::Superseded);
    assert_eq!(cache.put("a", b"asked after"), Kept::Stored);
}

#[test]
fn a_soft_invalidation_does_not_bring_back_what_a_purge_took() {
    let mut cache = Cache::new(64 * MIB);
    cache.put("k", b"body");
    cache.purge(Scope::Prefix(b"k".to_vec()), false);
    cache.invalidate("k", true);
    assert_eq!(cache.get("k"), None);
}

#[test]
fn a_validated_object_has_a_new_head_and_the_same_body() {
    let mut cache = Cache::new(64 * MIB);
    cache.put("k", &body(100_000, 1));
    cache.invalidate("k", true);
    let (view, hash) = (cache.view(), cache.hash("k"));
    let stale = cache.get("k").unwrap();
    assert!(stale.stale);
    for head in [&b"a longer head than it had before"[..], b"short"] {
        let until = cache.now + 5;
        let refresh = cache
            .core
            .refresh(&view, hash, &stale, head, until, cache.now);
        assert!(cache.shared.run(refresh));
        let found = cache.get("k").unwrap();
        assert_eq!(found.head, head);
        assert_eq!(found.body, body(100_000, 1));
        assert_eq!((found.stale, found.keep_until), (false, until));
    }
    cache.put("k", b"new");
    let refresh = cache
        .core
        .refresh(&view, hash, &stale, b"late", FOREVER, cache.now);
    assert!(
        !cache.shared.run(refresh),
        "another version is stored by now"
    );
    assert_eq!(cache.get("k").unwrap().head, b"head of k");
}

#[test]
fn an_object_with_a_byte_wrong_or_a_chunk_of_another_is_not_found() {
    let mut cache = Cache::new(16 * MIB);
    cache.put("k", &body(200_000, 1));
    cache.put("other", &body(200_000, 2));
    let keys = cache.shared.key_list();
    let chunks: Vec<_> = keys
        .iter()
        .filter(|key| {
            cache
                .shared
                .read(key)
                .0
                .is_some_and(|value| value.len() > CHUNK)
        })
        .collect();
    assert_eq!(chunks.len(), 6);
    for (at, chunk) in chunks.iter().enumerate() {
        let (right, _) = cache.shared.read(chunk);
        let right = right.unwrap();
        let mut wrong = right.clone();
        wrong[CHUNK / 2] ^= 1;
        let (another, _) = cache.shared.read(chunks[(at + 1) % chunks.len()]);
        for value in [wrong, another.unwrap(), Vec::new(), b"garbage".to_vec()] {
            cache.shared.put(chunk, value);
            let found = [cache.body("k"), cache.body("other")];
            assert_eq!(found.iter().filter(|found| found.is_none()).count(), 1);
            for (body_found, version) in found.into_iter().zip([1, 2]) {
                assert!(body_found.is_none_or(|found| found == body(200_000, version)));
            }
        }
        cache.shared.put(chunk, right);
    }
    assert!(cache.get("k").is_some() && cache.get("other").is_some());
}

#[test]
fn garbage_in_any_value_is_a_miss_and_the_store_goes_on() {
    let mut cache = Cache::new(4 * MIB);
    for number in 0..200 {
        cache.put(&format!("k{number}"), &body(1000 * number, 1));
    }
    for key in cache.shared.key_list() {
        for garbage in [&b""[..], b"x", &[0xff; 5000]] {
            let (before, _) = cache.shared.read(&key);
            cache.shared.put(&key, garbage.to_vec());
            for number in [0, 1, 50, 199] {
                let found = cache.body(&format!("k{number}"));
                assert!(found.is_none_or(|found| found == body(1000 * number, 1)));
            }
            cache.shared.put(&key, before.unwrap());
        }
    }
    for key in cache.shared.key_list() {
        cache.shared.put(&key, vec![0xaa; 77]);
    }
    assert_eq!(cache.get("k1"), None);
    assert_eq!(cache.put("k1", b"again"), Kept::Stored);
    assert_eq!(cache.body("k1"), Some(b"again".to_vec()));
}

#[test]
fn what_a_stopped_worker_left_is_counted_anew() {
    let mut cache = Cache::new(4 * MIB);
    let view = cache.view();
    for number in 0..40 {
        let hash = cache.hash(&number.to_string());
        let mut draft = cache.core.draft(&view, hash, None).unwrap();
        assert!(draft.append(&body(150_000, number)));
        let mut op = cache.core.commit(draft, Meta::default(), cache.now);
        let mut answer = None;
        // The ledger has it, the directory not yet.
        for _ in 0..4 {
            assert!(cache.shared.step(&mut op, &mut answer).is_none());
        }
    }
    assert_eq!(cache.put("k", &body(1_000_000, 1)), Kept::NotAdmitted);
    cache.now += 2000;
    assert!(cache.shared.run(cache.core.recount(cache.now)));
    assert_eq!(cache.put("k", &body(1_000_000, 1)), Kept::Stored);
    assert_eq!(cache.body("k"), Some(body(1_000_000, 1)));
}

#[test]
fn a_lookup_takes_two_reads_and_one_per_full_chunk() {
    let mut cache = Cache::new(64 * MIB);
    cache.put("small", &body(1000, 1));
    cache.put("large", &body(3 * CHUNK + 5, 1));
    let view = cache.view();
    for (key, reads) in [("small", 2), ("large", 5), ("none", 1)] {
        let before = cache.shared.calls;
        let hash = cache.hash(key);
        cache.shared.run(cache.core.find(&view, hash, cache.now));
        assert_eq!(cache.shared.calls - before, reads, "{key}");
    }
}

#[test]
fn storing_a_small_object_takes_four_calls_and_seldom_two_more() {
    let mut cache = Cache::new(64 * MIB);
    // The set, the entry's version, and both written; the ledger at first.
    assert_eq!(cache.calls_to_put("0", b"body"), 6);
    let calls: Vec<_> = (1..=630)
        .map(|number| cache.calls_to_put(&number.to_string(), b"body"))
        .collect();
    assert_eq!(calls.iter().filter(|calls| **calls != 4).count(), 9);
    assert_eq!(cache.calls_to_put("1", b"other"), 4, "in place of another");
    cache.now += 1000;
    assert_eq!(cache.calls_to_put("x", b"body"), 6, "too old to be good");
    let stored = cache.shared.bytes_of(b'e');
    assert_eq!(cache.used(), stored);
}

#[test]
fn workers_are_told_of_a_change_if_one_of_them_remembers_the_object() {
    let mut cache = Cache::new(64 * MIB);
    let hash = cache.hash("k");
    for remembers in [false, true, false] {
        cache.put("k", b"old");
        let found = cache.get("k").unwrap();
        assert!(!found.remembered);
        let version = cache.view().version(hash);
        if remembers {
            assert!(cache.shared.run(cache.core.remember(hash, found.serial)));
            assert!(cache.get("k").unwrap().remembered);
        }
        cache.put("k", b"new");
        let is_told = cache.view().version(hash) != version;
        assert_eq!(is_told, remembers);
        assert!(
            !cache.shared.run(cache.core.remember(hash, found.serial)),
            "what isn't stored any more isn't to be remembered"
        );
    }
}

#[test]
fn workers_are_told_if_what_they_remember_is_evicted() {
    let mut cache = Cache::new(MIB);
    let hash = cache.hash("k");
    cache.put("k", b"body");
    let found = cache.get("k").unwrap();
    assert!(cache.shared.run(cache.core.remember(hash, found.serial)));
    let version = cache.view().version(hash);
    for number in 0..10_000 {
        let key = number.to_string();
        cache.get(&key);
        cache.get(&key);
        cache.put(&key, b"body");
    }
    assert_eq!(cache.get("k"), None);
    assert_ne!(cache.view().version(hash), version);
}

#[test]
fn what_was_taken_in_advance_before_all_was_counted_anew_is_not_used_after_it() {
    let mut cache = Cache::new(64 * MIB);
    cache.put("k", b"body");
    assert!(cache.core.in_advance() > 0);
    cache.now += 2000;
    assert!(cache.shared.run(cache.core.recount(cache.now)));
    let stored = cache.shared.bytes_of(b'e');
    assert_eq!(cache.shared.run(cache.core.used()), stored);
    cache.put("other", b"body");
    assert_eq!(cache.used(), cache.shared.bytes_of(b'e'));
}

#[test]
fn all_workers_know_once_a_response_says_how_queries_are_compared() {
    let mut cache = Cache::new(MIB);
    assert!(!cache.view().has_searches());
    cache.shared.run(cache.core.note_searches());
    assert!(cache.view().has_searches());
}

#[test]
fn what_was_invalidated_is_remembered_until_something_takes_its_place() {
    let mut cache = Cache::new(MIB);
    let erased = |cache: &mut Cache| {
        let hash = cache.hash("key");
        cache.shared.run(cache.core.erased(hash))
    };
    cache.put("key", b"old");
    assert_eq!(erased(&mut cache), None);
    cache.invalidate("key", false);
    assert_eq!(erased(&mut cache), Some(cache.now));
    cache.put("key", b"new");
    assert_eq!(erased(&mut cache), None);
}

#[test]
fn after_a_purge_no_worker_asks_the_remote_tier_until_all_have_read_of_it() {
    let Cache {
        core, mut shared, ..
    } = Cache::new(MIB);
    let layout = core.layout();
    assert!(!shared.run(fleet::is_quiet(layout, 1000)));
    shared.run(fleet::keep_quiet(layout, 1000));
    assert!(shared.run(fleet::is_quiet(layout, 1000)));
    // Each worker reads the list once a second.
    assert!(shared.run(fleet::is_quiet(layout, 2000)));
    assert!(!shared.run(fleet::is_quiet(layout, 3500)));
}
