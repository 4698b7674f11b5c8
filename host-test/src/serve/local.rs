//! What the tasks of one worker share, within its thread, for one configuration.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};

use super::access_log::Logs;
use super::callout;
use super::cluster::{Endpoint, Endpoints};
use super::config::Config;
use super::filters::Filters;
use super::random::Random;
use super::stats::WorkerStats;
use super::steer::Steer;
use crate::inspector::Calls;
use crate::worker::{StartError, Worker};

/// A worker's state under a configuration. A new configuration gets a new one; the old one ends once
/// its last exchange has.
pub(super) struct Local {
    pub(super) config: Arc<Config>,
    pub(super) stats: Arc<WorkerStats>,
    /// In the order of the bootstrap.
    pub(super) clusters: Vec<Rc<Endpoints>>,
    /// `None` without plugins.
    pub(super) filters: Option<Filters>,
    pub(super) logs: Logs,
    pub(super) random: Random,
    /// Exchanges that are under way.
    exchanges: Cell<usize>,
    retired: Cell<bool>,
    tasks: RefCell<Vec<AbortHandle>>,
    /// Ends with retirement, whatever is under way.
    ticking: RefCell<Option<AbortHandle>>,
}

impl Local {
    /// The endpoint of a cluster for the next request; counts that there is none.
    pub(super) fn pick(&self, cluster: usize, steer: &mut Steer) -> Option<Rc<Endpoint>> {
        let endpoint = self.clusters[cluster].pick(&self.random, steer);
        if endpoint.is_none() {
            self.stats.clusters[cluster].none_healthy.increment();
        }
        endpoint
    }

    /// Starts the plugins and the tasks that run beside the connections. Worker 0 is the main
    /// thread's. Clusters that stay keep the connections that they have `before`.
    pub(super) fn start(
        config: &Arc<Config>,
        stats: Arc<WorkerStats>,
        index: u64,
        before: Option<&Self>,
    ) -> Result<Rc<Self>, StartError> {
        let random = Random::seeded();
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
        let known = |group| {
            let mut known = before?.clusters.iter();
            known.find(|known| Arc::ptr_eq(&known.group, group))
        };
        let groups = config.groups.iter().zip(&stats.clusters);
        let clusters = groups
            .map(|(group, stats)| match known(group) {
                Some(known) => Rc::clone(known),
                None => Endpoints::new(group, Arc::clone(stats), &random),
            })
            .collect();
        let local = Rc::new(Self {
            config: Arc::clone(config),
            stats,
            clusters,
            filters,
            logs: Logs::new(logs),
            random,
            exchanges: Cell::new(0),
            retired: Cell::new(false),
            tasks: RefCell::default(),
            ticking: RefCell::default(),
        });
        let mut tasks = Vec::new();
        for endpoints in &local.clusters {
            let mut hosts = endpoints.group.watch();
            // The hosts may have come since the endpoints were made.
            hosts.mark_changed();
            let endpoints = Rc::clone(endpoints);
            let follow = async move {
                while hosts.changed().await.is_ok() {
                    endpoints.update();
                }
            };
            tasks.push(spawn_local(follow).abort_handle());
        }
        let flushing = Rc::clone(&local);
        tasks.push(spawn_local(async move { flushing.logs.run().await }).abort_handle());
        let calling = Rc::clone(&local);
        let call = async move {
            while let Some(callout) = callouts.recv().await {
                spawn_local(callout::run(Rc::clone(&calling), callout));
            }
        };
        tasks.push(spawn_local(call).abort_handle());
        let ticking = Rc::clone(&local);
        let tick = async move {
            if let Some(filters) = &ticking.filters {
                filters.run_timers().await;
            }
        };
        local
            .ticking
            .replace(Some(spawn_local(tick).abort_handle()));
        local.tasks.replace(tasks);
        Ok(local)
    }

    /// An exchange begins.
    pub(super) fn enter(&self) {
        self.exchanges.set(self.exchanges.get() + 1);
    }

    /// An exchange has ended.
    pub(super) fn leave(&self) {
        self.exchanges.set(self.exchanges.get() - 1);
        self.end_if_over();
    }

    /// Another configuration has taken over.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        if let Some(ticking) = self.ticking.take() {
            ticking.abort();
        }
        self.end_if_over();
    }

    /// Ends the tasks, and with them whatever holds this, if nothing more is to come.
    fn end_if_over(&self) {
        if self.retired.get() && self.exchanges.get() == 0 {
            self.logs.flush();
            for task in self.tasks.take() {
                task.abort();
            }
        }
    }
}
