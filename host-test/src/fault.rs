//! Faults that tests force: what hostcalls answer, races that are lost, traps.
//!
//! A [`Fault`] says what goes wrong and when; a host takes any number of them. Counting starts when
//! a fault is set, and goes over all workers in the order in which things happen.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::abi::{CALLBACKS, HOSTCALLS, Status};

/// Something that goes wrong on purpose.
///
/// ```
/// use host_test::abi::Status;
/// use host_test::fault::Fault;
///
/// let google = Fault::answer("get_shared_data", Status::Unimplemented)?;
/// let race = Fault::lose_cas().times(3);
/// let crash = Fault::trap_in("on_response_headers")?.plugin("cache").nth(2);
/// # Ok::<(), host_test::fault::UnknownName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    effect: Effect,
    plugin: Option<String>,
    first: u64,
    times: Option<u64>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Answer { hostcall: usize, status: Status },
    LoseCas,
    TrapAt { hostcall: usize },
    TrapIn { callback: &'static str },
}

/// A name that is no hostcall's or no callback's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// `hostcall` or `callback`.
    pub what: &'static str,
    /// The name.
    pub name: String,
    /// The known name that may have been meant.
    pub nearest: Option<&'static str>,
}

impl Fault {
    /// A hostcall answers a status and does nothing else. The prefix `proxy_` may be left out.
    ///
    /// # Errors
    ///
    /// There is no such hostcall.
    pub fn answer(hostcall: &str, status: Status) -> Result<Self, UnknownName> {
        let hostcall = hostcall_named(hostcall)?;
        Ok(Self::new(Effect::Answer { hostcall, status }))
    }

    /// Writing shared data with a CAS number loses against somebody who has just written the same
    /// value: the guest gets `CasMismatch` and finds another number when it reads again. Writes
    /// without a number and writes of absent keys can't lose, and aren't counted.
    pub fn lose_cas() -> Self {
        Self::new(Effect::LoseCas)
    }

    /// The guest traps in the middle of a callback: when it makes this hostcall.
    ///
    /// # Errors
    ///
    /// There is no such hostcall.
    pub fn trap_at(hostcall: &str) -> Result<Self, UnknownName> {
        let hostcall = hostcall_named(hostcall)?;
        Ok(Self::new(Effect::TrapAt { hostcall }))
    }

    /// The guest traps at the beginning of a callback. The prefix `proxy_` may be left out.
    ///
    /// # Errors
    ///
    /// There is no such callback.
    pub fn trap_in(callback: &str) -> Result<Self, UnknownName> {
        let callback = find(callback, "callback", CALLBACKS.iter().copied())?.1;
        Ok(Self::new(Effect::TrapIn { callback }))
    }

    fn new(effect: Effect) -> Self {
        Self {
            effect,
            plugin: None,
            first: 1,
            times: None,
        }
    }

    /// Only for the plugin of that name. Without it: for all.
    #[must_use]
    pub fn plugin(mut self, name: &str) -> Self {
        self.plugin = Some(name.to_owned());
        self
    }

    /// Only the n-th time, from 1. Without it: each time.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        self.after(n.saturating_sub(1)).times(1)
    }

    /// Not before it has gone well so many times.
    #[must_use]
    pub fn after(mut self, count: u64) -> Self {
        self.first = count.saturating_add(1);
        self
    }

    /// So many times in a row, and then no more.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = Some(count);
        self
    }

    fn holds(&self, seen: u64) -> bool {
        let end = self.times.map(|times| self.first.saturating_add(times));
        seen >= self.first && end.is_none_or(|end| seen < end)
    }
}

/// The full name of a hostcall, which may lack its prefix.
pub(crate) fn known_hostcall(name: &str) -> Result<&'static str, UnknownName> {
    let names = HOSTCALLS.iter().map(|(name, _)| *name);
    find(name, "hostcall", names).map(|(_, name)| name)
}

fn hostcall_named(name: &str) -> Result<usize, UnknownName> {
    let names = HOSTCALLS.iter().map(|(name, _)| *name);
    find(name, "hostcall", names).map(|(index, _)| index)
}

/// The position of a name, which may lack its prefix.
fn find(
    name: &str,
    what: &'static str,
    known: impl Iterator<Item = &'static str> + Clone,
) -> Result<(usize, &'static str), UnknownName> {
    let short = |known: &'static str| known.strip_prefix("proxy_").unwrap_or(known);
    let mut all = known.clone().enumerate();
    let found = all.find(|(_, known)| *known == name || short(known) == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = known.map(short).collect();
        let typed = name.strip_prefix("proxy_").unwrap_or(name);
        UnknownName {
            what,
            name: name.to_owned(),
            nearest: crate::scenario::nearest(typed, &names),
        }
    })
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no {} `{}`", self.what, self.name)?;
        match self.nearest {
            Some(near) => write!(f, "; did you mean `{near}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnknownName {}

/// What a fault makes of a hostcall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forced {
    Answer(Status),
    Trap,
}

/// The faults of a host.
#[derive(Debug, Default)]
pub struct Faults {
    armed: AtomicBool,
    /// Each with how often it could have happened.
    list: Mutex<Vec<(Fault, u64)>>,
}

impl Faults {
    /// Adds a fault, which counts from now on.
    pub fn add(&self, fault: Fault) {
        self.list().push((fault, 0));
        self.armed.store(true, Ordering::Relaxed);
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.list().clear();
        self.armed.store(false, Ordering::Relaxed);
    }

    /// Whether there are any.
    pub(crate) fn armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// What becomes of a hostcall.
    pub(crate) fn hostcall(&self, plugin: &str, index: usize) -> Option<Forced> {
        let effect = self.first(plugin, |effect| match effect {
            Effect::Answer { hostcall, .. } | Effect::TrapAt { hostcall } => hostcall == index,
            Effect::LoseCas | Effect::TrapIn { .. } => false,
        });
        match effect? {
            Effect::Answer { status, .. } => Some(Forced::Answer(status)),
            _ => Some(Forced::Trap),
        }
    }

    /// Whether a write that could lose does.
    pub(crate) fn loses_cas(&self, plugin: &str) -> bool {
        self.first(plugin, |effect| effect == Effect::LoseCas)
            .is_some()
    }

    /// Whether a callback traps.
    pub(crate) fn traps(&self, plugin: &str, name: &str) -> bool {
        let fits = |effect| matches!(effect, Effect::TrapIn { callback } if callback == name);
        self.first(plugin, fits).is_some()
    }

    /// The first fault that happens now, if one does; all that fit count it.
    fn first(&self, plugin: &str, fits: impl Fn(Effect) -> bool) -> Option<Effect> {
        let mut happens = None;
        for (fault, seen) in &mut *self.list() {
            let concerned = fault.plugin.as_deref().is_none_or(|name| name == plugin);
            if concerned && fits(fault.effect) {
                *seen += 1;
                if fault.holds(*seen) && happens.is_none() {
                    happens = Some(fault.effect);
                }
            }
        }
        happens
    }

    fn list(&self) -> MutexGuard<'_, Vec<(Fault, u64)>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(fault: Fault) -> Vec<bool> {
        let faults = Faults::default();
        faults.add(fault);
        let index = hostcall_named("proxy_log").unwrap();
        (0..5)
            .map(|_| faults.hostcall("p", index).is_some())
            .collect()
    }

    #[test]
    fn a_fault_happens_when_it_says() {
        let log = || Fault::answer("log", Status::InternalFailure).unwrap();
        let (no, yes) = (false, true);
        assert_eq!(answers(log()), [yes; 5]);
        assert_eq!(answers(log().nth(3)), [no, no, yes, no, no]);
        assert_eq!(answers(log().times(2)), [yes, yes, no, no, no]);
        assert_eq!(answers(log().after(1).times(2)), [no, yes, yes, no, no]);
        assert_eq!(answers(log().after(3)), [no, no, no, yes, yes]);
        assert_eq!(answers(log().plugin("p").nth(1)), [yes, no, no, no, no]);
        assert_eq!(answers(log().plugin("q")), [no; 5]);
    }

    #[test]
    fn an_unknown_name_is_said_with_the_one_that_was_meant() {
        let error = Fault::trap_at("proxy_get_shared_date").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no hostcall `proxy_get_shared_date`; did you mean `get_shared_data`?"
        );
        let error = Fault::trap_in("on_ticks").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no callback `on_ticks`; did you mean `on_tick`?"
        );
    }
}
