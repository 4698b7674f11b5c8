//! Reads a scenario file and checks what its types can't say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;

use crate::bootstrap::base64;
use crate::trace::Thread;

use super::UPSTREAM;
use super::callouts::{CalloutBlock, CalloutReply};
use super::forced::{Budget, FaultBlock, Tick};
use super::model::{
    ConfigForm, Expect, HostKind, Reply, RequestFields, Scenario, Step, UpstreamBlock,
};
use super::source::SourceError;
use super::values::Span;

/// Stands for the folder with the built modules.
const WASM_DIR: &str = "${WASM_DIR}/";

/// A scenario and the file it came from.
#[derive(Clone, Debug)]
pub struct ScenarioFile {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub scenario: Scenario,
}

impl ScenarioFile {
    /// Reads and checks a scenario file.
    ///
    /// # Errors
    ///
    /// The file can't be read, isn't YAML, or doesn't say what a scenario has to say.
    pub fn load(path: &Path) -> Result<Self, SourceError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| SourceError::whole(path, format!("can't be read: {error}")))?;
        Self::parse(path, &text)
    }

    /// The same of a text that is at hand; `path` is used in messages and for modules' places.
    ///
    /// # Errors
    ///
    /// The text isn't YAML, or doesn't say what a scenario has to say.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SourceError> {
        let scenario: Scenario =
            parse_yaml(text).map_err(|error| SourceError::yaml(path, text, &error))?;
        Check { path, text }.scenario(&scenario)?;
        Ok(Self {
            path: path.to_owned(),
            scenario,
        })
    }

    /// Checks that the modules are there.
    ///
    /// # Errors
    ///
    /// One of them is not.
    pub fn check_modules(&self) -> Result<(), SourceError> {
        for plugin in &self.scenario.plugins {
            let path = self.module_path(&plugin.module);
            if !path.is_file() {
                let hint = match plugin.module.starts_with(WASM_DIR) {
                    true => "; `cargo xtask build` makes it",
                    false => "",
                };
                let cause = format!("there is no module {}{hint}", path.display());
                return Err(SourceError::whole(&self.path, cause));
            }
        }
        Ok(())
    }

    /// Where a plugin's module is. `${WASM_DIR}` is `$PENSTOCK_WASM_DIR`, or `target/wasm` of the
    /// workspace that the scenario or the working directory is in.
    pub fn module_path(&self, module: &str) -> PathBuf {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        match module.strip_prefix(WASM_DIR) {
            Some(file) => wasm_dir(folder).join(file),
            None => folder.join(module),
        }
    }
}

/// Reads YAML by the 1.2 rules: only `true` and `false` are booleans, and `012` is a text.
pub(super) fn parse_yaml<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
}

fn wasm_dir(folder: &Path) -> PathBuf {
    if let Some(folder) = std::env::var_os("PENSTOCK_WASM_DIR") {
        return folder.into();
    }
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let here = std::env::current_dir().unwrap_or_default();
    let workspace = [&folder, &here]
        .into_iter()
        .flat_map(|start| start.ancestors())
        .find(|folder| folder.join("Cargo.lock").is_file())
        .unwrap_or(&here);
    workspace.join("target/wasm")
}

const SAY_SO: &str = "say `hosts: [wasmtime]` and why in `because`";

/// Names of requests that were started, and where.
type Started<'s> = BTreeMap<&'s str, (u64, u64)>;

/// What the types of the model can't say.
struct Check<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Check<'_> {
    fn scenario(&self, scenario: &Scenario) -> Result<(), SourceError> {
        let whole = |cause: &str| Err(SourceError::whole(self.path, cause));
        if scenario.workers == 0 {
            return whole("`workers` must be at least 1");
        }
        if scenario.plugins.is_empty() {
            return whole("`plugins` must name at least one plugin");
        }
        if scenario.hosts.is_empty() {
            return whole("`hosts` must name at least one host");
        }
        if scenario.hosts.len() < 2 && scenario.because.is_none() {
            return whole("`hosts` leaves one out: say why in `because`");
        }
        match (
            scenario.steps.is_empty(),
            scenario.expect_config_error.is_empty(),
        ) {
            (true, true) => return whole("there are no `steps`, so nothing is tested"),
            (false, false) => {
                return whole("a scenario with `expect_config_error` can't have `steps`");
            }
            _ => {}
        }
        if !scenario.faults.is_empty() && scenario.hosts.contains(&HostKind::Envoy) {
            return whole(&format!("faults happen on our host only: {SAY_SO}"));
        }
        let clock = |fault: &FaultBlock| matches!(fault, FaultBlock::Clock(_));
        if scenario.faults.iter().any(clock) {
            return whole("the clock jumps in a `fault` step, not in `faults`");
        }
        for plugin in &scenario.plugins {
            let is_base64 = match &plugin.config {
                None => true,
                Some(config) => config.as_str().is_some_and(|text| base64(text).is_some()),
            };
            if plugin.config_form == ConfigForm::Bytes && !is_base64 {
                return whole("`config_form: bytes` needs a `config` that is a text of base64");
            }
        }
        for upstream in &scenario.upstreams {
            self.upstream(upstream)?;
        }
        for (index, block) in scenario.callouts.iter().enumerate() {
            self.callout(block, &scenario.callouts[..index])?;
        }
        let mut started = BTreeMap::new();
        self.steps(scenario, &scenario.steps, &mut started)?;
        self.awaited(started)
    }

    /// Requests that were started are awaited.
    fn awaited(&self, started: Started<'_>) -> Result<(), SourceError> {
        match started.into_iter().next() {
            Some((name, place)) => {
                let cause = format!("`{name}` is started and never awaited");
                Err(SourceError::at(self.path, self.text, place, cause))
            }
            None => Ok(()),
        }
    }

    fn callout(&self, block: &CalloutBlock, before: &[CalloutBlock]) -> Result<(), SourceError> {
        let whole = |cause: String| Err(SourceError::whole(self.path, cause));
        let cluster = &block.cluster;
        if cluster.is_empty() || cluster == UPSTREAM || cluster.contains('.') {
            return whole(format!(
                "`{cluster}` is no name for a cluster of `callouts`: it must not be empty, \
                 `{UPSTREAM}`, or have a point"
            ));
        }
        if block.answers().next().is_none() || block.reply.is_some() && !block.replies.is_empty() {
            return whole("a block of `callouts` needs either `reply` or `replies`".to_owned());
        }
        let whole_cluster =
            |reply: &CalloutReply| matches!(reply, CalloutReply::NoHost | CalloutReply::Refused);
        let of_cluster = |other: &&CalloutBlock| other.cluster == *cluster;
        let mut twin = before.iter().filter(of_cluster);
        let alone = block.replies.is_empty() && block.matches.is_any() && twin.next().is_none();
        let blocked = before
            .iter()
            .filter(of_cluster)
            .any(|other| other.answers().any(whole_cluster));
        if block.answers().any(whole_cluster) && !alone || blocked {
            return whole(format!(
                "`refused` and `no_host` are of a whole cluster: `{cluster}` can't have another \
                 reply or a `match`"
            ));
        }
        if before
            .iter()
            .filter(of_cluster)
            .any(|other| other.grpc != block.grpc)
        {
            return whole(format!(
                "`grpc` must be the same in all blocks of `{cluster}`"
            ));
        }
        block
            .answers()
            .try_for_each(|reply| self.service_reply(reply, block.grpc))
    }

    fn service_reply(&self, reply: &CalloutReply, grpc: bool) -> Result<(), SourceError> {
        let whole = |cause: &str| Err(SourceError::whole(self.path, cause));
        match reply {
            CalloutReply::Respond(fields) if fields.grpc.is_some() && !grpc => {
                whole("a reply with `grpc` needs `grpc: true` in its block of `callouts`")
            }
            CalloutReply::Respond(fields)
                if fields.grpc.is_some() && (!fields.body.is_empty() || fields.then.is_some()) =>
            {
                whole("a reply with `grpc` has no `body` and no `then`")
            }
            CalloutReply::Respond(fields) if !(200..600).contains(&fields.status) => {
                let cause = format!("a service can't reply with status {}", fields.status);
                Err(SourceError::whole(self.path, cause))
            }
            _ => Ok(()),
        }
    }

    fn upstream(&self, block: &UpstreamBlock) -> Result<(), SourceError> {
        let replies: Vec<&Reply> = block.reply.iter().chain(&block.replies).collect();
        if replies.is_empty() || block.reply.is_some() && !block.replies.is_empty() {
            let cause = "a block of `upstreams` needs either `reply` or `replies`";
            return Err(SourceError::whole(self.path, cause));
        }
        for reply in replies {
            if let Reply::Respond(fields) = reply
                && !(200..600).contains(&fields.status)
            {
                let cause = format!("an upstream can't reply with status {}", fields.status);
                return Err(SourceError::whole(self.path, cause));
            }
        }
        Ok(())
    }

    fn request(
        &self,
        scenario: &Scenario,
        request: &RequestFields,
        place: (u64, u64),
    ) -> Result<(), SourceError> {
        let error = |cause: String| Err(SourceError::at(self.path, self.text, place, cause));
        if !request.path.starts_with('/') {
            return error(format!("the path `{}` must begin with /", request.path));
        }
        if request.worker.is_some() && scenario.hosts.contains(&HostKind::Envoy) {
            return error(format!(
                "Envoy can't be told which worker takes a request: {SAY_SO}"
            ));
        }
        if let Some(worker) = request.worker.filter(|w| *w >= scenario.workers) {
            return error(format!(
                "there is no worker {worker}: `workers` is {}, counted from 0",
                scenario.workers
            ));
        }
        Ok(())
    }

    fn budget(&self, expect: Option<&Expect>, place: (u64, u64)) -> Result<(), SourceError> {
        let budget = expect.and_then(|expect| expect.0.budget.as_ref());
        match budget.and_then(Budget::unknown) {
            Some(cause) => Err(SourceError::at(self.path, self.text, place, cause)),
            None => Ok(()),
        }
    }

    /// What only our host can do is only for scenarios that say so.
    fn only_ours(
        &self,
        scenario: &Scenario,
        what: &str,
        place: (u64, u64),
    ) -> Result<(), SourceError> {
        if !scenario.hosts.contains(&HostKind::Envoy) {
            return Ok(());
        }
        let cause = format!("{what} on our host only: {SAY_SO}");
        Err(SourceError::at(self.path, self.text, place, cause))
    }

    fn steps<'s>(
        &self,
        scenario: &'s Scenario,
        steps: &'s [Spanned<Step>],
        started: &mut Started<'s>,
    ) -> Result<(), SourceError> {
        for step in steps {
            let place = (step.referenced.line(), step.referenced.column());
            let error = |cause: String| Err(SourceError::at(self.path, self.text, place, cause));
            match &step.value {
                Step::Exchange(request, _) | Step::Start(_, request) => {
                    if let Step::Start(name, _) = &step.value
                        && started.insert(name, place).is_some()
                    {
                        return error(format!("`{name}` is under way already"));
                    }
                    self.request(scenario, &request.0, place)?;
                    if let Step::Exchange(_, expect) = &step.value {
                        self.budget(Some(expect), place)?;
                    }
                }
                Step::Await(name, expect) => {
                    self.budget(Some(expect), place)?;
                    if started.remove(name.as_str()).is_none() {
                        return error(format!("no request was started by the name `{name}`"));
                    }
                }
                Step::Answer(answer) => {
                    let reply = &answer.reply;
                    let of_cluster = |c: &&CalloutBlock| c.cluster == answer.cluster;
                    let Some(block) = scenario.callouts.iter().find(of_cluster) else {
                        return error(format!("`callouts` has no cluster `{}`", answer.cluster));
                    };
                    if !matches!(reply, CalloutReply::Respond(_) | CalloutReply::Reset) {
                        return error("what waits is answered with a reply or `reset`".to_owned());
                    }
                    self.service_reply(reply, block.grpc)?;
                }
                Step::Repeat(repeat) => {
                    // Each round has to end what it begins.
                    let mut within = BTreeMap::new();
                    self.steps(scenario, &repeat.steps, &mut within)?;
                    self.awaited(within)?;
                }
                Step::Advance(advance) if advance.0.step == Some(Span(Duration::ZERO)) => {
                    return error("a `step` of no time never gets anywhere".to_owned());
                }
                Step::Tick(tick) => {
                    self.only_ours(scenario, "ticks run on demand", place)?;
                    if let Tick::On(Thread::Worker(worker)) = tick
                        && *worker >= scenario.workers as u64
                    {
                        return error(format!(
                            "there is no worker {worker}: `workers` is {}, counted from 0",
                            scenario.workers
                        ));
                    }
                }
                Step::Fault(_) => self.only_ours(scenario, "faults happen", place)?,
                Step::SharedData(expect) => {
                    self.only_ours(scenario, "shared data can be looked at", place)?;
                    if let Some(cause) = expect.unreadable() {
                        return error(cause);
                    }
                }
                Step::Parallel(parallel) => {
                    self.only_ours(scenario, "the order of requests can be decided", place)?;
                    if parallel.requests.is_empty() {
                        return error("`parallel` needs at least one request".to_owned());
                    }
                    for one in &parallel.requests {
                        self.request(scenario, &one.request.0, place)?;
                        self.budget(one.expect.as_ref(), place)?;
                    }
                }
                Step::Advance(_) | Step::Callouts(_) | Step::Logs(_) | Step::Metrics(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUGINS: &str = "name: a\nplugins: [{module: a.wasm}]\n";

    fn error(text: &str) -> String {
        ScenarioFile::parse(Path::new("dir/a.yaml"), text)
            .unwrap_err()
            .to_string()
    }

    fn error_of_steps(steps: &str) -> String {
        error(&format!("{PLUGINS}{steps}"))
    }

    #[test]
    fn an_unknown_field_is_pointed_at_and_the_right_one_suggested() {
        let text = error_of_steps("steps:\n  - request: GET /\n    exspect: 200\n");
        assert_eq!(
            text,
            "dir/a.yaml:5:5: unknown field `exspect`, did you mean `expect`? Known: `request`, \
             `expect`, `start`, `await`, `answer`, `advance`, `repeat`, `parallel`, `tick`, \
             `fault`, `expect_metrics`, `expect_logs`, `expect_callouts`, `expect_shared_data`\n \
             5 |     exspect: 200\n   |     ^"
        );
    }

    #[test]
    fn a_wrong_value_is_pointed_at() {
        let table = [
            (
                "steps:\n  - advance: 60\n",
                "found integer `60`, expected a span of time with its unit, or {by: SPAN",
            ),
            (
                "steps:\n  - advance: 60sec\n",
                "4:14: `60sec` is not a span of time; write for example 250ms, 60s, 1m30s or 2h",
            ),
            (
                "steps:\n  - request: GET\n",
                "4:14: `GET` is not a request: `METHOD /PATH` or a mapping with `path`",
            ),
            (
                "steps:\n  - request: {path: /}\n    expect: ok\n",
                "5:5: found string \"ok\", expected an expectation: a status or a mapping",
            ),
            (
                "steps:\n  - request: {path: /, headers: {a: 1.5}}\n",
                "4:37: put quotes around a number with a point",
            ),
            (
                "steps:\n  - request: {method: GET}\n",
                "the field `path` is missing",
            ),
            (
                "steps:\n  - expect: 200\n",
                "`expect` belongs to a `request` or an `await` in the same step",
            ),
            (
                "steps:\n  - {start: a, advance: 1s}\n",
                "`start` belongs to a `request` in the same step",
            ),
            (
                "steps:\n  - {request: GET /, advance: 1s}\n",
                "a step is exactly one of `request`, `await`, `answer`, `advance`",
            ),
            (
                "steps:\n  - fault: {trap: on_tik}\n",
                "4:12: there is no callback `on_tik`; did you mean `on_tick`?",
            ),
            (
                "steps:\n  - tick: soon\n",
                "expected the number of a worker, `main` or `all`",
            ),
            (
                "steps:\n  - expect_shared_data: {keys: {a: {hex: xy}}}\n",
                "`xy` is not hexadecimal digits in pairs",
            ),
            (
                "steps:\n  - parallel: {request: GET /}\n",
                "unknown field `request`, did you mean `requests`?",
            ),
            (
                "steps:\n  - {request: GET /, expect: {budget: {hostcals: 1}}}\n",
                "unknown field `hostcals`, did you mean `hostcalls`?",
            ),
            (
                "hosts: [envoi]\n",
                "3:9: unknown value `envoi`, did you mean `envoy`? Known: `wasmtime`, `envoy`",
            ),
            ("steps: [\n", "dir/a.yaml:"),
        ];
        for (steps, sentence) in table {
            let text = error_of_steps(steps);
            assert!(text.contains(sentence), "{steps}\n{text}");
        }
    }

    #[test]
    fn a_scenario_that_cannot_be_run_is_refused() {
        let table = [
            ("", "there are no `steps`, so nothing is tested"),
            ("workers: 0\n", "`workers` must be at least 1"),
            ("hosts: []\n", "`hosts` must name at least one host"),
            (
                "hosts: [wasmtime]\nsteps: [{advance: 1s}]\n",
                "`hosts` leaves one out: say why in `because`",
            ),
            (
                "expect_config_error: [a]\nsteps: [{advance: 1s}]\n",
                "a scenario with `expect_config_error` can't have `steps`",
            ),
            (
                "upstreams: [{match: {path: /}}]\nsteps: [{advance: 1s}]\n",
                "a block of `upstreams` needs either `reply` or `replies`",
            ),
            (
                "upstreams: [{reply: 99}]\nsteps: [{advance: 1s}]\n",
                "an upstream can't reply with status 99",
            ),
            (
                "callouts: [{cluster: upstream, reply: 200}]\nsteps: [{advance: 1s}]\n",
                "`upstream` is no name for a cluster of `callouts`",
            ),
            (
                "callouts: [{cluster: a}]\nsteps: [{advance: 1s}]\n",
                "a block of `callouts` needs either `reply` or `replies`",
            ),
            (
                "callouts: [{cluster: a, reply: 99}]\nsteps: [{advance: 1s}]\n",
                "a service can't reply with status 99",
            ),
            (
                "callouts: [{cluster: a, replies: [200, refused]}]\nsteps: [{advance: 1s}]\n",
                "`refused` and `no_host` are of a whole cluster",
            ),
            (
                "callouts: [{cluster: a, reply: no_host}, {cluster: a, reply: 200}]\nsteps: [{advance: 1s}]\n",
                "`refused` and `no_host` are of a whole cluster",
            ),
            (
                "steps: [{request: GET /, start: a}]\n",
                "3:9: `a` is started and never awaited",
            ),
            (
                "steps: [{repeat: {times: 2, steps: [{request: GET /, start: a}]}}, {await: a}]\n",
                "`a` is started and never awaited",
            ),
            (
                "steps: [{await: a}]\n",
                "no request was started by the name `a`",
            ),
            (
                "steps: [{request: GET /, start: a}, {request: GET /, start: a}]\n",
                "`a` is under way already",
            ),
            (
                "steps: [{answer: {cluster: a, reply: 200}}]\n",
                "`callouts` has no cluster `a`",
            ),
            (
                "callouts: [{cluster: a, reply: never}]\nsteps: [{answer: {cluster: a, reply: never}}]\n",
                "what waits is answered with a reply or `reset`",
            ),
            (
                "steps: [{request: {path: a}}]\n",
                "3:9: the path `a` must begin with /",
            ),
            (
                "steps:\n- repeat:\n    times: 2\n    steps:\n    - request: {path: /, worker: 0}\n",
                "7:7: Envoy can't be told which worker takes a request",
            ),
            (
                "hosts: [wasmtime]\nbecause: it chooses\nsteps: [{request: {path: /, worker: 1}}]\n",
                "there is no worker 1: `workers` is 1, counted from 0",
            ),
            (
                "faults: [{cas: lose}]\nsteps: [{advance: 1s}]\n",
                "faults happen on our host only: say `hosts: [wasmtime]` and why in `because`",
            ),
            (
                "hosts: [wasmtime]\nbecause: b\nfaults: [{clock: 1h}]\nsteps: [{advance: 1s}]\n",
                "the clock jumps in a `fault` step, not in `faults`",
            ),
            (
                "steps:\n- fault: none\n",
                "4:3: faults happen on our host only",
            ),
            (
                "steps:\n- tick: all\n",
                "4:3: ticks run on demand on our host only",
            ),
            (
                "steps:\n- parallel: {requests: [{request: GET /}]}\n",
                "4:3: the order of requests can be decided on our host only",
            ),
            (
                "steps:\n- expect_shared_data: {count: 1}\n",
                "4:3: shared data can be looked at on our host only",
            ),
            (
                "hosts: [wasmtime]\nbecause: b\nsteps:\n- tick: 1\n",
                "6:3: there is no worker 1: `workers` is 1, counted from 0",
            ),
            (
                "hosts: [wasmtime]\nbecause: b\nsteps:\n- parallel: {requests: []}\n",
                "6:3: `parallel` needs at least one request",
            ),
            (
                "steps:\n- request: GET /\n  expect: {budget: {calls: {get_shared_date: 1}}}\n",
                "4:3: there is no hostcall `get_shared_date`; did you mean `get_shared_data`?",
            ),
        ];
        for (rest, sentence) in table {
            let text = error_of_steps(rest);
            assert!(text.contains(sentence), "{rest}\n{text}");
        }
        let text = error("name: a\nplugins: []\n");
        assert!(
            text.contains("`plugins` must name at least one plugin"),
            "{text}"
        );
        for config in ["{a: 1}", "a*=="] {
            let plugin = format!("{{module: m, config: {config}, config_form: bytes}}");
            let text = error(&format!(
                "name: a\nplugins: [{plugin}]\nsteps: [{{advance: 1s}}]\n"
            ));
            let sentence = "`config_form: bytes` needs a `config` that is a text of base64";
            assert!(text.contains(sentence), "{config}\n{text}");
        }
    }

    #[test]
    fn a_module_is_looked_for_beside_the_scenario() {
        let file = ScenarioFile::parse(
            Path::new("dir/a.yaml"),
            &format!("{PLUGINS}steps: [{{advance: 1s}}]"),
        )
        .unwrap();
        assert_eq!(file.module_path("m/a.wasm"), Path::new("dir/m/a.wasm"));
        assert!(
            file.module_path("${WASM_DIR}/rate_limit.wasm")
                .ends_with("rate_limit.wasm")
        );
    }
}
