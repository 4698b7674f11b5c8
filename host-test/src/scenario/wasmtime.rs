//! Our own host as a host for scenarios.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::host::{Host, LogLine};
use crate::module::Module;
use crate::plugin::{self, Plugin};

use super::backend::{Answered, Backend, Broken, Exchange, StartFailure};
use super::load::ScenarioFile;
use super::model::{FailurePolicy, PluginBlock, RequestFields};
use super::script::Script;
use super::DEFAULT_AUTHORITY;

/// A host of this library that runs a scenario.
pub(super) struct WasmtimeBackend {
    host: Host,
    logs: RefCell<Vec<LogLine>>,
}

impl WasmtimeBackend {
    pub(super) fn start(file: &ScenarioFile) -> Result<Self, StartFailure> {
        let mut script = Script::new(&file.scenario.upstreams);
        let mut builder = Host::builder()
            .workers(file.scenario.workers)
            .upstream(move |request| script.answer(request));
        for block in &file.scenario.plugins {
            builder = builder.plugin(plugin(file, block)?);
        }
        let host = builder.build().map_err(|error| StartFailure::Refused {
            cause: error.0,
            logs: Vec::new(),
        })?;
        Ok(Self {
            host,
            logs: RefCell::default(),
        })
    }
}

fn plugin(file: &ScenarioFile, block: &PluginBlock) -> Result<Plugin, StartFailure> {
    let path = file.module_path(&block.module);
    let module = Module::from_file(&path).map_err(|error| StartFailure::Refused {
        cause: error.0,
        logs: Vec::new(),
    })?;
    Ok(Plugin {
        name: block.name().to_owned(),
        root_id: block.root_id.clone(),
        vm_id: block.vm_id().to_owned(),
        vm_configuration: Vec::new(),
        configuration: block.config_bytes(),
        module: Arc::new(module),
        failure_policy: match block.failure_policy {
            FailurePolicy::FailClosed => plugin::FailurePolicy::FailClosed,
            FailurePolicy::FailOpen => plugin::FailurePolicy::FailOpen,
            FailurePolicy::FailReload => plugin::FailurePolicy::FailReload {
                backoff: Duration::from_secs(1),
            },
        },
        environment: Vec::new(),
        allow_on_headers_stop_iteration: false,
    })
}

impl Backend for WasmtimeBackend {
    fn exchange(&mut self, fields: &RequestFields) -> Result<Exchange, Broken> {
        let mut request = self.host.request(&fields.method, &fields.path);
        if fields.header("host").is_none() {
            request = request.header("host", DEFAULT_AUTHORITY);
        }
        for (name, value) in &fields.headers.0 {
            request = request.header(name, value);
        }
        if !fields.body.is_empty() {
            if fields.header("content-length").is_none() {
                request = request.header("content-length", fields.body.len().to_string());
            }
            request = request.body(fields.body.clone());
        }
        if let Some(worker) = fields.worker {
            request = request.worker(worker);
        }
        if let Some(from) = fields.from {
            request = request.source_address(&std::net::SocketAddr::new(from, 40_000).to_string());
        }
        let reply = request.send();
        let answer = reply.status().map(|status| Answered {
            status,
            headers: reply
                .headers()
                .iter()
                .filter(|(name, _)| !name.starts_with(b":"))
                .collect(),
            body: reply.body().to_vec(),
        });
        Ok(Exchange {
            answer,
            upstream: reply.upstream_request().cloned(),
            details: reply.details().to_owned(),
            filter_state: reply.filter_state().clone(),
            logs: reply.logs().to_vec(),
        })
    }

    fn advance(&mut self, by: Duration) -> Result<(), Broken> {
        self.host.advance(by);
        Ok(())
    }

    fn metrics(&mut self) -> Result<BTreeMap<String, u64>, Broken> {
        Ok(self.host.metrics())
    }

    fn take_logs(&mut self) -> Result<Vec<LogLine>, Broken> {
        let mut logs = self.logs.take();
        logs.extend(self.host.take_logs());
        Ok(logs)
    }
}
