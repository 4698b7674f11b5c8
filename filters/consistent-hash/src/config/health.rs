//! Which hosts are left out because they fail.

use filter_core::config::Place;
use filter_core::config::fields::{Bounded, DurationText};
use filter_core::time::Span;
use serde::Deserialize;

use super::discovery::{interval, millis, path, some_text};
use crate::health::Rules;
use crate::share::Share;

/// Which hosts are left out because they fail.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawHealth {
    /// Asks the hosts.
    pub active: Option<RawActive>,
    /// Watches what hosts answer to requests.
    pub passive: Option<RawPassive>,
    /// How much of the hosts' weight, in percent, must be left; if it is less, health is ignored, since
    /// more is wrong than some hosts. 0 for never.
    pub panic_threshold: Bounded<0, 100>,
    /// How long a host that comes back takes until it has all of its keys again.
    pub slow_start: Option<DurationText>,
}

/// Asks the hosts. One worker asks for all.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawActive {
    /// The gateway's cluster through which hosts are asked: one with the policy `override_host` by the
    /// header of `steer`, in which the filter names the host. With `steer: cluster_header` it is the
    /// host's own cluster, and this is left out.
    pub cluster: Option<String>,
    /// The path.
    pub path: String,
    /// The host that is asked for; the host's address by default.
    pub authority: Option<String>,
    /// How often each host is asked.
    #[serde(default = "five_seconds")]
    pub interval: DurationText,
    /// By how much of the interval, in percent, a question can come sooner, by chance.
    #[serde(default = "a_tenth")]
    pub jitter: Bounded<0, 100>,
    /// How long an answer may take.
    #[serde(default = "a_second")]
    pub timeout: DurationText,
    /// Bad answers in a row after which a host is left out.
    #[serde(default = "three")]
    pub unhealthy_threshold: Bounded<1, 100>,
    /// Good answers in a row after which it is back.
    #[serde(default = "two")]
    pub healthy_threshold: Bounded<1, 100>,
    /// The lowest and the highest status of a good answer.
    #[serde(default = "successes")]
    pub statuses: [Bounded<100, 599>; 2],
}

/// Watches what hosts answer to requests.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawPassive {
    /// Answers of 500 and above in a row after which a host is left out; 0 for never.
    pub consecutive_5xx: Bounded<0, 1000>,
    /// Connections in a row that were refused, broken off or not made in time after which a host is left
    /// out; 0 for never.
    pub consecutive_connect_failures: Bounded<0, 1000>,
    /// Slow answers in a row after which a host is left out; 0 for never. Needs `slow`.
    pub consecutive_slow: Bounded<0, 1000>,
    /// The time up to an answer's head from which on an answer is slow.
    pub slow: Option<DurationText>,
    /// How long a host is left out for the first time; twice as long each time soon after.
    pub ejection_time: DurationText,
    /// The longest time that it is left out.
    pub max_ejection_time: DurationText,
    /// How much of the hosts, in percent, can be left out for what they answered; one always can.
    pub max_ejection_percent: Bounded<1, 100>,
}

/// Questions to hosts, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// The gateway's cluster; none if each host has its own.
    pub cluster: Option<String>,
    /// The path.
    pub path: String,
    /// Host that is asked for, if not the host itself.
    pub authority: Option<String>,
    /// Time from one question to the next.
    pub interval: Span,
    /// Percent of it that a question can come sooner.
    pub jitter: u64,
    /// Milliseconds that an answer may take.
    pub timeout: u32,
    /// Lowest and highest good status.
    pub statuses: [u16; 2],
}

/// Health, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Questions.
    pub active: Option<Active>,
    /// Whether answers are watched.
    pub is_passive: bool,
    /// The time from which on an answer is slow; for ever if that isn't watched.
    pub slow: Option<Span>,
    /// When hosts go out and come back.
    pub rules: Rules,
    /// The part of all weight that must be left.
    pub panic_threshold: Share,
}

impl Health {
    /// Whether hosts can be left out at all.
    pub fn is_watched(&self) -> bool {
        self.active.is_some() || self.is_passive
    }
}

impl RawHealth {
    /// Makes it, or reports all that is wrong at `place`.
    pub(super) fn check(self, has_clusters: bool, place: &Place<'_>) -> Option<Health> {
        let mut rules = Rules {
            slow_start: self.slow_start.map_or(Span::ZERO, span),
            ..Rules::default()
        };
        if let Some(raw) = &self.active {
            rules.unhealthy_after = u8::try_from(raw.unhealthy_threshold.get()).ok()?;
            rules.healthy_after = u8::try_from(raw.healthy_threshold.get()).ok()?;
        }
        let at = place.field("active");
        let active = self.active.map(|raw| raw.check(has_clusters, &at));
        let at = place.field("passive");
        let is_passive = self.passive.is_some();
        let slow = self.passive.as_ref().and_then(|raw| raw.slow).map(span);
        let passive = self.passive.map(|raw| raw.check(&mut rules, &at));
        if self.slow_start.is_some() && active.is_none() && !is_passive {
            place
                .field("slow_start")
                .report("no host ever comes back without \"active\" or \"passive\"");
            return None;
        }
        if passive == Some(None) {
            return None;
        }
        Some(Health {
            active: match active {
                Some(active) => Some(active?),
                None => None,
            },
            is_passive,
            slow,
            rules,
            panic_threshold: Share::percent(self.panic_threshold.get_u32()),
        })
    }
}

impl RawActive {
    fn check(self, has_clusters: bool, place: &Place<'_>) -> Option<Active> {
        let at = place.field("cluster");
        let cluster = match (&self.cluster, has_clusters) {
            (Some(name), false) => some_text(name, &at).map(Some),
            (None, true) => Some(None),
            (None, false) => {
                at.report("required, but missing; it needs the policy \"override_host\" by the header of \"steer\"");
                None
            }
            (Some(_), true) => {
                at.report("with \"steer: cluster_header\" each host is asked through its own cluster; leave it out");
                None
            }
        };
        let path = path(&self.path, &place.field("path"));
        let [lowest, highest] = self
            .statuses
            .map(|status| u16::try_from(status.get()).unwrap_or(u16::MAX));
        if lowest > highest {
            place
                .field("statuses")
                .refuse("the lowest good status and then the highest, such as [200, 299]");
            return None;
        }
        let interval = interval(&self.interval, &place.field("interval"))?;
        Some(Active {
            cluster: cluster?,
            path: path?,
            authority: self.authority,
            interval,
            jitter: self.jitter.get(),
            timeout: millis(self.timeout),
            statuses: [lowest, highest],
        })
    }
}

impl RawPassive {
    /// Puts it into the rules.
    fn check(self, rules: &mut Rules, place: &Place<'_>) -> Option<()> {
        let mut fits = true;
        if self.consecutive_slow.get() > 0 && self.slow.is_none() {
            place
                .field("consecutive_slow")
                .report("what is slow isn't said; add \"slow\"");
            fits = false;
        }
        if self.slow.is_some() && self.consecutive_slow.get() == 0 {
            place
                .field("slow")
                .report("does nothing without \"consecutive_slow\"");
            fits = false;
        }
        if span(self.max_ejection_time) < span(self.ejection_time) {
            place
                .field("max_ejection_time")
                .report("is less than \"ejection_time\"");
            fits = false;
        }
        let count = |count: Bounded<0, 1000>| u16::try_from(count.get()).unwrap_or(u16::MAX);
        rules.server_errors = count(self.consecutive_5xx);
        rules.connect_failures = count(self.consecutive_connect_failures);
        rules.slow_answers = count(self.consecutive_slow);
        rules.ejection = span(self.ejection_time);
        rules.longest_ejection = span(self.max_ejection_time);
        rules.most_ejected = Share::percent(self.max_ejection_percent.get_u32());
        fits.then_some(())
    }
}

fn span(duration: DurationText) -> Span {
    Span::from_duration(duration.get())
}

const HALF: Bounded<0, 100> = Bounded::new(50).unwrap();
const TENTH: Bounded<0, 100> = Bounded::new(10).unwrap();
const TENTH_AT_LEAST: Bounded<1, 100> = Bounded::new(10).unwrap();
const TWO: Bounded<1, 100> = Bounded::new(2).unwrap();
const THREE: Bounded<1, 100> = Bounded::new(3).unwrap();
const FIVE: Bounded<0, 1000> = Bounded::new(5).unwrap();
const NEVER: Bounded<0, 1000> = Bounded::new(0).unwrap();
const OK: Bounded<100, 599> = Bounded::new(200).unwrap();
const LAST_SUCCESS: Bounded<100, 599> = Bounded::new(299).unwrap();

impl Default for RawHealth {
    fn default() -> Self {
        Self {
            active: None,
            passive: None,
            panic_threshold: HALF,
            slow_start: None,
        }
    }
}

impl Default for RawPassive {
    fn default() -> Self {
        Self {
            consecutive_5xx: FIVE,
            consecutive_connect_failures: FIVE,
            consecutive_slow: NEVER,
            slow: None,
            ejection_time: DurationText::from_secs(30),
            max_ejection_time: DurationText::from_secs(300),
            max_ejection_percent: TENTH_AT_LEAST,
        }
    }
}

const fn a_tenth() -> Bounded<0, 100> {
    TENTH
}

const fn two() -> Bounded<1, 100> {
    TWO
}

const fn three() -> Bounded<1, 100> {
    THREE
}

const fn a_second() -> DurationText {
    DurationText::from_secs(1)
}

const fn five_seconds() -> DurationText {
    DurationText::from_secs(5)
}

const fn successes() -> [Bounded<100, 599>; 2] {
    [OK, LAST_SUCCESS]
}
