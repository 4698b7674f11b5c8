//! jwt-auth in our host.

use std::collections::BTreeMap;
use std::time::Duration;

use host_test::host::{Answer, Host, Received};

use crate::Group;
use crate::module::plugin;
use crate::requests::{Outcome, Request, compared};
use crate::token;

/// The outcomes of a group's cases, in order.
pub(crate) fn run(group: &Group) -> Vec<Outcome> {
    let plugin = plugin("jwt_auth").config_json(group.config.to_string());
    let host = Host::builder()
        .plugin(plugin)
        .callouts(|_: &Received| Answer::status(200, token::jwks().to_string()))
        .build()
        .unwrap_or_else(|error| panic!("{}: {error}", group.name));
    let outcomes = group.cases.iter().map(|case| send(&host, &case.request));
    outcomes.collect()
}

fn send(host: &Host, request: &Request) -> Outcome {
    let mut builder = host.request(request.method, &request.path);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let flight = builder.start();
    if flight.is_paused() {
        // Keys are fetched on the next tick.
        host.advance(Duration::from_secs(1));
    }
    let reply = flight.finish();
    let upstream = reply.upstream_request().map(|received| {
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in received.headers.iter() {
            let (name, value) = (
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value),
            );
            if compared(&name) {
                headers
                    .entry(name.into_owned())
                    .or_default()
                    .push(value.into_owned());
            }
        }
        headers
    });
    Outcome {
        status: reply.status().unwrap_or(0),
        upstream,
    }
}
