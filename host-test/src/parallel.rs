//! Requests at the same time on several workers, in an order that a seed decides.
//!
//! Workers of a real host run on threads of their own; what they share is shared data, queues and
//! metrics, and only hostcalls reach it. So whatever threads can do to each other is an order of
//! hostcalls. Here one thread plays all workers: whenever a guest makes a hostcall, a guest on
//! another worker may run a callback of its request first. It runs to its end before the first goes
//! on, to a depth of three workers. So races are real: between reading a key and writing it, another
//! worker writes it, and the first loses its compare-and-set.
//!
//! What can't happen is that two callbacks take turns hostcall by hostcall: one that began within
//! another ends within it. And only callbacks of the request's way begin within others; what the
//! upstream's answer brings about comes in the order of the workers. The same seed gives the same
//! order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use crate::flight::{Feed, FlightId, RequestBuilder};
use crate::host::Host;
use crate::random::Random;
use crate::reply::Reply;
use crate::worker::Worker;

/// How many guests may be in the middle of a callback at the same time. Each takes its part of the
/// stack.
const DEPTH: usize = 3;

/// What is still to be sent of a request.
struct Sending {
    id: FlightId,
    rest: VecDeque<Feed>,
}

/// Decides who goes on.
struct Scheduler {
    workers: Weak<[RefCell<Worker>]>,
    random: RefCell<Random>,
    sending: RefCell<Vec<Sending>>,
    depth: Cell<usize>,
}

impl Scheduler {
    /// Feeds a worker that has nothing in the middle; false if there is none to be fed.
    fn step(&self) -> bool {
        let Some(workers) = self.workers.upgrade() else {
            return false;
        };
        let next = {
            let mut sending = self.sending.borrow_mut();
            let free: Vec<usize> = (0..sending.len())
                .filter(|&at| {
                    let one = &sending[at];
                    !one.rest.is_empty() && workers[one.id.worker].try_borrow_mut().is_ok()
                })
                .collect();
            let chosen = self.random.borrow_mut().choose(&free).copied();
            chosen.and_then(|at| {
                let one = &mut sending[at];
                let feed = one.rest.pop_front()?;
                Some((one.id, feed))
            })
        };
        let Some((id, feed)) = next else {
            return false;
        };
        if let Ok(mut worker) = workers[id.worker].try_borrow_mut() {
            self.depth.set(self.depth.get() + 1);
            feed.give(&mut worker, id.stream);
            self.depth.set(self.depth.get() - 1);
        }
        true
    }

    /// A guest makes a hostcall: another may come first.
    fn interrupt(&self) {
        // The outermost guest may have been started by the host's own doing.
        let depth = self.depth.get().max(1);
        if depth < DEPTH && self.random.borrow_mut().one_in(2) {
            // What it began in another worker's name counts as one more.
            let before = self.depth.replace(depth);
            self.step();
            self.depth.set(before);
        }
    }
}

impl Host {
    /// Sends requests at the same time, and waits until nothing moves; the replies are in the order
    /// of the requests. Without a chosen worker they go to the workers in turn. See the
    /// [module's text](crate::parallel) for what may happen in which order.
    pub fn parallel<'h>(
        &'h self,
        seed: u64,
        requests: impl IntoIterator<Item = RequestBuilder<'h>>,
    ) -> Vec<Reply> {
        let scheduler = Rc::new(Scheduler {
            workers: Rc::downgrade(&self.workers),
            random: RefCell::new(Random::new(seed)),
            sending: RefCell::default(),
            depth: Cell::new(0),
        });
        let mut flights = Vec::new();
        for request in requests {
            let (id, rest) = request.open();
            flights.push(id);
            scheduler.sending.borrow_mut().push(Sending { id, rest });
        }
        let hook: Rc<dyn Fn()> = {
            let scheduler = scheduler.clone();
            Rc::new(move || scheduler.interrupt())
        };
        self.interrupt_with(Some(&hook));
        while scheduler.step() {
            // Whatever has all of its request moves on, or waits for more to come first.
            for sending in scheduler.sending.borrow().iter() {
                if sending.rest.is_empty() {
                    self.with_run(sending.id, |run| run.sending = false);
                }
            }
            if scheduler.random.borrow_mut().one_in(2) {
                self.settle();
            }
        }
        self.settle();
        self.interrupt_with(None);
        let replies = flights
            .into_iter()
            .map(|id| self.end_run(id).map(|run| run.reply).unwrap_or_default());
        replies.collect()
    }

    /// Sets what is done before each hostcall.
    fn interrupt_with(&self, hook: Option<&Rc<dyn Fn()>>) {
        for worker in self.workers.iter() {
            worker.borrow().interrupt_with(hook.cloned());
        }
    }
}
