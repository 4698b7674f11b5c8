//! What the tasks of one worker share, within its thread.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;

use super::access_log::Logs;
use super::callout;
use super::cluster::{Endpoint, Endpoints};
use super::config::Config;
use super::dns::Addresses;
use super::filters::Filters;
use super::random::Random;
use super::stats::WorkerStats;
use crate::inspector::Calls;
use crate::worker::{StartError, Worker};

/// A worker's state.
pub(super) struct Local {
    pub(super) config: Arc<Config>,
    pub(super) stats: Arc<WorkerStats>,
    /// In the order of the bootstrap.
    pub(super) clusters: Vec<Endpoints>,
    /// `None` without plugins.
    pub(super) filters: Option<Filters>,
    pub(super) logs: Logs,
    pub(super) random: Random,
}

impl Local {
    /// The endpoint of a cluster for the next request; counts that there is none.
    pub(super) fn pick(&self, cluster: usize) -> Option<Rc<Endpoint>> {
        let endpoint = self.clusters[cluster].pick(&self.random);
        if endpoint.is_none() {
            self.stats.clusters[cluster].none_healthy.increment();
        }
        endpoint
    }

    /// Starts the plugins and the tasks that run beside the connections. Worker 0 is the main
    /// thread's.
    pub(super) fn start(
        config: &Arc<Config>,
        stats: Arc<WorkerStats>,
        addresses: Vec<watch::Receiver<Addresses>>,
        index: u64,
    ) -> Result<Rc<Self>, StartError> {
        let random = Random::seeded();
        let clusters = &config.bootstrap.clusters;
        let (sender, mut callouts) = mpsc::unbounded_channel();
        let filters = if config.plugins.all.is_empty() {
            None
        } else {
            let environment = config.environment.clone();
            let clock = environment.clock.clone();
            let worker = Worker::start(environment, &config.plugins.all, index)?;
            let calls = config.inspector.as_ref();
            let calls = calls.map(|inspector| Calls::new(Arc::clone(inspector)));
            Some(Filters::new(worker, clock, sender, calls))
        };
        let listeners = config.bootstrap.listeners.iter();
        let logs = listeners
            .zip(&config.listeners)
            .map(|(listener, prepared)| (&*listener.manager.access_logs, &*prepared.logs));
        let local = Rc::new(Self {
            config: Arc::clone(config),
            stats,
            clusters: clusters
                .iter()
                .map(|cluster| Endpoints::new(cluster, &random))
                .collect(),
            filters,
            logs: Logs::new(logs),
            random,
        });
        for (cluster, mut found) in addresses.into_iter().enumerate() {
            let local = Rc::clone(&local);
            spawn_local(async move {
                loop {
                    let addresses = found.borrow_and_update().clone();
                    if let Some(addresses) = addresses {
                        local.clusters[cluster].set(addresses);
                    }
                    if found.changed().await.is_err() {
                        return;
                    }
                }
            });
        }
        let flushing = Rc::clone(&local);
        spawn_local(async move { flushing.logs.run().await });
        let calling = Rc::clone(&local);
        spawn_local(async move {
            while let Some(callout) = callouts.recv().await {
                spawn_local(callout::run(Rc::clone(&calling), callout));
            }
        });
        let ticking = Rc::clone(&local);
        spawn_local(async move {
            if let Some(filters) = &ticking.filters {
                filters.run_timers().await;
            }
        });
        Ok(local)
    }
}
