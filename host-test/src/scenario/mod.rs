//! Scenario files: a behaviour of a plugin chain, written in YAML and checked on our host, on the
//! real Envoy, or on both.
//!
//! [`ScenarioFile::load`] reads one, [`run_files`] carries them out and judges, [`report`] shows
//! the outcome. A host is a [`Backend`]; what it observed of a scenario is plain data, so two hosts
//! are compared without asking which is which. What two processes can't have in common (ports,
//! dates, identifiers) is left out by one list in [`parity`].

mod backend;
mod callouts;
mod edge;
mod expect;
mod files;
mod load;
mod matcher;
mod model;
pub mod parity;
pub mod report;
mod runner;
#[cfg(test)]
mod schema;
mod script;
mod source;
mod struct_bytes;
mod trace;
mod values;
mod walk;
mod wasmtime;

pub use backend::{Answered, Backend, Broken, Exchange, StartFailure};
pub use callouts::{
    AnswerFields, CalloutBlock, CalloutExpect, CalloutExpectFields, CalloutFields, CalloutReply,
    CalloutsExpect, Then,
};
pub use files::scenario_files;
pub use load::ScenarioFile;
pub use matcher::{NumberMatch, Pattern, Range, TextMatch};
pub use model::{
    Advance, AdvanceFields, ConfigForm, ConnectionManager, Expect, ExpectFields, FailurePolicy,
    HostKind, LineFields, LineMatch, LogLevel, LogsExpect, PluginBlock, Repeat, Reply, ReplyFields,
    Request, RequestFields, Scenario, Step, UpstreamBlock, UpstreamExpect, UpstreamFields,
    UpstreamMatch,
};
pub use runner::{Case, Failure, FileRun, Hosts, Verdict, run_files};
pub use script::Script;
pub use source::SourceError;
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
            (Some(serde_json::Value::String(text)), _) => text.clone().into_bytes(),
            (Some(value), ConfigForm::Json) => value.to_string().into_bytes(),
            (Some(value), ConfigForm::Struct) => struct_bytes(value),
        }
    }
}

impl Scenario {
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
                    Step::Advance(_)
                    | Step::Answer(_)
                    | Step::Callouts(_)
                    | Step::Logs(_)
                    | Step::Metrics(_)
                    | Step::Start(..) => {}
                }
            }
        }
        let mut keys = std::collections::BTreeSet::new();
        collect(&self.steps, &mut keys);
        keys
    }
}
