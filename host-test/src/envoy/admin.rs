//! Envoy's admin page: addresses, statistics, and a way to know that every worker is through.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::scenario::Broken;

use super::bootstrap::LISTENER;
use super::http1::Head;
use super::process::{PATIENCE, Process};
use super::servers::Traffic;

/// Counts the flushes that were asked for while another was under way.
const DROPPED: &str = "server.dropped_stat_flushes";

/// How Envoy calls the guests' metrics.
const GUEST_METRIC: &str = "wasmcustom.";

/// How much has moved through Envoy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// To and from hosts, as they see it.
    pub(super) upstream: Traffic,
    /// Requests that wait for a connection.
    pub(super) pending: u64,
    /// Bytes that came from clients.
    downstream: u64,
}

/// A connection to the admin page.
pub(super) struct Admin {
    stream: BufReader<TcpStream>,
    marks: u64,
}

impl Admin {
    /// Connects to the admin page of a process that has started.
    pub(super) fn connect(process: &Process) -> Result<Self, Broken> {
        let stream = process
            .admin_address()
            .and_then(|text| text.trim().parse::<SocketAddr>().map_err(io::Error::other))
            .and_then(TcpStream::connect)
            .and_then(|stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                Ok(stream)
            })
            .map_err(broken)?;
        Ok(Self {
            stream: BufReader::new(stream),
            marks: 0,
        })
    }

    /// Where the listener was bound to.
    pub(super) fn listener(&mut self) -> Result<SocketAddr, Broken> {
        let listeners: Value = serde_json::from_str(&self.get("/listeners?format=json")?)
            .map_err(|error| broken(error.into()))?;
        let listener = listeners["listener_statuses"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|listener| listener["name"] == LISTENER)
            .map(|listener| &listener["local_address"]["socket_address"]);
        let address = listener.and_then(|address| {
            let ip = address["address"].as_str()?.parse().ok()?;
            let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
            Some(SocketAddr::new(ip, port))
        });
        address.ok_or_else(|| Broken("Envoy does not say where its listener is".to_owned()))
    }

    /// The guests' counters and gauges by their own names.
    pub(super) fn metrics(&mut self) -> Result<BTreeMap<String, u64>, Broken> {
        let text = self.get("/stats?filter=^wasmcustom%5C.")?;
        Ok(text
            .lines()
            .filter_map(|line| line.strip_prefix(GUEST_METRIC)?.rsplit_once(": "))
            // Histograms have no single number and are left out.
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect())
    }

    /// Returns when every thread of Envoy has carried out all that was due, and all of the log
    /// until then has been read.
    ///
    /// With `stats_flush_on_admin` each look at the statistics starts a flush, for which every
    /// worker runs something in its event loop; a look that comes before the flush is done is
    /// counted as dropped. So two looks with one count have a whole round through all workers
    /// between them. The first round wakes them, so that they notice a clock that was moved and
    /// start the timers that are due; the second one comes after those.
    pub(super) fn settle(&mut self, process: &mut Process) -> Result<(), Broken> {
        for _round in 0..2 {
            let mut count = self.dropped()?;
            loop {
                let now = self.dropped()?;
                if now == count {
                    break;
                }
                count = now;
            }
        }
        // Envoy logs the admin page's requests, which marks the place in its log.
        self.marks += 1;
        let mark = format!("/ready?mark={}", self.marks);
        self.get(&mark)?;
        let end = format!("path: {mark}");
        process.await_log(|record| record.message.ends_with(&end))
    }

    /// What has passed between Envoy and the hosts of its clusters.
    pub(super) fn traffic(&mut self) -> Result<Moved, Broken> {
        let text = self.get(
            "/stats?filter=(%5Ecluster%5C.%5B%5E.%5D%2B%5C.upstream_(cx_active|cx_rx_bytes_total|\
             cx_tx_bytes_total|rq_pending_active)$)|(%5Ehttp%5C.ingress%5C.downstream_cx_rx_bytes_total$)",
        )?;
        let mut moved = Moved::default();
        for (name, value) in text.lines().filter_map(|line| line.rsplit_once(": ")) {
            let value: u64 = value.parse().unwrap_or_default();
            let sum = match name.rsplit('.').next() {
                Some("upstream_cx_active") => &mut moved.upstream.connections,
                Some("upstream_cx_tx_bytes_total") => &mut moved.upstream.read,
                Some("upstream_cx_rx_bytes_total") => &mut moved.upstream.written,
                Some("upstream_rq_pending_active") => &mut moved.pending,
                Some("downstream_cx_rx_bytes_total") => &mut moved.downstream,
                _ => continue,
            };
            *sum += value;
        }
        Ok(moved)
    }

    fn dropped(&mut self) -> Result<u64, Broken> {
        let text = self.get("/stats?filter=^server%5C.dropped_stat_flushes$")?;
        text.lines()
            .find_map(|line| line.strip_prefix(DROPPED)?.strip_prefix(": ")?.parse().ok())
            .ok_or_else(|| Broken(format!("Envoy does not tell {DROPPED}")))
    }

    fn get(&mut self, path: &str) -> Result<String, Broken> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n");
        self.stream
            .get_mut()
            .write_all(request.as_bytes())
            .map_err(broken)?;
        let head = Head::read(&mut self.stream).map_err(broken)?;
        let head = head.ok_or_else(|| broken(io::ErrorKind::UnexpectedEof.into()))?;
        let body = head.read_body(&mut self.stream).map_err(broken)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

fn broken(error: io::Error) -> Broken {
    Broken(format!("can't use Envoy's admin page: {error}"))
}
