//! Starting VMs, configuring plugins, and making failed VMs anew.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use super::{Slot, StartError, VmSlot, Worker};
use crate::plugin::{FailurePolicy, Plugin};
use crate::state::{Environment, State};
use crate::vm::{StartFailure, Trapped, Vm};

/// The index of a throw-away VM: nothing can be addressed to it.
const CANARY: u64 = u64::MAX;

impl Worker {
    /// Starts a VM for each distinct plugin VM and configures the plugins, in order.
    ///
    /// `index` tells workers apart: 0 is the main thread's, which serves no streams.
    ///
    /// # Errors
    ///
    /// A start function trapped, or a plugin refused its configuration.
    pub fn start(
        env: Environment,
        plugins: &[Arc<Plugin>],
        index: u64,
    ) -> Result<Self, StartError> {
        let mut worker = Self::empty(env, index);
        for plugin in plugins {
            worker.add(plugin)?;
        }
        worker.settle();
        Ok(worker)
    }

    /// A worker without VMs.
    pub(super) fn empty(env: Environment, index: u64) -> Self {
        let seed = env
            .seed
            .wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self {
            state: Rc::new(RefCell::new(State::new(
                env,
                (index != CANARY).then_some(index),
            ))),
            vms: Vec::new(),
            slots: Vec::new(),
            pending: VecDeque::new(),
            seed,
        }
    }

    /// Tries plugins out as Envoy does before it accepts a configuration: of each distinct VM the
    /// start functions run in one that is never used, and each plugin is configured in a canary.
    ///
    /// # Errors
    ///
    /// As [`Worker::start`].
    pub fn try_out(env: &Environment, plugins: &[Arc<Plugin>]) -> Result<(), StartError> {
        let mut bases = Vec::new();
        for plugin in plugins {
            let key = vm_key(plugin);
            if !bases.contains(&key) {
                bases.push(key);
                let mut base = Self::start(env.clone(), &[], CANARY)?;
                base.new_vm(plugin)
                    .map_err(|failure| base.refuse(plugin, failure))?;
            }
            Self::canary(env.clone(), plugin)?;
        }
        Ok(())
    }

    /// Runs a plugin's start and configuration in a throw-away VM, as Envoy does before it accepts
    /// a configuration.
    ///
    /// # Errors
    ///
    /// As [`Worker::start`].
    pub fn canary(env: Environment, plugin: &Arc<Plugin>) -> Result<(), StartError> {
        Self::start(env, std::slice::from_ref(plugin), CANARY).map(drop)
    }

    pub(super) fn add(&mut self, plugin: &Arc<Plugin>) -> Result<(), StartError> {
        let key = vm_key(plugin);
        let vm = match self.vms.iter().position(|slot| slot.key == key) {
            Some(vm) => vm,
            None => {
                let loaded = self
                    .new_vm(plugin)
                    .map_err(|failure| self.refuse(plugin, failure))?;
                let loaded_at = self.state.borrow().env.clock.elapsed();
                self.vms.push(VmSlot {
                    key,
                    generation: 0,
                    loaded_at,
                    vm: Some(loaded),
                });
                self.vms.len() - 1
            }
        };
        let same = |slot: &&Slot| {
            slot.vm == vm
                && slot.plugin.name == plugin.name
                && slot.plugin.root_id == plugin.root_id
                && slot.plugin.configuration == plugin.configuration
        };
        let root = match self.slots.iter().find(same) {
            Some(twin) => twin.root,
            None => self
                .add_root(vm, plugin)
                .map_err(|failure| self.refuse(plugin, failure))?,
        };
        self.slots.push(Slot {
            plugin: plugin.clone(),
            vm,
            root,
        });
        Ok(())
    }

    pub(super) fn new_vm(&mut self, plugin: &Plugin) -> Result<Vm, StartFailure> {
        self.seed = self.seed.wrapping_add(0x2545_f491_4f6c_dd1d);
        Vm::new(plugin, self.state.clone(), self.seed)
    }

    pub(super) fn add_root(
        &mut self,
        vm: usize,
        plugin: &Arc<Plugin>,
    ) -> Result<u32, StartFailure> {
        let slot = &mut self.vms[vm];
        self.state.borrow_mut().calling = (vm, slot.generation);
        match &mut slot.vm {
            Some(vm) => vm.add_root(plugin),
            None => Err(StartFailure::Start("the VM is gone".into())),
        }
    }

    /// Logs why a plugin did not start, and says it in a sentence.
    pub(super) fn refuse(&self, plugin: &Plugin, failure: StartFailure) -> StartError {
        let cause = match failure {
            StartFailure::Start(cause) if cause.is_empty() => {
                "its allocator trapped while it started".to_owned()
            }
            StartFailure::Start(cause) => {
                self.state
                    .borrow_mut()
                    .log(log::Level::Error, &plugin.name, cause.clone());
                cause.lines().next().unwrap_or_default().to_owned()
            }
            StartFailure::VmStart => "proxy_on_vm_start returned false".to_owned(),
            StartFailure::Configure => "refused its configuration".to_owned(),
        };
        StartError {
            plugin: plugin.name.clone(),
            cause,
        }
    }

    /// Makes a failed VM anew if its policy and back-off allow.
    pub(super) fn reload(&mut self, vm: usize, policy: FailurePolicy) {
        let FailurePolicy::FailReload { backoff } = policy else {
            return;
        };
        let now = self.state.borrow().env.clock.elapsed();
        if now.saturating_sub(self.vms[vm].loaded_at) < backoff {
            return;
        }
        self.vms[vm].loaded_at = now;
        let members: Vec<usize> = (0..self.slots.len())
            .filter(|&slot| self.slots[slot].vm == vm)
            .collect();
        let Some(&first) = members.first() else {
            return;
        };
        let plugin = self.slots[first].plugin.clone();
        match self.new_vm(&plugin) {
            Ok(new) => self.vms[vm].vm = Some(new),
            Err(failure) => {
                self.refuse(&plugin, failure);
                return;
            }
        }
        let mut roots: Vec<(Arc<Plugin>, u32)> = Vec::new();
        for slot in members {
            let plugin = self.slots[slot].plugin.clone();
            let twin = roots.iter().find(|(known, _)| {
                known.name == plugin.name
                    && known.root_id == plugin.root_id
                    && known.configuration == plugin.configuration
            });
            let root = match twin {
                Some((_, root)) => *root,
                None => match self.add_root(vm, &plugin) {
                    Ok(root) => root,
                    Err(failure) => {
                        self.refuse(&plugin, failure);
                        self.vms[vm].vm = None;
                        return;
                    }
                },
            };
            roots.push((plugin, root));
            self.slots[slot].root = root;
        }
    }

    /// Buries a VM that trapped. Its generation ends, so that contexts of it are known as lost.
    pub(super) fn trapped(&mut self, vm: usize, plugin: usize, trap: &Trapped) {
        let name = self
            .slots
            .get(plugin)
            .map_or("", |slot| slot.plugin.name.as_str());
        if !trap.0.is_empty() {
            self.state
                .borrow_mut()
                .log(log::Level::Error, name, trap.0.clone());
        }
        if let Some(slot) = self.vms.get_mut(vm) {
            slot.vm = None;
            slot.generation += 1;
        }
        self.pending.retain(|(owner, _)| *owner != vm);
    }
}

/// Plugins with equal keys share a VM.
fn vm_key(plugin: &Plugin) -> u64 {
    let mut hasher = DefaultHasher::new();
    plugin.vm_id.hash(&mut hasher);
    plugin.vm_configuration.hash(&mut hasher);
    plugin.module.digest().hash(&mut hasher);
    plugin.environment.hash(&mut hasher);
    plugin.limits.hash(&mut hasher);
    hasher.finish()
}
