//! Our own host as a host for scenarios.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::flight::FlightId;
use crate::host::{Callout, Host, Received, RequestBuilder};
use crate::module::Module;
use crate::plugin::{self, Plugin};
use crate::reply::Reply;
use crate::worker::LogLine;

use super::UPSTREAM;
use super::backend::{Answered, Backend, Broken, Exchange, StartFailure};
use super::callouts::{AnswerFields, CalloutReply};
use super::edge;
use super::load::ScenarioFile;
use super::model::{ConnectionManager, FailurePolicy, PluginBlock, RequestFields};
use super::script::Script;

/// A host of this library that runs a scenario.
pub(super) struct WasmtimeBackend {
    host: Host,
    manager: ConnectionManager,
    strict: bool,
    requests: u64,
    started: BTreeMap<String, Started>,
    /// Callouts of the whole scenario, and how many of them were taken.
    callouts: Vec<Received>,
    callouts_taken: usize,
}

/// A request under way.
struct Started {
    method: String,
    id: FlightId,
    /// How many callouts there had been.
    callouts: usize,
}

impl WasmtimeBackend {
    pub(super) fn start(file: &ScenarioFile) -> Result<Self, StartFailure> {
        let mut script = Script::new(&file.scenario.upstreams);
        let mut services = Script::of_callouts(&file.scenario.callouts);
        let mut builder = Host::builder()
            .workers(file.scenario.workers)
            .cluster(UPSTREAM)
            .upstream(move |request| edge::from_upstream(script.answer(request)))
            .callouts(move |request| edge::from_service(services.answer(request)));
        for block in &file.scenario.callouts {
            builder = match block.reply {
                Some(CalloutReply::NoHost) => builder.cluster_without_hosts(&block.cluster),
                _ => builder.cluster(&block.cluster),
            };
        }
        for block in &file.scenario.plugins {
            builder = builder.plugin(plugin(file, block)?);
        }
        let host = builder.build().map_err(|failed| StartFailure::Refused {
            cause: failed.error.to_string(),
            logs: failed.logs,
        })?;
        Ok(Self {
            host,
            manager: file.scenario.connection_manager.clone(),
            strict: file.scenario.strict,
            requests: 0,
            started: BTreeMap::new(),
            callouts: Vec::new(),
            callouts_taken: 0,
        })
    }

    /// A request as it comes to the first filter.
    fn request(&mut self, fields: &RequestFields) -> RequestBuilder<'_> {
        self.requests += 1;
        let (headers, client) = edge::enter(fields, &self.manager, self.requests);
        let mut request = self
            .host
            .request(&fields.method, &fields.path)
            .source_address(&client.to_string());
        for (name, value) in headers.iter() {
            request = request.header(&String::from_utf8_lossy(name), value);
        }
        if !fields.body.is_empty() {
            request = request.body(fields.body.clone());
        }
        if let Some(worker) = fields.worker {
            request = request.worker(worker);
        }
        request
    }

    /// Looks after callouts that were made since the last time.
    fn collect_callouts(&mut self) {
        let callouts = self.host.take_callouts();
        let callouts = callouts.iter().map(
            |Callout {
                 request, timeout, ..
             }| edge::to_service(request, *timeout),
        );
        self.callouts.extend(callouts);
    }

    fn end(&mut self, started: &Started) -> Exchange {
        let reply = self.host.end_run(started.id).unwrap_or_default();
        self.collect_callouts();
        let mut exchange = observed(&started.method, &reply);
        exchange.callouts = self.callouts[started.callouts..].to_vec();
        if !self.strict {
            exchange.violations.clear();
        }
        exchange
    }

    fn launch(&mut self, fields: &RequestFields) -> Started {
        self.collect_callouts();
        Started {
            callouts: self.callouts.len(),
            method: fields.method.clone(),
            id: self.request(fields).launch(),
        }
    }
}

fn plugin(file: &ScenarioFile, block: &PluginBlock) -> Result<Plugin, StartFailure> {
    let path = file.module_path(&block.module);
    let module = Module::from_file(&path).map_err(|error| StartFailure::Refused {
        cause: error.to_string(),
        logs: Vec::new(),
    })?;
    let mut plugin = Plugin::new(Arc::new(module));
    block.name().clone_into(&mut plugin.name);
    plugin.root_id.clone_from(&block.root_id);
    block.vm_id().clone_into(&mut plugin.vm_id);
    plugin.configuration = block.config_bytes();
    plugin.allow_on_headers_stop_iteration = block.allow_on_headers_stop_iteration;
    plugin.failure_policy = match block.failure_policy {
        FailurePolicy::FailClosed => plugin::FailurePolicy::FailClosed,
        FailurePolicy::FailOpen => plugin::FailurePolicy::FailOpen,
        FailurePolicy::FailReload => plugin::FailurePolicy::FailReload {
            backoff: Duration::from_secs(1),
        },
    };
    Ok(plugin)
}

impl Backend for WasmtimeBackend {
    fn exchange(&mut self, fields: &RequestFields) -> Result<Exchange, Broken> {
        let started = self.launch(fields);
        Ok(self.end(&started))
    }

    fn start(&mut self, name: &str, fields: &RequestFields) -> Result<(), Broken> {
        let started = self.launch(fields);
        self.started.insert(name.to_owned(), started);
        Ok(())
    }

    fn finish(&mut self, name: &str) -> Result<Exchange, Broken> {
        match self.started.remove(name) {
            Some(started) => Ok(self.end(&started)),
            None => Err(Broken(format!("no request `{name}` is under way"))),
        }
    }

    fn answer(&mut self, fields: &AnswerFields) -> Result<bool, Broken> {
        let fits = |callout: &Callout| {
            callout.request.cluster == fields.cluster
                && fields
                    .matches
                    .fits(&edge::to_service(&callout.request, callout.timeout))
        };
        let waiting = self.host.waiting_callouts().into_iter().find(fits);
        let answer = edge::from_service(fields.reply.answer());
        Ok(waiting.is_some_and(|callout| self.host.answer(&callout, answer).is_ok()))
    }

    fn take_callouts(&mut self) -> Result<Vec<Received>, Broken> {
        self.collect_callouts();
        let taken = std::mem::replace(&mut self.callouts_taken, self.callouts.len());
        Ok(self.callouts[taken..].to_vec())
    }

    fn advance(&mut self, by: Duration) -> Result<(), Broken> {
        self.host.advance(by);
        Ok(())
    }

    fn metrics(&mut self) -> Result<BTreeMap<String, u64>, Broken> {
        Ok(self.host.metrics())
    }

    fn take_logs(&mut self) -> Result<Vec<LogLine>, Broken> {
        Ok(self.host.take_logs())
    }

    fn violations(&mut self) -> Vec<String> {
        if self.strict {
            self.host.violations()
        } else {
            Vec::new()
        }
    }
}

/// Whether the client has all the body that was announced, though the stream broke off behind it.
fn has_its_length(reply: &Reply) -> bool {
    let length = reply.header("content-length");
    length.and_then(|length| length.parse().ok()) == Some(reply.body().len())
}

fn observed(method: &str, reply: &Reply) -> Exchange {
    let answer = reply
        .status()
        .filter(|_| reply.is_complete() || has_its_length(reply))
        .map(|status| Answered {
            status,
            headers: edge::leave(method, status, reply.headers(), reply.bare),
            body: reply.body().to_vec(),
        });
    let filter_state = reply.filter_state().iter().map(|(key, value)| {
        let key = key.strip_prefix("wasm.").unwrap_or(key);
        (key.to_owned(), value.clone())
    });
    Exchange {
        upstream: reply.upstream_request().map(edge::to_upstream),
        // A client that waits in vain leaves in the end, and that is what Envoy notes.
        details: match reply.is_paused() && answer.is_none() {
            true => "downstream_remote_disconnect".to_owned(),
            false => reply.details().to_owned(),
        },
        filter_state: filter_state.collect(),
        callouts: Vec::new(),
        logs: reply.logs().to_vec(),
        violations: reply.violations().to_vec(),
        answer,
    }
}
