//! Requests that wait: for what is fetched, or for an answer about their token.

use filter_core::time::Timestamp;
use filter_shell::host;

use super::Gate;
use crate::decision::{Awaited, Call, Question, Step};
use crate::shell::remote::Remote;

/// A request that waits.
pub(super) struct Held {
    pub(super) stream: u32,
    what: Waiting,
    until: Timestamp,
}

/// What for.
enum Waiting {
    /// What is fetched: a position among the remotes, and its epoch when the request was last looked
    /// at.
    Remote(usize, u64),
    /// An answer about a token.
    Answer(Question),
}

impl Gate {
    /// Lets a request wait, unless too many do.
    pub(super) fn hold(&self, stream: u32, awaited: Awaited) -> bool {
        let Ok(now) = host::monotonic_now() else {
            return false;
        };
        let (what, (hold, most)) = match awaited {
            Awaited::Keys(provider) => match self.fetched(provider, Call::Keys) {
                Some((at, remote)) => (Waiting::Remote(at, remote.epoch()), remote.feed.hold()),
                None => return false,
            },
            Awaited::Revocations(provider) => match self.fetched(provider, Call::Revocations) {
                Some((at, remote)) => (Waiting::Remote(at, remote.epoch()), remote.feed.hold()),
                None => return false,
            },
            Awaited::Introspection(question) => match self.introspection(question.provider) {
                Some(client) => {
                    let bounds = (client.hold, client.max_held);
                    (Waiting::Answer(question), bounds)
                }
                None => return false,
            },
        };
        let waiting = |held: &&Held| held.what.is_alike(&what);
        let Ok(others) = self
            .held
            .try_borrow()
            .map(|held| held.iter().filter(waiting).count())
        else {
            return false;
        };
        if others >= most {
            return false;
        }
        if let Waiting::Answer(question) = &what
            && !self.ask(stream, question)
        {
            return false;
        }
        let Ok(mut held) = self.held.try_borrow_mut() else {
            return false;
        };
        held.push(Held {
            stream,
            what,
            until: now.after(hold),
        });
        true
    }

    fn fetched(&self, provider: usize, what: Call) -> Option<(usize, &Remote)> {
        let fits = |remote: &Remote| remote.provider == provider && remote.feed.call() == what;
        let mut remotes = self.remotes.iter().enumerate();
        remotes.find(|(_, remote)| fits(remote))
    }

    /// Lets requests go on that wait for nothing any more. Never to be called for a stream's own
    /// callback: answering another stream there stops that one.
    pub(in crate::shell) fn wake(&self, root: u32) {
        let Ok(waiting) = self
            .held
            .try_borrow_mut()
            .map(|mut held| std::mem::take(&mut *held))
        else {
            return;
        };
        if waiting.is_empty() {
            return;
        }
        let now = host::monotonic_now().unwrap_or_default();
        for held in waiting {
            let is_over = held.until <= now;
            if !is_over && !self.is_ready(&held.what) {
                self.hold_on(held);
                continue;
            }
            // The stream has ended in the meantime, unless the host knows it.
            if host::set_effective_context(held.stream).is_err() {
                continue;
            }
            let goes_on = match self.decide(!is_over, false) {
                Ok(Step::Done(decision)) => self.carry_out(decision),
                Ok(Step::Wait(awaited)) => {
                    if self.hold_again(held, awaited) {
                        continue;
                    }
                    self.finish()
                }
                Err(status) => self.fail(status),
            };
            if goes_on && let Err(status) = host::continue_request() {
                self.complain(status);
            }
        }
        let _ = host::set_effective_context(root);
    }

    /// Whether there may be news for a request that waits.
    fn is_ready(&self, what: &Waiting) -> bool {
        match what {
            Waiting::Remote(at, epoch) => self.remotes.get(*at).map(Remote::epoch) != Some(*epoch),
            Waiting::Answer(question) => self
                .asked
                .try_borrow()
                .is_ok_and(|asked| !asked.iter().any(|other| other.question.is_alike(question))),
        }
    }

    fn hold_on(&self, held: Held) {
        if let Ok(mut all) = self.held.try_borrow_mut() {
            all.push(held);
        }
    }

    /// Has a request wait on, for as long as it might from the beginning.
    fn hold_again(&self, held: Held, awaited: Awaited) -> bool {
        let Held { stream, until, .. } = held;
        if !self.hold(stream, awaited) {
            return false;
        }
        if let Ok(mut all) = self.held.try_borrow_mut()
            && let Some(again) = all.last_mut()
        {
            again.until = until;
        }
        true
    }
}

impl Waiting {
    /// Whether two count together: for the same fetch, or for the same endpoint.
    fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Remote(one, _), Self::Remote(other, _)) => one == other,
            (Self::Answer(one), Self::Answer(other)) => one.provider == other.provider,
            _ => false,
        }
    }
}
