//! Optimistic transactions over several shared-data values, as a machine without I/O.
//!
//! Shared data changes one value at a time by compare-and-set. A [`Transaction`] changes several as
//! one: read them all, decide on copies, write what changed; when a write loses against another
//! worker, take back what was written so far and start over. It only says which step comes next;
//! whoever drives it holds the values, does the I/O and knows how to decide and how to take back.
//! The same machine thus runs in the gateway and, under every interleaving, in tests.
//!
//! Between the first and the last write another worker can see a charge that will be taken back. It
//! may refuse then what it would have allowed; it never allows more.

/// What the driver does next. Numbers are positions in its list of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read this value, then call [`Transaction::read`].
    Read(usize),
    /// All values are there: decide on copies, then call [`Transaction::decided`].
    Decide,
    /// Write this value if the stored one still has that CAS number, then call
    /// [`Transaction::wrote`].
    Write {
        /// The value's position.
        key: usize,
        /// What the store must still have.
        cas: Cas,
    },
    /// Undo in this value what the last decision put there, then call [`Transaction::took_back`].
    TakeBack(usize),
    /// All changes are stored.
    Commit,
    /// Other workers were faster too often, and nothing is stored of it.
    GiveUp {
        /// Values in which a charge stayed because it couldn't be taken back in time.
        left: u32,
    },
}

/// The version of a stored value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cas {
    /// There was no value: write only if there is still none.
    Absent,
    /// The store's number for the value that was read.
    Version(u32),
}

/// A transaction under way.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The version of each value when it was last read.
    versions: Vec<Cas>,
    /// The positions that the last decision changed.
    changed: Vec<usize>,
    /// How many of `changed` are stored.
    stored: usize,
    phase: Phase,
    tries_left: u32,
    lost: u32,
    left: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading(usize),
    Deciding,
    Writing,
    Undo { stage: Undo, tries_left: u32 },
    Committed,
    GivenUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undo {
    Read,
    TakeBack,
    Write,
}

/// How often a charge is tried to be taken back from one value.
const UNDO_TRIES: u32 = 64;

impl Transaction {
    /// Starts a transaction over `keys` values that gives up after `tries` lost races.
    pub fn new(keys: usize, tries: u32) -> Self {
        let mut transaction = Self {
            versions: vec![Cas::Absent; keys],
            changed: Vec::new(),
            stored: 0,
            phase: Phase::Reading(0),
            tries_left: tries,
            lost: 0,
            left: 0,
        };
        transaction.start_over();
        transaction
    }

    /// Says what comes next. Asking twice changes nothing.
    pub fn step(&self) -> Step {
        match self.phase {
            Phase::Reading(key) => Step::Read(key),
            Phase::Deciding => Step::Decide,
            Phase::Writing => match self.position(self.stored) {
                Some(key) => Step::Write {
                    key,
                    cas: self.version(key),
                },
                None => Step::Commit,
            },
            Phase::Undo { stage, .. } => match (self.last_stored(), stage) {
                (Some(key), Undo::Read) => Step::Read(key),
                (Some(key), Undo::TakeBack) => Step::TakeBack(key),
                (Some(key), Undo::Write) => Step::Write {
                    key,
                    cas: self.version(key),
                },
                (None, _) => Step::GiveUp { left: self.left },
            },
            Phase::Committed => Step::Commit,
            Phase::GivenUp => Step::GiveUp { left: self.left },
        }
    }

    /// Tells the version of the value that [`Step::Read`] asked for.
    pub fn read(&mut self, cas: Cas) {
        let Step::Read(key) = self.step() else {
            return;
        };
        if let Some(version) = self.versions.get_mut(key) {
            *version = cas;
        }
        let next = key.saturating_add(1);
        self.phase = match self.phase {
            Phase::Undo { tries_left, .. } => Phase::Undo {
                stage: Undo::TakeBack,
                tries_left,
            },
            _ if next < self.versions.len() => Phase::Reading(next),
            _ => Phase::Deciding,
        };
    }

    /// Tells which values the decision changed.
    pub fn decided(&mut self, changed: impl IntoIterator<Item = usize>) {
        if self.phase != Phase::Deciding {
            return;
        }
        self.changed.clear();
        self.changed.extend(changed);
        self.stored = 0;
        self.phase = if self.changed.is_empty() {
            Phase::Committed
        } else {
            Phase::Writing
        };
    }

    /// Tells whether the write of [`Step::Write`] won.
    pub fn wrote(&mut self, won: bool) {
        match (self.phase, won) {
            (Phase::Writing, true) => {
                self.stored = self.stored.saturating_add(1);
                if self.stored >= self.changed.len() {
                    self.phase = Phase::Committed;
                }
            }
            (Phase::Writing, false) => {
                self.lost = self.lost.saturating_add(1);
                self.undo_next();
            }
            (Phase::Undo { .. }, true) => {
                self.stored = self.stored.saturating_sub(1);
                self.undo_next();
            }
            (Phase::Undo { tries_left: 0, .. }, false) => {
                self.left = self.left.saturating_add(1);
                self.stored = self.stored.saturating_sub(1);
                self.undo_next();
            }
            (Phase::Undo { tries_left, .. }, false) => {
                self.phase = Phase::Undo {
                    stage: Undo::Read,
                    tries_left: tries_left.saturating_sub(1),
                };
            }
            _ => {}
        }
    }

    /// Tells that the value of [`Step::TakeBack`] was edited.
    pub fn took_back(&mut self) {
        if let Phase::Undo {
            stage: Undo::TakeBack,
            tries_left,
        } = self.phase
        {
            self.phase = Phase::Undo {
                stage: Undo::Write,
                tries_left,
            };
        }
    }

    /// Returns how often another worker was faster so far.
    pub fn lost(&self) -> u32 {
        self.lost
    }

    fn undo_next(&mut self) {
        if self.stored == 0 {
            self.start_over();
        } else {
            self.phase = Phase::Undo {
                stage: Undo::Read,
                tries_left: UNDO_TRIES,
            };
        }
    }

    fn start_over(&mut self) {
        self.phase = match self.tries_left.checked_sub(1) {
            None => Phase::GivenUp,
            Some(_) if self.versions.is_empty() => Phase::Deciding,
            Some(_) => Phase::Reading(0),
        };
        self.tries_left = self.tries_left.saturating_sub(1);
    }

    fn position(&self, index: usize) -> Option<usize> {
        self.changed.get(index).copied()
    }

    fn last_stored(&self) -> Option<usize> {
        self.position(self.stored.checked_sub(1)?)
    }

    fn version(&self, key: usize) -> Cas {
        self.versions.get(key).copied().unwrap_or(Cas::Absent)
    }
}
