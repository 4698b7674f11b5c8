//! Workers that take turns at every read and write, in any order, held against a naive model.

mod shared_data;

use std::collections::BTreeMap;

use cache_lookup::store::op::{Answer, Op};
use cache_lookup::store::{Core, Kept, Loaded, Meta, Purge, Scope, Settings, View};
use filter_core::hash::Seed;
use filter_core::transaction::Cas;
use proptest::prelude::*;
use shared_data::SharedData;

const MAX_BYTES: u64 = 1024 * 1024;
const KEYS: u64 = 12;

/// What a worker is to do.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// Look, and store a body of so many bytes if nothing is found.
    Get {
        key: u64,
        len: usize,
    },
    /// Look, and store a new version whatever is found.
    Put {
        key: u64,
        len: usize,
    },
    /// Look, and give what is found a new head.
    Refresh {
        key: u64,
    },
    Invalidate {
        key: u64,
        soft: bool,
    },
    PurgeTag {
        tag: u64,
    },
    PurgePrefix {
        prefix: u64,
    },
    PurgeAll,
}

fn task() -> impl Strategy<Value = Task> {
    let len =
        || prop_oneof![4 => 0..2000_usize, 2 => 60_000..140_000_usize, 1 => 250_000..390_000_usize];
    prop_oneof![
        10 => (0..KEYS, len()).prop_map(|(key, len)| Task::Get { key, len }),
        6 => (0..KEYS, len()).prop_map(|(key, len)| Task::Put { key, len }),
        3 => (0..KEYS).prop_map(|key| Task::Refresh { key }),
        2 => (0..KEYS, any::<bool>()).prop_map(|(key, soft)| Task::Invalidate { key, soft }),
        1 => (0..3_u64).prop_map(|tag| Task::PurgeTag { tag }),
        1 => (0..2_u64).prop_map(|prefix| Task::PurgePrefix { prefix }),
        1 => Just(Task::PurgeAll),
    ]
}

fn tag_of(key: u64) -> u64 {
    key % 3
}

fn prefix_of(key: u64) -> u64 {
    key % 2
}

fn name_of(key: u64) -> Vec<u8> {
    format!("host{}/{key}", prefix_of(key)).into_bytes()
}

/// The body of a version: every byte depends on the version.
fn body(version: u64, len: usize) -> Vec<u8> {
    let seed = version.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..len as u64)
        .map(|at| (seed.rotate_left((at % 64) as u32) ^ at) as u8)
        .collect()
}

/// What was done to a key, by the moments at which it began and ended.
#[derive(Clone, Copy, Debug)]
struct Erased {
    began: u64,
    ended: Option<u64>,
    soft: bool,
}

/// All that was ever stored or erased.
#[derive(Debug, Default)]
struct Model {
    moment: u64,
    /// Per version: key, length, and when it was asked for.
    versions: BTreeMap<u64, (u64, usize, u64)>,
    erased: BTreeMap<u64, Vec<Erased>>,
    /// What was validated: version, the board's sequence number then, and when it was asked for.
    validated: Vec<(u64, u64, u64)>,
}

impl Model {
    fn keys_of(task: Task) -> Vec<u64> {
        let all = 0..KEYS;
        match task {
            Task::Invalidate { key, .. } => vec![key],
            Task::PurgeTag { tag } => all.filter(|key| tag_of(*key) == tag).collect(),
            Task::PurgePrefix { prefix } => all.filter(|key| prefix_of(*key) == prefix).collect(),
            Task::PurgeAll => all.collect(),
            _ => Vec::new(),
        }
    }

    /// What was found is what was stored under that key, exactly, and was not erased in between.
    fn check(&self, key: u64, looked: u64, found: &Loaded) {
        let head: Vec<u64> = String::from_utf8(found.head.clone())
            .unwrap()
            .split(' ')
            .map(|number| number.parse().unwrap())
            .collect();
        let [version, asked] = head[..] else {
            panic!("head {head:?}")
        };
        let (of, len, _) = self.versions[&version];
        assert_eq!(of, key, "another object's bytes");
        assert_eq!(found.body.len(), len);
        assert!(
            found.body == body(version, len),
            "wrong bytes of version {version}"
        );
        // A validated object is younger from the moment its record says so, some steps before its head does.
        let validated = self.validated.iter();
        let validated = validated.filter(|(of, born, _)| *of == version && *born == found.born);
        let asked = validated.map(|(_, _, at)| *at).fold(asked, u64::max);
        for erased in self.erased.get(&key).into_iter().flatten() {
            if asked < erased.began && erased.ended.is_some_and(|ended| ended < looked) {
                assert!(erased.soft && found.stale, "{erased:?} {asked} {looked}");
            }
        }
    }
}

enum Work<'a> {
    Look(Op<'a, (Cas, View)>),
    Find(Op<'a, Option<Loaded>>),
    Commit(Op<'a, Kept>),
    Refresh(Op<'a, bool>),
    Erase(Op<'a, ()>),
    Invalidate(Op<'a, bool>),
}

/// One worker, with what it is at.
struct Worker<'a> {
    core: &'a Core,
    tasks: Vec<Task>,
    task: Option<Task>,
    work: Option<Work<'a>>,
    answer: Option<Answer>,
    last: Option<(Cas, View)>,
    /// When the lookup began: what ended before, it sees.
    looked: u64,
    /// When it had read the board: what begins after, it can't know.
    asked: u64,
    erasing: Vec<(u64, usize)>,
}

impl<'a> Worker<'a> {
    /// Goes one step on, if there is anything to do.
    fn step(&mut self, shared: &mut SharedData, model: &mut Model, now: u64) {
        model.moment += 1;
        match self.work.take() {
            None => {
                let Some(task) = self.tasks.pop() else {
                    return;
                };
                self.begin(task, model, now);
            }
            Some(Work::Look(mut op)) => match shared.step(&mut op, &mut self.answer) {
                None => self.work = Some(Work::Look(op)),
                Some(last) => {
                    let Some(Task::Get { key, .. } | Task::Put { key, .. } | Task::Refresh { key }) =
                        self.task
                    else {
                        unreachable!("nothing else looks")
                    };
                    let hash = self.core.hash(&key.to_le_bytes());
                    self.core.ask(hash);
                    self.asked = model.moment;
                    self.work = Some(Work::Find(self.core.find(&last.1, hash, now)));
                    self.last = Some(last);
                }
            },
            Some(Work::Find(mut op)) => match shared.step(&mut op, &mut self.answer) {
                None => self.work = Some(Work::Find(op)),
                Some(found) => self.found(found, model, now),
            },
            Some(Work::Commit(mut op)) => match shared.step(&mut op, &mut self.answer) {
                None => self.work = Some(Work::Commit(op)),
                Some(_) => self.work = None,
            },
            Some(Work::Refresh(mut op)) => match shared.step(&mut op, &mut self.answer) {
                None => self.work = Some(Work::Refresh(op)),
                Some(_) => self.work = None,
            },
            Some(Work::Erase(mut op)) => match shared.step(&mut op, &mut self.answer) {
                None => self.work = Some(Work::Erase(op)),
                Some(()) => self.erased(model),
            },
            Some(Work::Invalidate(mut op)) => match shared.step(&mut op, &mut self.answer) {
                None => self.work = Some(Work::Invalidate(op)),
                Some(_) => self.erased(model),
            },
        }
    }

    fn begin(&mut self, task: Task, model: &mut Model, now: u64) {
        self.task = Some(task);
        self.answer = None;
        self.looked = model.moment;
        let soft = matches!(task, Task::Invalidate { soft: true, .. });
        for key in Model::keys_of(task) {
            let erased = model.erased.entry(key).or_default();
            self.erasing.push((key, erased.len()));
            erased.push(Erased {
                began: model.moment,
                ended: None,
                soft,
            });
        }
        let purge = |what| Work::Erase(self.core.purge(Purge { what, soft: false }));
        self.work = Some(match task {
            Task::Get { .. } | Task::Put { .. } | Task::Refresh { .. } => {
                Work::Look(self.core.look(self.last.take()))
            }
            Task::Invalidate { key, soft } => {
                let hash = self.core.hash(&key.to_le_bytes());
                Work::Invalidate(self.core.invalidate(hash, soft, now))
            }
            Task::PurgeTag { tag } => purge(Scope::Tag(tag.to_le_bytes().to_vec())),
            Task::PurgePrefix { prefix } => {
                purge(Scope::Prefix(format!("host{prefix}/").into_bytes()))
            }
            Task::PurgeAll => purge(Scope::All),
        });
    }

    fn erased(&mut self, model: &mut Model) {
        for (key, at) in self.erasing.drain(..) {
            if let Some(erased) = model.erased.get_mut(&key).and_then(|all| all.get_mut(at)) {
                erased.ended = Some(model.moment);
            }
        }
        self.work = None;
    }

    fn found(&mut self, found: Option<Loaded>, model: &mut Model, now: u64) {
        let (key, len, put) = match self.task {
            Some(Task::Get { key, len }) => (key, len, found.is_none()),
            Some(Task::Put { key, len }) => (key, len, true),
            Some(Task::Refresh { key }) => (key, 0, false),
            _ => unreachable!("nothing else finds"),
        };
        let hash = self.core.hash(&key.to_le_bytes());
        let (_, view) = self.last.as_ref().unwrap();
        if let Some(found) = &found {
            model.check(key, self.looked, found);
        }
        self.work = None;
        if put {
            let version = model.moment;
            model.versions.insert(version, (key, len, self.asked));
            let Some(mut draft) = self.core.draft(view, hash, None) else {
                return;
            };
            assert!(draft.append(&body(version, len)));
            let meta = Meta {
                head: format!("{version} {}", self.asked).into_bytes(),
                keep_until: u64::MAX,
                name: name_of(key),
                tags: vec![tag_of(key).to_le_bytes().to_vec()],
            };
            self.work = Some(Work::Commit(self.core.commit(draft, meta, now)));
        } else if let Some(found) = found
            && matches!(self.task, Some(Task::Refresh { .. }))
        {
            let version = String::from_utf8(found.head.clone()).unwrap();
            let version = version.split(' ').next().unwrap();
            let head = format!("{version} {}", self.asked).into_bytes();
            let number = version.parse().unwrap();
            let validated = (number, view.sequence(), self.asked);
            model.validated.push(validated);
            // The op borrows both; a test may leak a little.
            let (found, head) = (Box::leak(Box::new(found)), head.leak());
            let refresh = self.core.refresh(view, hash, found, head, u64::MAX, now);
            self.work = Some(Work::Refresh(refresh));
        }
    }
}

fn settings() -> Settings {
    Settings {
        max_bytes: MAX_BYTES,
        max_object_bytes: 400_000,
        worker_bytes: 4 * MAX_BYTES,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_order_of_steps_brings_a_wrong_byte_or_too_many(
        tasks in proptest::collection::vec(proptest::collection::vec(task(), 1..30), 3),
        turns in proptest::collection::vec(0..3_usize, 3000),
        bursts in proptest::collection::vec(1..12_usize, 3000),
        crash in proptest::option::of(0..2000_usize),
    ) {
        let seed = Seed::from_bytes([5; 16]);
        let cores = [0; 3].map(|_| Core::new(&settings(), seed));
        let mut shared = SharedData::default();
        let mut model = Model::default();
        let mut workers: Vec<_> = cores
            .iter()
            .zip(tasks)
            .map(|(core, tasks)| Worker {
                core,
                tasks,
                task: None,
                work: None,
                answer: None,
                last: None,
                looked: 0,
                asked: 0,
                erasing: Vec::new(),
            })
            .collect();
        let mut stopped = false;
        let schedule = turns.into_iter().zip(bursts).chain((0..3).cycle().zip(std::iter::repeat(1)));
        for (at, (turn, burst)) in schedule.enumerate() {
            for _ in 0..burst {
                workers[turn].step(&mut shared, &mut model, 1);
                prop_assert!(shared.bytes() <= MAX_BYTES, "{} bytes", shared.bytes());
            }
            if crash == Some(at) && workers[turn].work.take().is_some() {
                // The worker is stopped in the middle and starts anew.
                stopped = true;
                workers[turn].last = None;
                workers[turn].erasing.clear();
            }
            if workers.iter().all(|worker| worker.work.is_none() && worker.tasks.is_empty()) {
                break;
            }
        }
        if !stopped {
            let used = shared.run(cores[0].used());
            let in_advance: u64 = cores.iter().map(Core::in_advance).sum();
            let stored = shared.bytes_of(b'e') + shared.bytes_of(b'c');
            prop_assert_eq!(used, stored + in_advance);
        }
        // All is quiet: whatever is found is right, and it is the youngest version or nothing.
        let view = shared.run(cores[0].look(None)).1;
        for key in 0..KEYS {
            let hash = cores[0].hash(&key.to_le_bytes());
            if let Some(found) = shared.run(cores[0].find(&view, hash, 1)) {
                model.check(key, model.moment + 1, &found);
            }
        }
    }
}
