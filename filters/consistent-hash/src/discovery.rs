//! What discovery endpoints answer, read into hosts, and hosts as workers share them.
//!
//! An answer that isn't understood as a whole is no answer: half of the hosts would move half of the
//! keys. Neither is one without hosts. The last good answer counts then.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::Format;
use crate::config::hosts::is_plain;
use placement::hosts::{Host, HostSet, socket_address};
use placement::order::{arranged, in_order};

/// Why an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It isn't JSON.
    NotJson,
    /// It is JSON of another form, or has an address that is none.
    Form,
    /// It has no hosts.
    Empty,
    /// It has an address twice with different weights, or too many hosts.
    Hosts,
}

impl Lie {
    /// Returns the word for logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::Form => "form",
            Self::Empty => "empty",
            Self::Hosts => "hosts",
        }
    }
}

/// Reads an answer.
///
/// # Errors
/// See [`Lie`].
pub fn read(format: &Format, body: &[u8]) -> Result<Vec<Host>, Lie> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Lie::NotJson)?;
    let hosts = match format {
        Format::EnvoyClusters(name) => envoy(&value, name),
        Format::ConsulHealth => consul(&value),
        Format::List => list(&value),
    };
    let hosts = hosts.ok_or(Lie::Form)?;
    // An endpoint in two groups, or a service that registered twice.
    let address = |number: usize| hosts.get(number).map(|host| &host.address);
    let order = in_order(hosts.len(), &|one, other| address(one).cmp(&address(other)));
    let mut hosts = arranged(hosts, &order);
    hosts.dedup();
    if hosts.is_empty() {
        return Err(Lie::Empty);
    }
    let fits = hosts.iter().all(|host| {
        let metadata = host.metadata.iter().flat_map(|(name, value)| [name, value]);
        let mut texts = host.zone.iter().chain(&host.hash_key).chain(metadata);
        texts.all(|text| is_plain(text))
    });
    if !fits {
        return Err(Lie::Form);
    }
    HostSet::new(hosts.clone()).map_err(|_| Lie::Hosts)?;
    Ok(hosts)
}

/// `GET /clusters?format=json` of Envoy's admin interface (`envoy.admin.v3.Clusters`). Fields with their
/// default value are left out there.
fn envoy(value: &Value, name: &str) -> Option<Vec<Host>> {
    let clusters = value.get("cluster_statuses")?.as_array()?;
    let mut clusters = clusters.iter();
    let Some(cluster) = clusters.find(|cluster| text(cluster, "name") == Some(name)) else {
        return Some(Vec::new());
    };
    let Some(hosts) = cluster.get("host_statuses") else {
        return Some(Vec::new());
    };
    let mut found = Vec::new();
    for status in hosts.as_array()? {
        let health = status.get("health_status");
        let fails = |field| {
            let flag = health.and_then(|health| health.get(field));
            flag.and_then(Value::as_bool) == Some(true)
        };
        let eds = health.and_then(|health| text(health, "eds_health_status"));
        if fails("failed_active_health_check")
            || fails("failed_outlier_check")
            || matches!(eds, Some("UNHEALTHY" | "TIMEOUT"))
        {
            continue;
        }
        let socket = status.get("address")?.get("socket_address")?;
        let mut host = at(text(socket, "address")?, socket.get("port_value")?)?;
        host.weight = weight(status.get("weight"))?;
        host.draining = eds == Some("DRAINING");
        let zone = status.get("locality").and_then(|place| text(place, "zone"));
        host.zone = zone.filter(|zone| !zone.is_empty()).map(str::to_owned);
        found.push(host);
    }
    Some(found)
}

/// `GET /v1/health/service/NAME` of Consul.
fn consul(value: &Value) -> Option<Vec<Host>> {
    let mut found = Vec::new();
    for entry in value.as_array()? {
        let checks = entry.get("Checks").and_then(Value::as_array);
        let statuses = || {
            checks
                .into_iter()
                .flatten()
                .map(|check| text(check, "Status"))
        };
        if statuses().any(|status| matches!(status, Some("critical" | "maintenance"))) {
            continue;
        }
        let warns = statuses().any(|status| status == Some("warning"));
        let service = entry.get("Service")?;
        let own = text(service, "Address").filter(|address| !address.is_empty());
        let address = match own {
            Some(address) => address,
            None => text(entry.get("Node")?, "Address")?,
        };
        let mut host = at(address, service.get("Port")?)?;
        let weights = service.get("Weights");
        let which = if warns { "Warning" } else { "Passing" };
        host.weight = weight(weights.and_then(|weights| weights.get(which)))?;
        let zone = service.get("Meta").and_then(|meta| text(meta, "zone"));
        host.zone = zone.filter(|zone| !zone.is_empty()).map(str::to_owned);
        found.push(host);
    }
    Some(found)
}

/// A list of addresses, or of objects as in the configuration. Fields that aren't known don't matter.
fn list(value: &Value) -> Option<Vec<Host>> {
    let hosts = value.as_array()?.iter().map(|entry| {
        if let Some(address) = entry.as_str() {
            return Some(Host::new(socket_address(address)?));
        }
        let mut host = Host::new(socket_address(text(entry, "address")?)?);
        host.weight = weight(entry.get("weight"))?;
        host.zone = optional_text(entry, "zone")?;
        host.hash_key = optional_text(entry, "hash_key")?;
        host.draining = match entry.get("draining") {
            Some(draining) => draining.as_bool()?,
            None => false,
        };
        if let Some(metadata) = entry.get("metadata") {
            for (name, value) in metadata.as_object()? {
                host.metadata
                    .insert(name.clone(), value.as_str()?.to_owned());
            }
        }
        Some(host)
    });
    hosts.collect()
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field)?.as_str()
}

/// Text that may be left out, but not be something else.
fn optional_text(value: &Value, field: &str) -> Option<Option<String>> {
    match value.get(field) {
        None | Some(Value::Null) => Some(None),
        Some(value) => Some(Some(value.as_str()?.to_owned())),
    }
}

/// A weight that may be left out.
fn weight(value: Option<&Value>) -> Option<u32> {
    const MOST: u64 = 65_535;
    match value {
        None => Some(1),
        Some(value) => u32::try_from(value.as_u64()?.min(MOST)).ok(),
    }
}

fn at(address: &str, port: &Value) -> Option<Host> {
    let port = port.as_u64()?;
    let text = match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    };
    Some(Host::new(socket_address(&text)?))
}

/// Writes hosts for the other workers. Equal sets are written equally.
pub fn write(hosts: &[Host]) -> Vec<u8> {
    let hosts = hosts.iter().map(|host| {
        let mut entry = serde_json::Map::new();
        entry.insert("address".to_owned(), host.address.clone().into());
        entry.insert("weight".to_owned(), host.weight.into());
        for (field, text) in [("zone", &host.zone), ("hash_key", &host.hash_key)] {
            if let Some(text) = text {
                entry.insert(field.to_owned(), text.clone().into());
            }
        }
        if host.draining {
            entry.insert("draining".to_owned(), true.into());
        }
        if !host.metadata.is_empty() {
            let metadata: BTreeMap<_, _> = host.metadata.iter().collect();
            let metadata = metadata.into_iter();
            let metadata = metadata.map(|(name, value)| (name.clone(), value.clone().into()));
            entry.insert("metadata".to_owned(), Value::Object(metadata.collect()));
        }
        Value::Object(entry)
    });
    Value::Array(hosts.collect()).to_string().into_bytes()
}
