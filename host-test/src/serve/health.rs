//! Active health checks, from the main thread.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{Request, Uri, Version};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, spawn_local};

use super::host::{Group, Host};
use super::upstream::Here;
use crate::bootstrap::{HealthCheck, Probe};

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Up,
    /// One failure of several.
    Failed,
    /// Down at once: a status that isn't expected.
    Down,
}

/// Checks the hosts of a cluster for ever.
pub(super) async fn keep_checking(group: Arc<Group>) {
    let Some(check) = group.cluster.health_checks.first().cloned() else {
        return;
    };
    let mut running = Running::default();
    let mut hosts = group.watch();
    loop {
        let now = hosts.borrow_and_update().clone().unwrap_or_default();
        running.0.retain(|address, (host, task)| {
            let stays = now.iter().any(|known| Arc::ptr_eq(known, host));
            if !stays {
                task.abort();
            }
            let _ = address;
            stays
        });
        for host in &*now {
            running.0.entry(host.address).or_insert_with(|| {
                let task = check_host(Arc::clone(&group), Arc::clone(host), check.clone());
                (Arc::clone(host), spawn_local(task).abort_handle())
            });
        }
        if hosts.changed().await.is_err() {
            return;
        }
    }
}

/// Checks that run; dropped, they end.
#[derive(Default)]
struct Running(HashMap<SocketAddr, (Arc<Host>, AbortHandle)>);

impl Drop for Running {
    fn drop(&mut self) {
        for (_, task) in self.0.values() {
            task.abort();
        }
    }
}

async fn check_host(group: Arc<Group>, host: Arc<Host>, check: HealthCheck) {
    let mut judge = Judge::new(&check);
    loop {
        let found = tokio::time::timeout(check.timeout, probe(&group, &host, &check.probe));
        let found = found.await.unwrap_or(Found::Failed);
        group.checked.fetch_add(1, Ordering::AcqRel);
        if let Some(up) = judge.take(found, host.has_failed_check()) {
            group.checked(&host, up);
        }
        let traffic = host.numbers.requests.load(Ordering::Relaxed) > 0
            || group.usage.requests.load(Ordering::Relaxed) > 0;
        let wait = if host.has_failed_check() {
            check.unhealthy_interval
        } else if traffic {
            check.interval
        } else {
            check.no_traffic_interval
        };
        tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
    }
}

/// Counts what checks of a host find.
#[derive(Debug)]
struct Judge {
    first: bool,
    healthy: u32,
    unhealthy: u32,
    healthy_threshold: u32,
    unhealthy_threshold: u32,
}

impl Judge {
    fn new(check: &HealthCheck) -> Self {
        Self {
            first: true,
            healthy: 0,
            unhealthy: 0,
            healthy_threshold: check.healthy_threshold,
            unhealthy_threshold: check.unhealthy_threshold,
        }
    }

    /// What a check means: the host is up, or down, now.
    fn take(&mut self, found: Found, is_down: bool) -> Option<bool> {
        let first = std::mem::replace(&mut self.first, false);
        match found {
            Found::Up => {
                self.unhealthy = 0;
                self.healthy += 1;
                // The first check alone decides.
                (is_down && (first || self.healthy >= self.healthy_threshold)).then_some(true)
            }
            Found::Failed | Found::Down => {
                self.healthy = 0;
                self.unhealthy += 1;
                let enough = found == Found::Down || self.unhealthy >= self.unhealthy_threshold;
                (!is_down && enough).then_some(false)
            }
        }
    }
}

async fn probe(group: &Group, host: &Host, probe: &Probe) -> Found {
    let Ok(stream) = TcpStream::connect(host.address).await else {
        return Found::Failed;
    };
    let Probe::Http {
        host: name,
        path,
        expected,
        retriable,
        http2,
    } = probe
    else {
        return Found::Up;
    };
    let name = name.as_deref().unwrap_or(&group.cluster.name);
    let Some(status) = ask(stream, name, path, *http2).await else {
        return Found::Failed;
    };
    let within = |ranges: &[(u16, u16)]| ranges.iter().any(|(a, b)| (*a..*b).contains(&status));
    if within(expected) {
        Found::Up
    } else if within(retriable) {
        Found::Failed
    } else {
        Found::Down
    }
}

/// The status of the answer to a GET.
async fn ask(stream: TcpStream, host: &str, path: &str, http2: bool) -> Option<u16> {
    let mut request = Request::new(Empty::<Bytes>::new());
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static("Envoy/HC"));
    let io = TokioIo::new(stream);
    if http2 {
        *request.version_mut() = Version::HTTP_2;
        let uri = Uri::builder().scheme("http").authority(host);
        *request.uri_mut() = uri.path_and_query(path).build().ok()?;
        let (mut sender, connection) = http2::handshake(Here, io).await.ok()?;
        let running = spawn_local(connection).abort_handle();
        let answer = sender.send_request(request).await;
        running.abort();
        return Some(answer.ok()?.status().as_u16());
    }
    headers.insert(HOST, HeaderValue::from_str(host).ok()?);
    *request.uri_mut() = path.parse().ok()?;
    let (mut sender, connection) = http1::handshake(io).await.ok()?;
    let running = spawn_local(connection).abort_handle();
    let answer = sender.send_request(request).await;
    running.abort();
    Some(answer.ok()?.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge() -> Judge {
        Judge {
            first: true,
            healthy: 0,
            unhealthy: 0,
            healthy_threshold: 2,
            unhealthy_threshold: 3,
        }
    }

    #[test]
    fn the_first_success_alone_is_enough() {
        assert_eq!(judge().take(Found::Up, true), Some(true));
    }

    #[test]
    fn thresholds_count_in_a_row() {
        let mut judge = judge();
        judge.take(Found::Up, true);
        assert_eq!(judge.take(Found::Failed, false), None);
        assert_eq!(judge.take(Found::Failed, false), None);
        assert_eq!(judge.take(Found::Up, false), None);
        assert_eq!(judge.take(Found::Failed, false), None);
        assert_eq!(judge.take(Found::Failed, false), None);
        assert_eq!(judge.take(Found::Failed, false), Some(false));
        assert_eq!(judge.take(Found::Up, true), None);
        assert_eq!(judge.take(Found::Up, true), Some(true));
    }

    #[test]
    fn an_unexpected_status_is_down_at_once() {
        let mut judge = judge();
        judge.take(Found::Up, true);
        assert_eq!(judge.take(Found::Down, false), Some(false));
    }
}
