//! How a host moves: workers' actions are carried out until there are none, and time passes from
//! one timer to the next.

use std::time::Duration;

use crate::callout::{self, Callout, CalloutOver};
use crate::exchange::{Answer, Received, Run};
use crate::flight::FlightId;
use crate::host::Host;
use crate::reply::Reply;
use crate::worker::{Action, CalloutAnswer, StreamId};

/// How many queue callbacks may follow from one event before they are taken for an endless loop.
const QUEUE_CALLBACKS: usize = 10_000;

/// The same of callouts, whose callbacks may make callouts.
const CALLOUTS: usize = 10_000;

impl Host {
    /// Advances virtual time. Ticks and callouts' time-outs that fall due run in the order of their
    /// time, on every worker and on the main thread.
    pub fn advance(&self, by: Duration) {
        let clock = &self.environment.clock;
        let target = clock.elapsed() + by;
        loop {
            let ticks = self
                .workers
                .iter()
                .map(|worker| worker.borrow().next_timer());
            let due = ticks
                .chain(self.waiting.borrow().iter().map(|callout| callout.deadline))
                .chain(self.runs.borrow().iter().map(|run| run.deadline))
                .flatten()
                .min();
            let Some(due) = due.filter(|due| *due <= target) else {
                break;
            };
            clock.advance(due.saturating_sub(clock.elapsed()));
            for worker in &self.workers {
                worker.borrow_mut().run_timers();
                self.settle();
            }
            self.time_out_callouts(due);
            self.time_out_requests(due);
        }
        clock.advance(target.saturating_sub(clock.elapsed()));
    }

    /// Answers a callout that waits, by whatever it was made. Requests that it moves on are carried
    /// out. [`Answer::Never`] leaves it waiting.
    ///
    /// # Errors
    ///
    /// The callout doesn't wait any more.
    pub fn answer(&self, callout: &Callout, answer: Answer) -> Result<(), CalloutOver> {
        let over = || CalloutOver::new(callout);
        let mut waiting = self.waiting.borrow_mut();
        let this = |one: &Callout| one.worker == callout.worker && one.id == callout.id;
        let position = waiting.iter().position(this).ok_or_else(over)?;
        if let Some(outcome) = callout::outcome(answer) {
            let callout = waiting.remove(position);
            drop(waiting);
            self.end_callout(&callout, outcome);
            self.settle();
        }
        Ok(())
    }

    fn time_out_callouts(&self, now: Duration) {
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let due = |one: &Callout| one.deadline.is_some_and(|deadline| deadline <= now);
            let Some(position) = waiting.iter().position(due) else {
                return;
            };
            let callout = waiting.remove(position);
            drop(waiting);
            self.end_callout(&callout, callout::timed_out());
            self.settle();
        }
    }

    fn time_out_requests(&self, now: Duration) {
        for run in self.runs.borrow_mut().iter_mut() {
            if run.deadline.is_some_and(|deadline| deadline <= now) {
                run.time_out(&mut self.workers[run.worker].borrow_mut());
            }
        }
        self.settle();
    }

    fn end_callout(&self, callout: &Callout, outcome: CalloutAnswer) {
        let mut worker = self.workers[callout.worker].borrow_mut();
        worker.callout_response(callout.id, outcome);
    }

    /// Carries out what the workers want done until nothing moves.
    pub(crate) fn settle(&self) {
        let mut callouts = 0;
        loop {
            // Before the upstream's answer can come, as Envoy posts them to the event loop.
            self.deliver_queue_callbacks();
            let mut moved = false;
            for index in 0..self.workers.len() {
                let actions = self.workers[index].borrow_mut().take_actions();
                for action in actions {
                    moved = true;
                    if matches!(action, Action::HttpCall { .. }) {
                        callouts += 1;
                    }
                    self.act(index, action, callouts <= CALLOUTS);
                }
            }
            if !moved && !self.close_what_is_over() {
                break;
            }
        }
        if callouts > CALLOUTS {
            let text = format!(
                "the answers of callouts make callouts without end; stopped after {CALLOUTS}"
            );
            self.violations.borrow_mut().push(text);
        }
        for worker in &self.workers {
            let found = worker.borrow_mut().take_violations();
            self.violations.borrow_mut().extend(found);
        }
    }

    /// Runs the queue callbacks of all workers, the oldest first.
    fn deliver_queue_callbacks(&self) {
        let shared = &self.environment.shared;
        for _ in 0..QUEUE_CALLBACKS {
            let Some(ready) = shared.queues().next_ready() else {
                return;
            };
            // Numbers count from 1; the main thread's is 0 and its place is the last.
            let place = usize::try_from(ready.target.worker).unwrap_or(0);
            let place = place.checked_sub(1).unwrap_or(self.workers.len() - 1);
            if let Some(worker) = self.workers.get(place) {
                worker.borrow_mut().queue_ready(ready);
            }
        }
        shared.queues().clear_ready();
        let text = format!(
            "queue callbacks put items into queues without end; stopped after {QUEUE_CALLBACKS}"
        );
        self.violations.borrow_mut().push(text);
    }

    /// Carries out one action of a worker. Callouts are answered unless there were too many.
    fn act(&self, index: usize, action: Action, answers: bool) {
        let stream = match action {
            Action::HttpCall {
                callout,
                stream,
                cluster,
                headers,
                body,
                timeout,
            } => {
                let request = Received {
                    cluster,
                    headers,
                    body,
                    ..Received::default()
                };
                let now = self.environment.clock.elapsed();
                let callout = Callout {
                    worker: index,
                    id: callout,
                    deadline: timeout.map(|timeout| now + timeout),
                    request,
                    timeout,
                };
                return self.call_out(stream, callout, answers);
            }
            Action::RequestHeaders { stream, .. }
            | Action::RequestBody { stream, .. }
            | Action::RequestTrailers { stream, .. }
            | Action::ResponseHeaders { stream, .. }
            | Action::ResponseBody { stream, .. }
            | Action::ResponseTrailers { stream, .. }
            | Action::LocalReply { stream }
            | Action::Reset { stream } => stream,
        };
        let mut runs = self.runs.borrow_mut();
        if let Some(run) = find(&mut runs, index, stream) {
            let worker = &mut self.workers[index].borrow_mut();
            run.act(action, worker, &mut self.script.borrow_mut());
        }
    }

    /// Brings a callout to its service.
    fn call_out(&self, stream: Option<StreamId>, callout: Callout, answers: bool) {
        let answer = (self.script.borrow_mut().callouts)(&callout.request);
        if !matches!(answer, Answer::Refused) {
            self.callouts.borrow_mut().push(callout.clone());
        }
        if let Some(stream) = stream {
            let worker = callout.worker;
            self.with_run(FlightId { worker, stream }, |run| {
                run.reply.callouts.push(callout.request.clone());
            });
        }
        match callout::outcome(answer).filter(|_| answers) {
            Some(outcome) => self.end_callout(&callout, outcome),
            None => self.waiting.borrow_mut().push(callout),
        }
    }

    /// Runs the last callbacks of requests whose client has everything; tells whether there were
    /// any.
    fn close_what_is_over(&self) -> bool {
        let mut any = false;
        for run in self.runs.borrow_mut().iter_mut() {
            if run.is_over() && !run.sending && !run.closed {
                self.close(run);
                any = true;
            }
        }
        any
    }

    fn close(&self, run: &mut Run) {
        run.reply.closed = self.workers[run.worker].borrow_mut().close(run.stream);
        run.closed = true;
        run.log_end = Some(self.lines_so_far());
    }

    /// Ends a request, over or not; `None` if it was taken before.
    pub(crate) fn end_run(&self, id: FlightId) -> Option<Reply> {
        let closed = self.with_run(id, |run| {
            if !run.closed {
                self.close(run);
            }
        });
        closed?;
        self.settle();
        let mut runs = self.runs.borrow_mut();
        let this = |run: &Run| run.worker == id.worker && run.stream == id.stream;
        let position = runs.iter().position(this)?;
        let run = runs.remove(position);
        let mut reply = run.reply;
        reply.logs = self.lines_of(run.log_start, run.log_end);
        Some(reply)
    }

    /// Looks at a request under way; `None` if its reply was taken.
    pub(crate) fn with_run<R>(&self, id: FlightId, look: impl FnOnce(&mut Run) -> R) -> Option<R> {
        find(&mut self.runs.borrow_mut(), id.worker, id.stream).map(look)
    }
}

fn find(runs: &mut [Run], worker: usize, stream: StreamId) -> Option<&mut Run> {
    runs.iter_mut()
        .find(|run| run.worker == worker && run.stream == stream)
}
