//! Our own host as a host for scenarios.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::flight::FlightId;
use crate::host::{Callout, Host, Received, RequestBuilder};
use crate::module::Module;
use crate::plugin::{self, Limits, Plugin};
use crate::reply::Reply;
use crate::shared::GrowthLimit;
use crate::trace::Trace;
use crate::worker::LogLine;

use super::UPSTREAM;
use super::backend::{Answered, Backend, Broken, Exchange, StartFailure};
use super::bench::{self, Sample, Samples};
use super::callouts::{AnswerFields, CalloutReply};
use super::edge;
use super::forced::{Cost, FaultBlock, FaultStep, Tick};
use super::load::ScenarioFile;
use super::model::{ConnectionManager, FailurePolicy, PluginBlock, RequestFields};
use super::rechunk::Cutter;
use super::script::Script;

/// How a host differs from the one that judges a scenario.
#[derive(Default)]
pub(super) struct Setup {
    /// Instructions are counted.
    pub(super) count_instructions: bool,
    /// Callbacks and hostcalls are recorded.
    pub(super) trace: bool,
    /// What is recorded tells what a report shows.
    pub(super) detail: bool,
    /// Requests pass no plugin.
    pub(super) without_plugins: bool,
    /// Where the cost of each request is noted.
    pub(super) samples: Option<Samples>,
}

/// A host of this library that runs a scenario.
pub(super) struct WasmtimeBackend {
    host: Host,
    samples: Option<Samples>,
    manager: ConnectionManager,
    strict: bool,
    requests: u64,
    started: BTreeMap<String, Started>,
    /// Callouts of the whole scenario, and how many of them were taken.
    callouts: Vec<Received>,
    callouts_taken: usize,
    cutter: Cutter,
}

/// A request under way.
struct Started {
    method: String,
    id: FlightId,
    /// How long it ran until nothing moved any more.
    took: Duration,
    /// How many callouts there had been.
    callouts: usize,
}

impl WasmtimeBackend {
    pub(super) fn start(file: &ScenarioFile, cutter: &Cutter) -> Result<Self, StartFailure> {
        let setup = Setup {
            count_instructions: file.scenario.counts_instructions(),
            trace: true,
            ..Setup::default()
        };
        Self::start_with(file, cutter, setup)
    }

    pub(super) fn start_with(
        file: &ScenarioFile,
        cutter: &Cutter,
        setup: Setup,
    ) -> Result<Self, StartFailure> {
        let answers = cutter.clone();
        let limit = file.scenario.shared_data_limit;
        let default = GrowthLimit::default();
        let mut script = Script::new(&file.scenario.upstreams);
        let mut services = Script::of_callouts(&file.scenario.callouts);
        let mut builder = Host::builder()
            .workers(file.scenario.workers)
            .seed(file.scenario.seed)
            .trace(setup.trace)
            .detail(setup.detail)
            .count_instructions(setup.count_instructions)
            .shared_data_limit(GrowthLimit {
                keys: limit.keys.unwrap_or(default.keys),
                bytes: limit.bytes.unwrap_or(default.bytes),
            })
            .cluster(UPSTREAM)
            .upstream(move |request| {
                answers.cut_answer(edge::from_upstream(script.answer(request)))
            })
            .callouts(move |request| edge::from_service(services.answer(request)));
        for block in &file.scenario.callouts {
            builder = match block.reply {
                Some(CalloutReply::NoHost) => builder.cluster_without_hosts(&block.cluster),
                _ => builder.cluster(&block.cluster),
            };
        }
        for fault in &file.scenario.faults {
            if let FaultBlock::Host(fault) = fault {
                builder = builder.fault(fault.clone());
            }
        }
        let plugins = match setup.without_plugins {
            true => &[],
            false => &file.scenario.plugins[..],
        };
        for block in plugins {
            builder = builder.plugin(plugin(file, block)?);
        }
        let host = builder.build().map_err(|failed| StartFailure::Refused {
            cause: failed.error.to_string(),
            logs: failed.logs,
        })?;
        Ok(Self {
            host,
            samples: setup.samples,
            manager: file.scenario.connection_manager.clone(),
            strict: file.scenario.strict,
            requests: 0,
            started: BTreeMap::new(),
            callouts: Vec::new(),
            callouts_taken: 0,
            cutter: cutter.clone(),
        })
    }

    /// A request as it comes to the first filter.
    fn request(&mut self, fields: &RequestFields) -> RequestBuilder<'_> {
        self.requests += 1;
        self.request_numbered(fields, self.requests)
    }

    fn request_numbered(&self, fields: &RequestFields, number: u64) -> RequestBuilder<'_> {
        let (headers, client) = edge::enter(fields, &self.manager, number);
        let mut request = self
            .host
            .request(&fields.method, &fields.path)
            .source_address(&client.to_string());
        for (name, value) in headers.iter() {
            request = request.header(&String::from_utf8_lossy(name), value);
        }
        if !fields.body.is_empty() {
            let what = format!("{} {}", fields.method, fields.path);
            request = request.split(self.cutter.cut(&what, &fields.body.clone().into()));
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
        let began = Instant::now();
        let run = self.host.end_run(started.id);
        let took = began.elapsed();
        let reply = run.map(|run| run.reply).unwrap_or_default();
        if let Some(samples) = &self.samples {
            samples.borrow_mut().push(Sample {
                nanoseconds: bench::nanoseconds(started.took + took),
                hostcalls: reply.hostcalls().values().sum(),
                instructions: reply.instructions().unwrap_or(0),
            });
        }
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
        let callouts = self.callouts.len();
        let request = self.request(fields);
        let began = Instant::now();
        let id = request.launch();
        Started {
            took: began.elapsed(),
            callouts,
            method: fields.method.clone(),
            id,
        }
    }
}

fn plugin(file: &ScenarioFile, block: &PluginBlock) -> Result<Plugin, StartFailure> {
    let path = file.module_path(&block.module);
    let module = Module::load(&path).map_err(|error| StartFailure::Refused {
        cause: error.to_string(),
        logs: Vec::new(),
    })?;
    let mut plugin = Plugin::new(module);
    block.name().clone_into(&mut plugin.name);
    plugin.root_id.clone_from(&block.root_id);
    block.vm_id().clone_into(&mut plugin.vm_id);
    plugin.configuration = block.config_bytes();
    plugin.vm_configuration = block.vm_config_text().into_bytes();
    plugin.environment = block.environment.clone().into_iter().collect();
    plugin.allow_on_headers_stop_iteration = block.allow_on_headers_stop_iteration;
    plugin.limits = Limits {
        memory: block.limits.memory,
        callback: block.limits.callback.map(|span| span.0),
        hostcalls: block.limits.hostcalls,
        ..Limits::default()
    };
    plugin.allowed_capabilities = block.allowed_capabilities.iter().cloned().collect();
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

    fn fault(&mut self, fault: &FaultStep) -> Result<(), Broken> {
        match fault {
            FaultStep::None => self.host.clear_faults(),
            FaultStep::Set(faults) => {
                for fault in faults {
                    match fault {
                        FaultBlock::Clock(nanoseconds) => self.host.jump_clock(*nanoseconds),
                        FaultBlock::Host(fault) => self.host.fault(fault.clone()),
                    }
                }
            }
        }
        Ok(())
    }

    fn tick(&mut self, tick: Tick) -> Result<usize, Broken> {
        Ok(match tick {
            Tick::All => self.host.tick(None),
            Tick::On(thread) => self.host.tick(Some(thread)),
        })
    }

    fn parallel(&mut self, seed: u64, requests: &[RequestFields]) -> Result<Vec<Exchange>, Broken> {
        let first = self.requests;
        self.requests += requests.len() as u64;
        let this = &*self;
        let builders = requests
            .iter()
            .zip(first + 1..)
            .map(|(fields, number)| this.request_numbered(fields, number));
        let replies = self.host.parallel(seed, builders);
        let exchanges = requests.iter().zip(&replies).map(|(fields, reply)| {
            let mut exchange = observed(&fields.method, reply);
            if !self.strict {
                exchange.violations.clear();
            }
            exchange
        });
        Ok(exchanges.collect())
    }

    fn shared_data(&mut self, vm_id: &str) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Broken> {
        Ok(self.host.shared_entries(vm_id))
    }

    fn take_trace(&mut self) -> Trace {
        self.host.take_trace()
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
        details: match reply.is_paused() && answer.is_none() && !reply.is_reset() {
            true => "downstream_remote_disconnect".to_owned(),
            false => reply.details().to_owned(),
        },
        filter_state: filter_state.collect(),
        callouts: Vec::new(),
        logs: reply.logs().to_vec(),
        violations: reply.violations().to_vec(),
        cost: Some(Cost {
            hostcalls: reply.hostcalls().clone(),
            instructions: reply.instructions(),
        }),
        trace: reply.trace().clone(),
        passages: reply.closed.passages.clone(),
        answer,
    }
}
