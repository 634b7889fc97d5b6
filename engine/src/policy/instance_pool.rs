//! Warm instances of one policy.

use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::call_clock::{CallClock, CallTimeout};
use super::contract::{ContractVersion, ExportIndices, Exports};
use super::error::{MemoryLimitReached, is_pool_exhausted};
use super::instance_count::{InstanceCounter, InstanceGuard};
use super::instance_group::{GroupGuard, InstanceGroup, is_crowded};
use super::sandbox::{HostState, Sandbox, start_call};
use crate::limits::PolicyLimits;
use crate::settings::Settings;
use crate::util::thread_index::{self, THREADS};

/// Maximum number of idle instances per thread. A worker needs one; a few more serve the threads that take over calls
/// of a slow policy. The sandbox has room for those of the next policy too.
const MAX_IDLE_PER_THREAD: usize = 4;

/// Warm instances of one policy, each used for a bounded number of calls.
///
/// No instance runs two calls at once, and none is used again after a call that failed.
pub(super) struct InstancePool {
    sandbox: Arc<Sandbox>,
    policy: Arc<PolicyPre>,
    settings: Arc<Settings>,
    limits: PolicyLimits,
    group: Arc<InstanceGroup>,
    idle: Arc<IdleInstances>,
}

/// Idle instances of one policy. A thread gets the instance that it used last: its memory is in that processor's cache.
pub(super) struct IdleInstances([Shard; THREADS]);

/// Idle instances of one thread. The alignment keeps each shard on a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Idle>);

#[derive(Default)]
struct Idle {
    instances: Vec<Instance>,
    /// When a thread called the policy last; `None`: no thread has.
    last_used: Option<Instant>,
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A linked component that fits the contract, ready to be instantiated.
pub(super) struct PolicyPre {
    pub(super) component: InstancePre<HostState>,
    pub(super) exports: ExportIndices,
    /// Whether it imports the key rings.
    pub(super) uses_keyrings: bool,
}

struct Instance {
    store: Store<HostState>,
    exports: Exports,
    calls_left: u32,
    /// Whether a call has run on it since the last [`InstancePool::clear_unused`].
    is_used: bool,
    _counted: InstanceGuard,
    _in_group: GroupGuard,
}

/// The instance that a call runs on.
pub(super) type Call<'a> = (&'a Exports, &'a mut Store<HostState>);

impl InstancePool {
    pub(super) fn new(
        sandbox: Arc<Sandbox>,
        policy: Arc<PolicyPre>,
        settings: Arc<Settings>,
        limits: PolicyLimits,
        group: Arc<InstanceGroup>,
    ) -> Self {
        let idle = Arc::new(IdleInstances(std::array::from_fn(|_| Shard::default())));
        sandbox.instance_group().register(&idle);
        if !Arc::ptr_eq(&group, sandbox.instance_group()) {
            group.register(&idle);
        }
        Self { sandbox, policy, settings, limits, group, idle }
    }

    /// An empty pool of the same component, with other settings and limits.
    pub(super) fn with_settings(&self, settings: Arc<Settings>, limits: PolicyLimits) -> Self {
        Self::new(Arc::clone(&self.sandbox), Arc::clone(&self.policy), settings, limits, Arc::clone(&self.group))
    }

    /// The policies that share a bound with this one.
    pub(super) fn group(&self) -> &InstanceGroup {
        &self.group
    }

    /// Limits of each instance.
    pub(super) fn limits(&self) -> PolicyLimits {
        self.limits
    }

    pub(super) fn contract(&self) -> ContractVersion {
        self.policy.exports.contract()
    }

    pub(super) fn has_authorizer(&self) -> bool {
        self.policy.exports.has_authorizer()
    }

    /// The component.
    pub(super) fn policy(&self) -> &PolicyPre {
        &self.policy
    }

    /// Makes one call within `timeout`, on a warm instance if there is one.
    ///
    /// `Ok(Err(_))` is an error that the policy returned. The instance is kept only if the call returned a value.
    pub(super) fn call<T>(
        &self,
        timeout: CallTimeout,
        call: impl FnOnce(Call) -> wasmtime::Result<Result<T, String>>,
    ) -> wasmtime::Result<Result<T, String>> {
        let clock = CallClock::start(timeout);
        let mut instance = match self.checkout().or_else(|| self.take_if_crowded()) {
            Some(instance) => instance,
            None => self.instantiate_in_place(clock)?,
        };
        start_call(&mut instance.store, clock);
        let result = call((&instance.exports, &mut instance.store));
        let result = if result.is_err() && instance.store.data().has_reached_memory_limit() {
            result.map_err(|error| error.context(MemoryLimitReached))
        } else {
            result
        };
        instance.calls_left = instance.calls_left.saturating_sub(1);
        instance.is_used = true;
        if matches!(result, Ok(Ok(_))) && instance.calls_left > 0 {
            self.checkin(instance, clock.started());
        }
        result
    }

    /// An idle instance of another thread, if few more instances fit into the sandbox or the group.
    ///
    /// Each thread has instances of its own while there is room, because an instance that moves between processors is
    /// slower. With about a thousand policies in use there is no room: threads that fill it would evict the only instances
    /// of other policies, and a call on a new instance takes several times as long (docs/PERFORMANCE.md, tenants).
    fn take_if_crowded(&self) -> Option<Instance> {
        let is_full = is_crowded(self.sandbox.instances().alive(), self.sandbox.address_space().max_instances);
        (is_full || self.group.is_crowded()).then(|| self.idle.take()).flatten()
    }

    /// Creates an instance, in place of idle ones if there is no room for it: of the group, then of any policy, then all
    /// of this one.
    fn instantiate_in_place(&self, clock: CallClock) -> wasmtime::Result<Instance> {
        let make_room: [&dyn Fn(); 3] =
            [&|| self.group.evict(), &|| self.sandbox.instance_group().evict(), &|| self.clear()];
        let mut result = self.instantiate(clock);
        for make_room in make_room {
            match &result {
                Err(error) if is_pool_exhausted(error) => make_room(),
                _ => break,
            }
            result = self.instantiate(clock);
        }
        result
    }

    fn instantiate(&self, clock: CallClock) -> wasmtime::Result<Instance> {
        let in_group = self.group.take()?;
        let mut store = self.sandbox.store(Arc::clone(&self.settings), &self.limits, clock);
        start_call(&mut store, clock);
        let instance = self.policy.component.instantiate(&mut store)?;
        let exports = self.policy.exports.load(&mut store, &instance)?;
        let calls_left = self.limits.max_calls_per_instance.get();
        Ok(Instance {
            store,
            exports,
            calls_left,
            is_used: false,
            _counted: InstanceCounter::track(self.sandbox.instances()),
            _in_group: in_group,
        })
    }

    /// Creates an instance for each thread that has called the other policy, while there is room for one.
    ///
    /// # Errors
    /// The component cannot be instantiated.
    pub(super) fn warm_like(&self, other: &Self, timeout: CallTimeout) -> wasmtime::Result<()> {
        if self.limits.max_calls_per_instance == NonZero::<u32>::MIN {
            return Ok(());
        }
        for (shard, other) in self.idle.0.iter().zip(&other.idle.0) {
            let last_used = other.lock().last_used;
            if last_used.is_none() {
                continue;
            }
            match self.instantiate(CallClock::start(timeout)) {
                Ok(instance) => *shard.lock() = Idle { instances: vec![instance], last_used },
                Err(error) if is_pool_exhausted(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Drops the idle instances of this thread. The thread that loads a policy never calls it again.
    pub(super) fn clear_this_thread(&self) {
        if let Some(mut shard) = self.shard() {
            *shard = Idle::default();
        }
    }

    /// Drops the idle instances of all threads.
    pub(super) fn clear(&self) {
        for shard in &self.idle.0 {
            shard.lock().instances.clear();
        }
    }

    /// Drops the idle instances that no call has run on since the last time.
    pub(super) fn clear_unused(&self) {
        for shard in &self.idle.0 {
            shard.lock().instances.retain_mut(|instance| std::mem::take(&mut instance.is_used));
        }
    }

    fn checkout(&self) -> Option<Instance> {
        self.shard()?.instances.pop()
    }

    fn checkin(&self, instance: Instance, now: Instant) {
        if let Some(mut shard) = self.shard() {
            shard.last_used = Some(now);
            if shard.instances.len() < MAX_IDLE_PER_THREAD {
                shard.instances.push(instance);
            }
        }
    }

    /// The shard of this thread. It is locked because threads beyond [`THREADS`] share one.
    fn shard(&self) -> Option<MutexGuard<'_, Idle>> {
        Some(self.idle.0.get(thread_index::current())?.lock())
    }
}

impl IdleInstances {
    /// Takes an instance of any thread.
    fn take(&self) -> Option<Instance> {
        self.0.iter().find_map(|shard| shard.lock().instances.pop())
    }

    /// Shards that hold an instance, with the time at which it was used last.
    pub(super) fn last_used(&self) -> impl Iterator<Item = (usize, Instant)> {
        let last_used = |(index, shard): (usize, &Shard)| {
            let shard = shard.lock();
            (!shard.instances.is_empty()).then_some(shard.last_used).flatten().map(|at| (index, at))
        };
        self.0.iter().enumerate().filter_map(last_used)
    }

    /// Drops the idle instances of a shard.
    pub(super) fn clear_shard(&self, index: usize) {
        if let Some(shard) = self.0.get(index) {
            // Dropped without the lock.
            let _instances = std::mem::take(&mut shard.lock().instances);
        }
    }
}
