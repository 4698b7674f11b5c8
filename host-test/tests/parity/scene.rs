//! A scenario put together in Rust, that both hosts must pass alike.

use crate::fixture::{Fixture, assert_passes};

/// A scenario of one guest or more. Strict mode is off: these guests do on purpose what hurts.
pub(crate) struct Scene {
    fixture: Fixture,
    plugins: String,
    upstreams: String,
    callouts: String,
    steps: String,
}

impl Scene {
    /// A scenario of one plugin.
    pub(crate) fn new(guest: &str) -> Self {
        Self {
            fixture: Fixture::new(guest),
            plugins: String::new(),
            upstreams: String::new(),
            callouts: String::new(),
            steps: String::new(),
        }
    }

    /// More of the last plugin, as YAML lines.
    pub(crate) fn with(mut self, yaml: &str) -> Self {
        self.plugins += &format!("  {yaml}\n");
        self
    }

    /// Another plugin behind the last one.
    pub(crate) fn then(mut self, name: &str, guest: &str) -> Self {
        self.fixture.add(name, guest);
        self.plugins += &format!("- module: {name}.wasm\n");
        self
    }

    /// What the upstream answers to each request, as a YAML flow mapping.
    pub(crate) fn upstream(mut self, reply: &str) -> Self {
        self.upstreams += &format!("- reply: {reply}\n");
        self
    }

    /// What a service answers to callouts, as YAML in flow style.
    pub(crate) fn service(mut self, cluster: &str, reply: &str) -> Self {
        self.callouts += &format!("- {{cluster: {cluster}, reply: {reply}}}\n");
        self
    }

    /// A request that stays under way.
    pub(crate) fn start(mut self, name: &str, request: &str) -> Self {
        self.steps += &format!("- request: {request}\n  start: {name}\n");
        self
    }

    /// The end of a request that was started.
    pub(crate) fn awaits(mut self, name: &str, expect: &str) -> Self {
        self.steps += &format!("- await: {name}\n  expect: {expect}\n");
        self
    }

    /// An answer to a callout that waits.
    pub(crate) fn answer(mut self, cluster: &str, reply: &str) -> Self {
        self.steps += &format!("- answer: {{cluster: {cluster}, reply: {reply}}}\n");
        self
    }

    /// The callouts since the last such look, as YAML in flow style.
    pub(crate) fn called(mut self, expect: &str) -> Self {
        self.steps += &format!("- expect_callouts: {expect}\n");
        self
    }

    /// A request and what must be seen of it, both as YAML in flow style.
    pub(crate) fn send(mut self, request: &str, expect: &str) -> Self {
        self.steps += &format!("- request: {request}\n  expect: {expect}\n");
        self
    }

    /// Time passes.
    pub(crate) fn advance(mut self, by: &str) -> Self {
        self.steps += &format!("- advance: {by}\n");
        self
    }

    /// What the guests have logged since the last such look, in this order.
    pub(crate) fn says(mut self, lines: &[&str]) -> Self {
        let lines = serde_json::to_string(lines).unwrap();
        self.steps += &format!("- expect_logs: {lines}\n");
        self
    }

    /// Counters and gauges, as a YAML flow mapping.
    pub(crate) fn metrics(mut self, expect: &str) -> Self {
        self.steps += &format!("- expect_metrics: {expect}\n");
        self
    }

    /// Runs it on both hosts, which must agree with what is expected and with each other.
    #[track_caller]
    pub(crate) fn check(self) {
        let mut rest = self.plugins + "strict: false\n";
        if !self.upstreams.is_empty() {
            rest += &format!("upstreams:\n{}", self.upstreams);
        }
        if !self.callouts.is_empty() {
            rest += &format!("callouts:\n{}", self.callouts);
        }
        rest += &format!("steps:\n{}", self.steps);
        assert_passes(&self.fixture, &rest);
    }
}
