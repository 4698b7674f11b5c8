//! Our own host as a host for scenarios.
//!
//! The library begins and ends where a plugin chain does. Envoy's connection manager and router
//! stand around it, and clients, upstreams and guests see what they add; so here they are played:
//! each header that Envoy adds is added at the same place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::headers::Headers;
use crate::host::{Answer, Host, Received, RequestBuilder};
use crate::module::Module;
use crate::plugin::{self, Plugin};
use crate::reply::Reply;
use crate::worker::LogLine;

use super::DEFAULT_AUTHORITY;
use super::backend::{Answered, Backend, Broken, Exchange, StartFailure};
use super::load::ScenarioFile;
use super::model::{FailurePolicy, PluginBlock, RequestFields};
use super::script::Script;

/// The port that clients seem to come from.
const CLIENT_PORT: u16 = 40_000;

/// A host of this library that runs a scenario.
pub(super) struct WasmtimeBackend {
    host: Host,
    requests: u64,
}

impl WasmtimeBackend {
    pub(super) fn start(file: &ScenarioFile) -> Result<Self, StartFailure> {
        let mut script = Script::new(&file.scenario.upstreams);
        let mut builder = Host::builder()
            .workers(file.scenario.workers)
            .upstream(move |request| with_router(script.answer(request)));
        for block in &file.scenario.plugins {
            builder = builder.plugin(plugin(file, block)?);
        }
        let host = builder.build().map_err(|failed| StartFailure::Refused {
            cause: failed.error.to_string(),
            logs: failed.logs,
        })?;
        Ok(Self { host, requests: 0 })
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
        self.requests += 1;
        Ok(observed(request(&self.host, fields, self.requests).send()))
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
        self.host.violations()
    }
}

/// The request as Envoy's connection manager hands it to the first filter.
fn request<'h>(host: &'h Host, fields: &RequestFields, number: u64) -> RequestBuilder<'h> {
    let mut request = host
        .request(&fields.method, &fields.path)
        .header("host", fields.header("host").unwrap_or(DEFAULT_AUTHORITY));
    for (name, value) in &fields.headers.0 {
        if !name.eq_ignore_ascii_case("host") {
            request = request.header(name, value);
        }
    }
    if !fields.body.is_empty() {
        if fields.header("content-length").is_none() {
            request = request.header("content-length", fields.body.len().to_string());
        }
        request = request.body(fields.body.clone());
    }
    if fields.header("x-forwarded-proto").is_none() {
        request = request.header("x-forwarded-proto", "http");
    }
    if fields.header("x-request-id").is_none() {
        // A version 4 UUID, as Envoy draws them.
        let id = format!("00000000-0000-4000-8000-{number:012x}");
        request = request.header("x-request-id", id);
    }
    if let Some(worker) = fields.worker {
        request = request.worker(worker);
    }
    if let Some(from) = fields.from {
        request = request.source_address(&SocketAddr::new(from, CLIENT_PORT).to_string());
    }
    request
}

/// The upstream's answer as Envoy's router hands it to the last filter.
fn with_router(mut answer: Answer) -> Answer {
    if let Answer::Respond { headers, .. } = &mut answer {
        headers.append("x-envoy-upstream-service-time", "0");
    }
    answer
}

fn observed(reply: Reply) -> Exchange {
    let answer = reply
        .status()
        .filter(|_| reply.is_complete())
        .map(|status| Answered {
            status,
            headers: to_client(reply.headers()),
            body: reply.body().to_vec(),
        });
    let filter_state = reply.filter_state().iter().map(|(key, value)| {
        let key = key.strip_prefix("wasm.").unwrap_or(key);
        (key.to_owned(), value.clone())
    });
    Exchange {
        answer,
        upstream: reply.upstream_request().map(to_upstream),
        details: reply.details().to_owned(),
        filter_state: filter_state.collect(),
        logs: reply.logs().to_vec(),
        violations: reply.violations().to_vec(),
    }
}

/// The answer as Envoy's connection manager writes it.
fn to_client(headers: &Headers) -> Headers {
    let regular = headers.iter().filter(|(name, _)| !name.starts_with(b":"));
    let mut headers: Headers = regular.collect();
    headers.set("date", "");
    headers.set("server", "envoy");
    headers
}

/// The request as Envoy's router writes it.
fn to_upstream(request: &Received) -> Received {
    let mut request = request.clone();
    request.headers.remove(":scheme");
    request
        .headers
        .set("x-envoy-expected-rq-timeout-ms", "15000");
    request
}
