//! What is remembered of one host.

use filter_core::time::{Span, Timestamp};

use super::{Change, Event, Reason, Rules, State};
use crate::share::Share;

/// The state of one host. The default is that of a host about which nothing is known: it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Ejected until then; zero if it never was, or not lately.
    pub(super) ejected_until: Timestamp,
    /// When checks let it in last.
    pub(super) let_in: Timestamp,
    pub(super) server_errors: u16,
    pub(super) connect_failures: u16,
    pub(super) slow_answers: u16,
    /// Checks in a row that speak against how it stands.
    pub(super) checks: u8,
    pub(super) ejections: u8,
    pub(super) fails_checks: bool,
    /// Why it was ejected last.
    pub(super) reason: Option<Reason>,
}

impl Record {
    /// Returns how the host stands.
    pub fn state(&self, now: Timestamp, rules: &Rules) -> State {
        if self.fails_checks {
            return State::Out {
                reason: Reason::Checks,
                until: None,
            };
        }
        if self.is_ejected(now, rules) {
            return State::Out {
                reason: self.reason.unwrap_or(Reason::ServerErrors),
                until: Some(self.ejected_until),
            };
        }
        match self.back_for(now) {
            Some(elapsed) if elapsed < rules.slow_start => State::Returning(Share::rising(
                elapsed,
                rules.slow_start,
                rules.slow_start_floor,
            )),
            _ => State::In,
        }
    }

    /// Returns whether the host is ejected. A moment further off than any ejection reaches wasn't
    /// written by these rules and doesn't count.
    pub(super) fn is_ejected(&self, now: Timestamp, rules: &Rules) -> bool {
        now < self.ejected_until && self.ejected_until.since(now) <= rules.longest_ejection
    }

    /// Returns whether nothing more needs to be remembered.
    pub(super) fn is_clean(&self, now: Timestamp, rules: &Rules) -> bool {
        !self.fails_checks
            && self.checks == 0
            && self.server_errors == 0
            && self.connect_failures == 0
            && self.slow_answers == 0
            && self.state(now, rules) == State::In
            && self.ejections_lately(now, rules) == 0
    }

    /// Applies an event. `may_eject` says whether another host may be ejected.
    pub(super) fn apply(
        &mut self,
        event: Event,
        now: Timestamp,
        rules: &Rules,
        may_eject: bool,
    ) -> Change {
        let before = *self;
        let was_out = matches!(self.state(now, rules), State::Out { .. });
        let reason = match event {
            Event::CheckPassed | Event::CheckFailed => {
                self.check(event == Event::CheckPassed, now, rules);
                None
            }
            Event::Succeeded => {
                (self.server_errors, self.connect_failures, self.slow_answers) = (0, 0, 0);
                None
            }
            Event::ServerError => {
                self.connect_failures = 0;
                self.server_errors = self.server_errors.saturating_add(1);
                reached(self.server_errors, rules.server_errors).then_some(Reason::ServerErrors)
            }
            Event::ConnectFailure => {
                self.connect_failures = self.connect_failures.saturating_add(1);
                reached(self.connect_failures, rules.connect_failures)
                    .then_some(Reason::ConnectFailures)
            }
            Event::Slow => {
                (self.server_errors, self.connect_failures) = (0, 0);
                self.slow_answers = self.slow_answers.saturating_add(1);
                reached(self.slow_answers, rules.slow_answers).then_some(Reason::SlowAnswers)
            }
        };
        if let Some(reason) = reason.filter(|_| !self.is_ejected(now, rules)) {
            if !may_eject {
                return Change::Spared(reason);
            }
            self.eject(reason, now, rules);
        }
        let is_out = match self.state(now, rules) {
            State::Out { reason, .. } => Some(reason),
            State::In | State::Returning(_) => None,
        };
        match (was_out, is_out) {
            (false, Some(reason)) => Change::Out(reason),
            (true, None) => Change::Back,
            _ if *self == before => Change::None,
            _ => Change::Counted,
        }
    }

    fn check(&mut self, passed: bool, now: Timestamp, rules: &Rules) {
        if passed != self.fails_checks {
            self.checks = 0;
            return;
        }
        self.checks = self.checks.saturating_add(1);
        let enough = if passed {
            rules.healthy_after
        } else {
            rules.unhealthy_after
        };
        if self.checks >= enough {
            self.checks = 0;
            self.fails_checks = !passed;
            if passed {
                self.let_in = now;
            }
        }
    }

    fn eject(&mut self, reason: Reason, now: Timestamp, rules: &Rules) {
        let before = self.ejections_lately(now, rules);
        let doubled = 1_u64.checked_shl(u32::from(before)).unwrap_or(u64::MAX);
        let span = rules.ejection.times(doubled).min(rules.longest_ejection);
        self.ejected_until = now.after(span);
        self.ejections = before.saturating_add(1);
        self.reason = Some(reason);
        (self.server_errors, self.connect_failures, self.slow_answers) = (0, 0, 0);
    }

    /// Returns how many ejections still count: one less for each time the first one's length that
    /// the host has been back.
    fn ejections_lately(&self, now: Timestamp, rules: &Rules) -> u8 {
        let back = now.since(self.ejected_until).divided_by(rules.ejection);
        let forgiven = u8::try_from(back).unwrap_or(u8::MAX);
        self.ejections.saturating_sub(forgiven)
    }

    /// Returns for how long the host has been back, if it ever was out.
    fn back_for(&self, now: Timestamp) -> Option<Span> {
        let since = self.let_in.max(self.ejected_until);
        (since > Timestamp::ZERO && since <= now).then(|| now.since(since))
    }
}

fn reached(count: u16, threshold: u16) -> bool {
    threshold > 0 && count >= threshold
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        unhealthy_after: 3,
        healthy_after: 2,
        server_errors: 5,
        connect_failures: 2,
        slow_answers: 3,
        ejection: Span::from_secs(10),
        longest_ejection: Span::from_secs(60),
        most_ejected: Share::WHOLE,
        slow_start: Span::from_secs(20),
        slow_start_floor: Share::NONE,
    };

    fn at(secs: u64) -> Timestamp {
        Timestamp::ZERO.after(Span::from_secs(secs))
    }

    /// Applies an event so many times and returns the last change.
    fn apply(record: &mut Record, event: Event, times: usize, secs: u64) -> Change {
        let changes = (0..times).map(|_| record.apply(event, at(secs), &RULES, true));
        changes.last().unwrap()
    }

    #[test]
    fn three_failed_checks_put_a_host_out_and_two_passed_ones_let_it_in() {
        let mut record = Record::default();
        assert_eq!(
            apply(&mut record, Event::CheckFailed, 2, 1),
            Change::Counted
        );
        assert_eq!(
            apply(&mut record, Event::CheckPassed, 1, 1),
            Change::Counted
        );
        assert_eq!(
            apply(&mut record, Event::CheckFailed, 2, 1),
            Change::Counted
        );
        let out = Change::Out(Reason::Checks);
        assert_eq!(apply(&mut record, Event::CheckFailed, 1, 1), out);
        assert_eq!(apply(&mut record, Event::CheckFailed, 9, 1), Change::None);
        assert_eq!(
            apply(&mut record, Event::CheckPassed, 1, 5),
            Change::Counted
        );
        assert_eq!(apply(&mut record, Event::CheckPassed, 1, 5), Change::Back);
        assert_eq!(apply(&mut record, Event::CheckPassed, 9, 5), Change::None);
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
        for (event, times, reason) in [
            (Event::ServerError, 5, Reason::ServerErrors),
            (Event::ConnectFailure, 2, Reason::ConnectFailures),
            (Event::Slow, 3, Reason::SlowAnswers),
        ] {
            let mut record = Record::default();
            apply(&mut record, event, times - 1, 1);
            apply(&mut record, Event::Succeeded, 1, 1);
            assert_eq!(apply(&mut record, event, times - 1, 1), Change::Counted);
            assert_eq!(apply(&mut record, event, 1, 1), Change::Out(reason));
            let until = Some(at(11));
            assert_eq!(record.state(at(10), &RULES), State::Out { reason, until });
            assert_eq!(record.state(at(11), &RULES), State::Returning(Share::NONE));
        }
    }

    #[test]
    fn a_success_of_a_clean_host_changes_nothing() {
        let mut record = Record::default();
        assert_eq!(apply(&mut record, Event::Succeeded, 1, 1), Change::None);
        assert_eq!(apply(&mut record, Event::CheckPassed, 1, 1), Change::None);
        assert!(record.is_clean(at(1), &RULES));
    }

    #[test]
    fn ejections_double_up_to_the_longest_and_are_forgiven_in_time() {
        let mut record = Record::default();
        let mut now = 1;
        for length in [10, 20, 40, 60, 60] {
            apply(&mut record, Event::ConnectFailure, 2, now);
            assert_eq!(record.ejected_until, at(now + length));
            now += length;
        }
        // Five ejections; three of them are forgiven after 30 s.
        apply(&mut record, Event::ConnectFailure, 2, now + 30);
        assert_eq!(record.ejected_until, at(now + 30 + 40));
        assert!(!record.is_clean(at(now + 30 + 40 + 29), &RULES));
        assert!(record.is_clean(at(now + 30 + 40 + 30), &RULES));
    }

    #[test]
    fn a_host_that_comes_back_gets_its_keys_over_time() {
        let mut record = Record::default();
        apply(&mut record, Event::ConnectFailure, 2, 1);
        let percent = |secs| record.state(at(secs), &RULES).share().as_percent();
        assert_eq!(
            [percent(10), percent(11), percent(21), percent(31)],
            [0, 0, 50, 100]
        );
        assert_eq!(record.state(at(31), &RULES), State::In);
    }

    #[test]
    fn a_passed_check_does_not_end_an_ejection_and_its_end_does_not_pass_a_check() {
        let mut record = Record::default();
        apply(&mut record, Event::ConnectFailure, 2, 1);
        assert_eq!(apply(&mut record, Event::CheckPassed, 5, 2), Change::None);
        assert_eq!(
            apply(&mut record, Event::CheckFailed, 3, 2),
            Change::Counted
        );
        let until = None;
        let reason = Reason::Checks;
        assert_eq!(record.state(at(50), &RULES), State::Out { reason, until });
        apply(&mut record, Event::CheckPassed, 2, 50);
        assert_eq!(record.state(at(50), &RULES), State::Returning(Share::NONE));
    }

    #[test]
    fn an_answer_during_the_ejection_counts_for_after_it_at_most() {
        let mut record = Record::default();
        apply(&mut record, Event::ConnectFailure, 2, 1);
        apply(&mut record, Event::ConnectFailure, 50, 5);
        assert_eq!(
            record.ejected_until,
            at(11),
            "not prolonged by requests under way"
        );
    }

    #[test]
    fn a_host_may_be_spared_and_is_ejected_when_there_is_room() {
        let mut record = Record::default();
        apply(&mut record, Event::ConnectFailure, 1, 1);
        let spared = record.apply(Event::ConnectFailure, at(1), &RULES, false);
        assert_eq!(spared, Change::Spared(Reason::ConnectFailures));
        let out = record.apply(Event::ConnectFailure, at(2), &RULES, true);
        assert_eq!(out, Change::Out(Reason::ConnectFailures));
    }

    #[test]
    fn a_moment_out_of_reach_keeps_no_host_out() {
        let record = Record {
            ejected_until: Timestamp::from_nanos(u64::MAX),
            ..Record::default()
        };
        assert_eq!(record.state(at(1), &RULES), State::In);
    }
}
