//! The services of a host: callouts are brought to them, and their answers to the guests.

use std::time::Duration;

use bytes::Bytes;

use crate::callout::{self, Callout, CalloutOver, Rpc};
use crate::exchange::{Answer, Received};
use crate::flight::FlightId;
use crate::grpc::{self, Event};
use crate::host::Host;
use crate::worker::{CalloutId, StreamId};

/// Which callout of which worker.
type Place = (usize, CalloutId);

impl Host {
    /// Answers a callout that waits, by whatever it was made. Requests that it moves on are carried
    /// out. [`Answer::Never`] leaves it waiting, and so does [`Answer::Open`] a gRPC stream.
    ///
    /// # Errors
    ///
    /// The callout doesn't wait any more.
    pub fn answer(&self, callout: &Callout, answer: Answer) -> Result<(), CalloutOver> {
        let place = (callout.worker, callout.id);
        let taken = self
            .take_waiting(place)
            .ok_or_else(|| CalloutOver::new(callout))?;
        self.bring(taken, answer);
        self.settle();
        Ok(())
    }

    pub(crate) fn time_out_callouts(&self, now: Duration) {
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let due = |one: &Callout| one.deadline.is_some_and(|deadline| deadline <= now);
            let Some(position) = waiting.iter().position(due) else {
                return;
            };
            let callout = waiting.remove(position);
            drop(waiting);
            match callout.rpc {
                Some(_) => self.tell(&callout, grpc::timed_out()),
                None => {
                    let mut worker = self.workers[callout.worker].borrow_mut();
                    worker.callout_response(callout.id, callout::timed_out());
                }
            }
            self.settle();
        }
    }

    pub(crate) fn new_callout(
        &self,
        (worker, id): Place,
        request: Received,
        timeout: Option<Duration>,
        rpc: Option<Rpc>,
    ) -> Callout {
        let now = self.environment.clock.elapsed();
        Callout {
            worker,
            id,
            number: self.callouts_made.replace(self.callouts_made.get() + 1),
            deadline: timeout.map(|timeout| now + timeout),
            rpc,
            request,
            timeout,
        }
    }

    /// Brings an HTTP callout to its service, which answers unless there were too many.
    pub(crate) fn call_out(&self, stream: Option<StreamId>, callout: Callout, answers: bool) {
        let answer = (self.script.borrow_mut().callouts)(&callout.request);
        self.note(stream, &callout);
        if !matches!(answer, Answer::Refused) {
            self.callouts.borrow_mut().push(callout.clone());
        }
        self.bring(callout, if answers { answer } else { Answer::Never });
    }

    /// The same of a gRPC call or stream. A stream has its answer at once only if that leaves it
    /// open.
    pub(crate) fn open_rpc(&self, stream: Option<StreamId>, mut callout: Callout, answers: bool) {
        let answer = (self.script.borrow_mut().callouts)(&callout.request);
        self.note(stream, &callout);
        let answer = if answers { answer } else { Answer::Never };
        let streams = callout.rpc.as_ref().is_some_and(|rpc| rpc.streams);
        if !streams && !matches!(answer, Answer::Refused) {
            self.callouts.borrow_mut().push(callout.clone());
        }
        if let Some(rpc) = callout.rpc.as_mut().filter(|_| streams)
            && matches!(
                answer,
                Answer::Break { .. } | Answer::Reset | Answer::Respond { .. }
            )
        {
            rpc.answer = Some(answer);
            self.wait(callout);
            return;
        }
        self.bring(callout, answer);
    }

    /// The guest sends a message on a stream, or ends its side.
    pub(crate) fn send_rpc(&self, place: Place, message: Option<Bytes>, end: bool) {
        let Some(mut callout) = self.take_waiting(place) else {
            return;
        };
        if let Some(message) = message {
            let body = [&callout.request.body[..], &grpc::frame(&message)].concat();
            callout.request.body = body.into();
        }
        let mut answer = Answer::Never;
        if let Some(rpc) = callout.rpc.as_mut().filter(|rpc| end && !rpc.ended) {
            rpc.ended = true;
            answer = rpc.answer.take().unwrap_or(Answer::Never);
            self.callouts.borrow_mut().push(callout.clone());
        }
        self.bring(callout, answer);
    }

    /// The guest breaks a call or stream off.
    pub(crate) fn cancel_rpc(&self, place: Place) {
        if let Some(callout) = self.take_waiting(place) {
            self.broken_off(callout);
        }
    }

    /// A stream that ends before the guest has ended its side is all that its service will receive.
    fn broken_off(&self, callout: Callout) {
        if callout
            .rpc
            .as_ref()
            .is_some_and(|rpc| rpc.streams && !rpc.ended)
        {
            self.callouts.borrow_mut().push(callout);
        }
    }

    /// Brings an answer, or a part of one, to the guest. What isn't over waits.
    fn bring(&self, mut callout: Callout, answer: Answer) {
        let over = match &mut callout.rpc {
            None => match callout::outcome(answer) {
                Some(outcome) => {
                    let mut worker = self.workers[callout.worker].borrow_mut();
                    worker.callout_response(callout.id, outcome);
                    true
                }
                None => false,
            },
            Some(rpc) if !rpc.streams => {
                let event = grpc::outcome(&answer);
                let over = event.is_some();
                if let Some(event) = event {
                    self.tell(&callout, event);
                }
                over
            }
            Some(rpc) => {
                let (events, over) = grpc::events(&answer, rpc.begun);
                rpc.begun |= !events.is_empty();
                for event in events {
                    self.tell(&callout, event);
                }
                if over && !matches!(answer, Answer::Refused) {
                    self.broken_off(callout);
                    return;
                }
                over
            }
        };
        if !over {
            self.wait(callout);
        }
    }

    fn tell(&self, callout: &Callout, event: Event) {
        let mut worker = self.workers[callout.worker].borrow_mut();
        worker.grpc_event(callout.id, event);
    }

    /// Notes a callout with the request whose context made it.
    fn note(&self, stream: Option<StreamId>, callout: &Callout) {
        if let Some(stream) = stream {
            let worker = callout.worker;
            self.with_run(FlightId { worker, stream }, |run| {
                run.reply.callouts.push(callout.request.clone());
            });
        }
    }

    /// Keeps a callout among those that wait, in the order in which they were made.
    fn wait(&self, callout: Callout) {
        let mut waiting = self.waiting.borrow_mut();
        let place = waiting.partition_point(|other| other.number < callout.number);
        waiting.insert(place, callout);
    }

    fn take_waiting(&self, (worker, id): Place) -> Option<Callout> {
        let mut waiting = self.waiting.borrow_mut();
        let this = |one: &Callout| one.worker == worker && one.id == id;
        let position = waiting.iter().position(this)?;
        Some(waiting.remove(position))
    }
}
