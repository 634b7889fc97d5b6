//! The sandbox that all policies run in: engine, imports, limits, and the epoch clock that enforces timeouts.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use super::compile_pool::CompilePool;
use super::instance_count::InstanceCounter;
use super::prescreen::MAX_CORE_INSTANCES;
use crate::limits::Limits;
use crate::settings::Settings;

#[allow(missing_docs, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated from wit/")]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "access-policy" });
}

use bindings::wasi::clocks::wall_clock::{self, Datetime};
use bindings::wasi::config::store;

/// Interval of the epoch clock, and so the resolution of every timeout.
const EPOCH_INTERVAL: Duration = Duration::from_millis(10);

/// Maximum number of live instances of all policies.
///
/// A pool keeps at most 4 idle instances for each of 64 threads, which is 256. During a swap two pools are full; the
/// other half is for instances at work and for a policy in preflight.
const MAX_INSTANCES: u32 = 1024;

/// Core instances of an ordinary component. `wit-component` makes up to four: the module, its adapter, a shim and a
/// fix-up.
const CORE_INSTANCES_PER_COMPONENT: u32 = 4;

/// Tables of an ordinary component: one of the module, one of the shim.
const TABLES_PER_COMPONENT: u32 = 2;

/// Memories that a component may have. A composition of policies has one for each. With this many, the pool still has
/// 256 instances.
const MAX_MEMORIES: u32 = 4;

/// Tables that a component may have.
const MAX_TABLES: u32 = 2 * MAX_MEMORIES;

/// Stack of the calling thread that a policy may use, in bytes. A quarter of a thread's 2 MiB, so that recursion in a
/// policy traps and leaves room for the host.
const MAX_WASM_STACK: usize = 512 << 10;

/// The sandbox that policies run in.
///
/// A policy has no file, no network, no environment and no settings but its own. It cannot use more memory, time or
/// stack than [`Limits`] allow, and cannot return more bytes than they allow.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<HostState>,
    limits: Limits,
    instances: Arc<InstanceCounter>,
    compile_pool: CompilePool,
    _epoch_ticker: EpochTicker,
}

/// The sandbox cannot be set up on this machine.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the sandbox")]
pub struct SandboxError(#[from] wasmtime::Error);

impl Sandbox {
    /// Sets up the engine and starts the epoch clock.
    ///
    /// # Errors
    /// The machine cannot reserve the memory, or refuses a thread.
    pub fn new(limits: Limits) -> Result<Self, SandboxError> {
        let engine = Engine::new(&engine_config(&limits))?;
        let mut linker = Linker::new(&engine);
        wall_clock::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut HostState| state)?;
        store::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut HostState| state)?;
        let epoch_ticker = EpochTicker::start(engine.weak()).map_err(wasmtime::Error::from)?;
        let compile_pool = CompilePool::new().map_err(wasmtime::Error::from)?;
        Ok(Self { engine, linker, limits, instances: Arc::default(), compile_pool, _epoch_ticker: epoch_ticker })
    }

    /// Limits of every policy in this sandbox.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counter of the instances of all policies in this sandbox.
    #[must_use]
    pub fn instance_counter(&self) -> Arc<InstanceCounter> {
        Arc::clone(&self.instances)
    }

    /// Whether a policy may import this interface. Any other import is a reason to reject the policy.
    ///
    /// A stable interface serves every policy of the same minor version, a release candidate only its own version.
    #[must_use]
    pub fn is_allowed_import(name: &str) -> bool {
        let clock_patch = name.strip_prefix("wasi:clocks/wall-clock@0.2.");
        clock_patch.is_some_and(|patch| patch.parse::<u32>().is_ok()) || name == "wasi:config/store@0.2.0-rc.1"
    }

    /// As [`Self::instance_counter`], without counting a reference.
    pub(super) fn instances(&self) -> &Arc<InstanceCounter> {
        &self.instances
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn linker(&self) -> &Linker<HostState> {
        &self.linker
    }

    /// Compiles a component on low-priority threads.
    ///
    /// # Errors
    /// The bytes are not a component, or not one that this engine supports.
    pub(super) fn compile(&self, component: &[u8]) -> wasmtime::Result<Component> {
        self.compile_pool.run(|| Component::from_binary(&self.engine, component))
    }

    /// Creates the store of one instance, with these settings and no others.
    pub(super) fn store(&self, settings: Arc<Settings>) -> Store<HostState> {
        let mut store = Store::new(&self.engine, HostState { settings, read: SettingsRead::default() });
        store.epoch_deadline_trap();
        // Bounds what the host copies out of the guest, which no timeout interrupts.
        store.set_hostcall_fuel(usize::try_from(self.limits.max_policy_output).unwrap_or(usize::MAX));
        store
    }
}

/// Configures the engine for short-lived or for reused instances (docs/ARCHITECTURE.md, "Two engines").
fn engine_config(limits: &Limits) -> Config {
    let memory = usize::try_from(limits.max_memory).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(MAX_INSTANCES)
        .total_core_instances(CORE_INSTANCES_PER_COMPONENT * MAX_INSTANCES)
        .total_memories(MAX_INSTANCES)
        .total_tables(TABLES_PER_COMPONENT * MAX_INSTANCES)
        .max_core_instances_per_component(MAX_CORE_INSTANCES as u32)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_memory_size(memory)
        .max_unused_warm_slots(MAX_INSTANCES);
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false).max_wasm_stack(MAX_WASM_STACK);
    if limits.max_calls_per_instance == NonZero::<u32>::MIN {
        pool.pagemap_scan(Enabled::Auto).linear_memory_keep_resident(2 << 20).table_keep_resident(64 << 10);
        config
            .signals_based_traps(false)
            .memory_guard_size(0)
            .memory_reservation(limits.max_memory)
            .guard_before_linear_memory(false);
    }
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Returns the number of epoch ticks after which `time` has certainly passed.
pub(super) fn epoch_ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(EPOCH_INTERVAL.as_nanos())).unwrap_or(u64::MAX).saturating_add(1)
}

/// State of the host for one instance: all that its imports can see.
pub(crate) struct HostState {
    settings: Arc<Settings>,
    read: SettingsRead,
}

/// Settings that a policy has read.
#[derive(Default)]
enum SettingsRead {
    #[default]
    None,
    Named(BTreeSet<String>),
    All,
}

impl HostState {
    /// Names of the settings that the policy has read.
    pub(super) fn settings_read(&self) -> BTreeSet<String> {
        match &self.read {
            SettingsRead::None => BTreeSet::new(),
            SettingsRead::Named(names) => names.clone(),
            SettingsRead::All => self.settings.names().map(str::to_owned).collect(),
        }
    }
}

impl wall_clock::Host for HostState {
    fn now(&mut self) -> Datetime {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Datetime { seconds: since_epoch.as_secs(), nanoseconds: since_epoch.subsec_nanos() }
    }

    fn resolution(&mut self) -> Datetime {
        Datetime { seconds: 0, nanoseconds: 1 }
    }
}

impl store::Host for HostState {
    fn get(&mut self, name: String) -> Result<Option<String>, store::Error> {
        let value = self.settings.get(&name).map(str::to_owned);
        // Only names that exist are remembered: a policy could invent others without end.
        if value.is_some() {
            match &mut self.read {
                SettingsRead::Named(names) => drop(names.insert(name)),
                read @ SettingsRead::None => *read = SettingsRead::Named(BTreeSet::from([name])),
                SettingsRead::All => {}
            }
        }
        Ok(value)
    }

    fn get_all(&mut self) -> Result<Vec<(String, String)>, store::Error> {
        self.read = SettingsRead::All;
        Ok(self.settings.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// Thread that advances the engine's epoch. It stops when this is dropped.
struct EpochTicker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EpochTicker {
    fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let tick = move || {
            while stopped.recv_timeout(EPOCH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
            }
        };
        let thread = thread::Builder::new().name("epoch".into()).spawn(tick)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_round_up_to_whole_ticks() {
        for (millis, ticks) in [(0, 1), (1, 2), (10, 2), (11, 3), (200, 21)] {
            assert_eq!(epoch_ticks(Duration::from_millis(millis)), ticks);
        }
        assert_eq!(epoch_ticks(Duration::MAX), u64::MAX);
    }

    #[test]
    fn allows_the_clock_and_settings_only() {
        for allowed in ["wasi:clocks/wall-clock@0.2.0", "wasi:clocks/wall-clock@0.2.6", "wasi:config/store@0.2.0-rc.1"]
        {
            assert!(Sandbox::is_allowed_import(allowed), "{allowed}");
        }
        for denied in [
            "wasi:clocks/wall-clock@0.2.",
            "wasi:clocks/wall-clock@0.3.0",
            "wasi:clocks/wall-clock@0.2.0-rc.1",
            "wasi:config/store@0.2.0",
            "wasi:sockets/tcp@0.2.0",
            "",
        ] {
            assert!(!Sandbox::is_allowed_import(denied), "{denied}");
        }
    }
}
