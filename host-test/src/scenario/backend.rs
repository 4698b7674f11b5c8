//! What a scenario needs of a host, and what a host observes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::headers::Headers;
use crate::host::Received;
use crate::trace::Trace;
use crate::trace::detail::Passages;
use crate::worker::LogLine;

use super::callouts::AnswerFields;
use super::forced::{Cost, FaultStep, Tick};
use super::model::RequestFields;

/// A running host with a scenario's plugins and its scripted upstream.
pub trait Backend {
    /// Sends a request and waits for its end: an answer, a reset, or the certainty that nothing
    /// comes.
    ///
    /// # Errors
    ///
    /// The host broke, which says nothing about the plugin.
    fn exchange(&mut self, request: &RequestFields) -> Result<Exchange, Broken>;

    /// Sends a request that stays under way by that name, and lets it run until nothing moves.
    ///
    /// # Errors
    ///
    /// The host broke.
    fn start(&mut self, name: &str, request: &RequestFields) -> Result<(), Broken>;

    /// Ends a request that was started: takes its answer, or else the client goes away.
    ///
    /// # Errors
    ///
    /// The host broke, or no request of that name is under way.
    fn finish(&mut self, name: &str) -> Result<Exchange, Broken>;

    /// Answers the oldest callout that waits and fits; false if there is none.
    ///
    /// # Errors
    ///
    /// The host broke.
    fn answer(&mut self, answer: &AnswerFields) -> Result<bool, Broken>;

    /// Takes the callouts that services have received since the last call, in order.
    ///
    /// # Errors
    ///
    /// The host broke.
    fn take_callouts(&mut self) -> Result<Vec<Received>, Broken>;

    /// Lets time pass; timers that fall due have run when it returns.
    ///
    /// # Errors
    ///
    /// The host broke, or can't move time.
    fn advance(&mut self, by: Duration) -> Result<(), Broken>;

    /// Counters and gauges of the guests, by the name they were defined with.
    ///
    /// # Errors
    ///
    /// The host broke.
    fn metrics(&mut self) -> Result<BTreeMap<String, u64>, Broken>;

    /// Takes the guests' log lines since the last call, in order.
    ///
    /// # Errors
    ///
    /// The host broke.
    fn take_logs(&mut self) -> Result<Vec<LogLine>, Broken>;

    /// Lets something go wrong, or all go well again.
    ///
    /// # Errors
    ///
    /// The host can't.
    fn fault(&mut self, _fault: &FaultStep) -> Result<(), Broken> {
        Err(only_ours())
    }

    /// Runs ticks, due or not, and tells how many.
    ///
    /// # Errors
    ///
    /// The host can't.
    fn tick(&mut self, _tick: Tick) -> Result<usize, Broken> {
        Err(only_ours())
    }

    /// Sends requests at the same time.
    ///
    /// # Errors
    ///
    /// The host can't.
    fn parallel(
        &mut self,
        _seed: u64,
        _requests: &[RequestFields],
    ) -> Result<Vec<Exchange>, Broken> {
        Err(only_ours())
    }

    /// Keys and values of the shared data of a `vm_id`.
    ///
    /// # Errors
    ///
    /// The host can't.
    fn shared_data(&mut self, _vm_id: &str) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Broken> {
        Err(only_ours())
    }

    /// Takes the callbacks that belong to no request; none where the host doesn't record.
    fn take_trace(&mut self) -> Trace {
        Trace::default()
    }

    /// What guests did besides requests that only hurts in production; empty where the host
    /// can't tell.
    fn violations(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// A scenario that needs it says which host it is for, so this is not seen.
fn only_ours() -> Broken {
    Broken("only our own host can do this".to_owned())
}

/// Why a host could not go on: a sentence about the host or the machine, not about the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

/// Why a host did not start.
#[derive(Clone, Debug)]
pub enum StartFailure {
    /// It could not be tried.
    Broken(Broken),
    /// A plugin refused its configuration, or the host the plugin.
    Refused {
        /// What the host says.
        cause: String,
        /// The guests' log lines until then.
        logs: Vec<LogLine>,
    },
}

/// An answer as the client got it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The headers, without `:status`.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

/// All that was observed of one request.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// What the client got; `None` after a reset or if nothing came.
    pub answer: Option<Answered>,
    /// The request as the upstream got it last.
    pub upstream: Option<Received>,
    /// The callouts that services received since the request began.
    pub callouts: Vec<Received>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: String,
    /// Filter state by key, without the `wasm.` prefix.
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// The guests' log lines while it ran.
    pub logs: Vec<LogLine>,
    /// What guests did that only hurts in production; empty where the host can't tell.
    pub violations: Vec<String>,
    /// What it cost; `None` where the host doesn't count.
    pub cost: Option<Cost>,
    /// Its callbacks with their hostcalls; empty where the host doesn't record.
    pub trace: Trace,
    /// Its messages before and after each plugin, for a report.
    pub(crate) passages: Option<Box<Passages>>,
}
