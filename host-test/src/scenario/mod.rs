//! Scenario files: a behaviour of a plugin chain, written in YAML and checked on our host, on the
//! real Envoy, or on both.
//!
//! [`ScenarioFile::load`] reads one, [`run_files`] carries them out and judges, [`report`] shows
//! the outcome. A host is a [`Backend`]; what it observed of a scenario is plain data, so two hosts
//! are compared without asking which is which. What two processes can't have in common (ports,
//! dates, identifiers) is left out by one list in [`parity`].

mod backend;
pub mod bench;
mod callouts;
mod edge;
mod expect;
mod files;
mod forced;
mod load;
mod matcher;
mod model;
pub mod parity;
mod rechunk;
mod recorded;
pub mod report;
mod runner;
#[cfg(test)]
mod schema;
mod script;
mod snapshot;
mod source;
mod struct_bytes;
mod trace;
mod values;
mod walk;
mod wasmtime;

use crate::bootstrap::base64;

pub use backend::{Answered, Backend, Broken, Exchange, StartFailure};
pub use callouts::{
    AnswerFields, CalloutBlock, CalloutExpect, CalloutExpectFields, CalloutFields, CalloutReply,
    CalloutsExpect, GrpcEnd, GrpcFields, Then,
};
pub use files::scenario_files;
pub use forced::{
    Budget, Cost, DataMatch, FaultBlock, FaultStep, Parallel, ParallelRequest, SharedDataExpect,
    Tick,
};
pub use load::ScenarioFile;
pub use matcher::{NumberMatch, Pattern, Range, TextMatch};
pub use model::{
    Advance, AdvanceFields, ConfigForm, ConnectionManager, Expect, ExpectFields, FailurePolicy,
    HostKind, LimitsBlock, LineFields, LineMatch, LogLevel, LogsExpect, PluginBlock, Repeat, Reply,
    ReplyFields, Request, RequestFields, Scenario, SharedDataLimit, Step, UpstreamBlock,
    UpstreamExpect, UpstreamFields, UpstreamMatch,
};
pub use runner::{
    Case, Failure, FileRun, Hosts, Rechunk, RunOptions, Verdict, list_files, run_files,
    run_files_with,
};
pub use script::Script;
pub use source::SourceError;
pub(crate) use source::nearest;
pub use struct_bytes::struct_bytes;
pub use values::{HeaderLines, Span};

/// Stands for the number of the round in what `repeat` repeats.
const PLACEHOLDER: &str = "{n}";

/// The cluster that the scripted upstream is.
pub const UPSTREAM: &str = "upstream";

/// The `host` of a request that names none.
pub const DEFAULT_AUTHORITY: &str = "test.example";

fn numbered(text: &str, n: u64) -> String {
    text.replace(PLACEHOLDER, &n.to_string())
}

impl RequestFields {
    /// The same request with `{n}` replaced by a number.
    fn numbered(&self, n: u64) -> Self {
        Self {
            path: numbered(&self.path, n),
            headers: HeaderLines(
                self.headers
                    .0
                    .iter()
                    .map(|(name, value)| (name.clone(), numbered(value, n)))
                    .collect(),
            ),
            body: numbered(&self.body, n),
            ..self.clone()
        }
    }

    /// The value of a header, by a name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = |(header, _): &&(String, String)| header.eq_ignore_ascii_case(name);
        self.headers
            .0
            .iter()
            .find(found)
            .map(|(_, value)| value.as_str())
    }
}

impl PluginBlock {
    /// The plugin's name: as given, or after its module.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| {
            let file = self.module.rsplit('/').next().unwrap_or(&self.module);
            file.strip_suffix(".wasm").unwrap_or(file)
        })
    }

    /// The scope of its shared data.
    pub fn vm_id(&self) -> &str {
        self.vm_id.as_deref().unwrap_or_else(|| self.name())
    }

    /// The configuration as bytes, in the form asked for.
    pub fn config_bytes(&self) -> Vec<u8> {
        match (&self.config, self.config_form) {
            (None, _) => Vec::new(),
            (Some(serde_json::Value::String(text)), ConfigForm::Bytes) => {
                base64(text).unwrap_or_default()
            }
            (Some(serde_json::Value::String(text)), _) => text.clone().into_bytes(),
            // Anything but a text is refused as the form `bytes` when the scenario is read.
            (Some(value), ConfigForm::Json | ConfigForm::Bytes) => value.to_string().into_bytes(),
            (Some(value), ConfigForm::Struct) => struct_bytes(value),
        }
    }

    /// The configuration of its VM as a text.
    pub fn vm_config_text(&self) -> String {
        match &self.vm_config {
            None => String::new(),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        }
    }
}

impl Scenario {
    /// Whether some budget is about instructions.
    pub(crate) fn counts_instructions(&self) -> bool {
        fn any(steps: &[serde_saphyr::Spanned<Step>]) -> bool {
            let counts = |expect: &Expect| {
                let budget = expect.0.budget.as_ref();
                budget.is_some_and(|budget| budget.instructions.is_some())
            };
            steps.iter().any(|step| match &step.value {
                Step::Exchange(_, expect) | Step::Await(_, expect) => counts(expect),
                Step::Repeat(repeat) => any(&repeat.steps),
                Step::Parallel(parallel) => {
                    let mut expects = parallel
                        .requests
                        .iter()
                        .filter_map(|one| one.expect.as_ref());
                    expects.any(counts)
                }
                _ => false,
            })
        }
        any(&self.steps)
    }

    /// The filter state keys that some expectation names. Only these are compared between hosts.
    pub fn watched_filter_state(&self) -> std::collections::BTreeSet<&str> {
        fn collect<'s>(
            steps: &'s [serde_saphyr::Spanned<Step>],
            keys: &mut std::collections::BTreeSet<&'s str>,
        ) {
            for step in steps {
                match &step.value {
                    Step::Exchange(_, expect) | Step::Await(_, expect) => {
                        keys.extend(expect.0.filter_state.keys().map(String::as_str));
                    }
                    Step::Repeat(repeat) => collect(&repeat.steps, keys),
                    Step::Parallel(parallel) => {
                        let expects = parallel
                            .requests
                            .iter()
                            .filter_map(|one| one.expect.as_ref());
                        keys.extend(
                            expects
                                .flat_map(|e| e.0.filter_state.keys())
                                .map(String::as_str),
                        );
                    }
                    Step::Advance(_)
                    | Step::Answer(_)
                    | Step::Callouts(_)
                    | Step::Fault(_)
                    | Step::Logs(_)
                    | Step::Metrics(_)
                    | Step::SharedData(_)
                    | Step::Start(..)
                    | Step::Tick(_) => {}
                }
            }
        }
        let mut keys = std::collections::BTreeSet::new();
        collect(&self.steps, &mut keys);
        keys
    }
}
