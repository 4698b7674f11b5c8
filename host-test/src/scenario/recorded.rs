//! A run whose requests are kept for a report.

use std::time::Duration;

use super::load::ScenarioFile;
use super::rechunk::Cutter;
use super::walk::{Observed, Run, Seen, run_then};
use super::wasmtime::{Setup, WasmtimeBackend};
use super::{Backend, DEFAULT_AUTHORITY, Exchange, RequestFields};
use crate::headers::Headers;
use crate::inspector::{Call, Mask, Message, Report};
use crate::trace::detail::{BODY_KEPT, Sample};

/// Carries a scenario out on our host.
pub(super) fn run(file: &ScenarioFile, mask: Mask) -> (Run, Report) {
    let setup = Setup {
        count_instructions: true,
        trace: true,
        detail: true,
        ..Setup::default()
    };
    let started = WasmtimeBackend::start_with(file, &Cutter::whole(), setup);
    let started = started.map(|backend| Box::new(backend) as Box<dyn Backend>);
    let mut shared = Report::default();
    let run = run_then(file, started, |backend| {
        let mut vm_ids: Vec<&str> = file.scenario.plugins.iter().map(|p| p.vm_id()).collect();
        vm_ids.dedup();
        for vm_id in vm_ids {
            // Our host always has it.
            if let Ok(data) = backend.shared_data(vm_id) {
                shared.shared(&file.scenario.name, vm_id, &data, mask);
            }
        }
    });
    let mut report = Report::default();
    for Observed { seen, .. } in &run.observed {
        if let Seen::Exchange(request, exchange) = seen {
            report.push(&mut seen_of(file, request, exchange), mask);
        }
    }
    report.append(shared);
    (run, report)
}

fn seen_of(
    file: &ScenarioFile,
    request: &RequestFields,
    exchange: &Exchange,
) -> crate::inspector::Seen {
    let sample = |bytes: &[u8]| {
        let mut sample = Sample::default();
        sample.push(bytes, BODY_KEPT);
        sample
    };
    let first = exchange.trace.callbacks().first();
    let virtual_time = first.map_or(Duration::ZERO, |callback| callback.at);
    let answer = exchange.answer.clone().unwrap_or_default();
    let callouts = exchange.callouts.iter().map(|call| Call {
        cluster: call.cluster.clone(),
        headers: call.headers.clone(),
        body: sample(&call.body),
        began: None,
        took: None,
        answer: None,
    });
    crate::inspector::Seen {
        at: virtual_time.as_secs_f64() * 1000.0,
        listener: file.scenario.name.clone(),
        client: request
            .from
            .map_or_else(String::new, |from| from.to_string()),
        request: Message {
            headers: headers_of(request),
            body: sample(request.body.as_bytes()),
        },
        status: exchange.answer.as_ref().map(|answer| answer.status),
        response: Message {
            headers: answer.headers,
            body: sample(&answer.body),
        },
        filters: file
            .scenario
            .plugins
            .iter()
            .map(|p| p.name().to_owned())
            .collect(),
        details: exchange.details.clone(),
        trace: exchange.trace.clone(),
        passages: exchange.passages.clone(),
        callouts: callouts.collect(),
        violations: exchange.violations.clone(),
        counted: true,
        ..crate::inspector::Seen::default()
    }
}

/// The headers as the scenario has them.
fn headers_of(request: &RequestFields) -> Headers {
    let mut headers = Headers::new();
    headers.append(":method", &request.method);
    headers.append(":path", &request.path);
    headers.append(
        ":authority",
        request.header("host").unwrap_or(DEFAULT_AUTHORITY),
    );
    for (name, value) in &request.headers.0 {
        if !name.eq_ignore_ascii_case("host") {
            headers.append(name, value);
        }
    }
    headers
}
