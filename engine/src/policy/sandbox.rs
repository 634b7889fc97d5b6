//! What is true of every policy: the engine, the two imports, the limits and the clock that enforces the deadline.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use crate::policy::instance_count::Census;
use crate::policy::compile_pool::Compilers;
use crate::limits::Limits;
use crate::settings::Settings;

#[allow(missing_docs, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated from wit/")]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "access-policy" });
}

use bindings::wasi::clocks::wall_clock::{self, Datetime};
use bindings::wasi::config::store;

/// How often the epoch advances: the step in which the deadline is kept.
const TICK: Duration = Duration::from_millis(10);

/// Instances that can be alive at once, of the policy in service, of the one before it and of a candidate.
const INSTANCES: u32 = 1024;

/// Stack of the host's that a guest may use.
const STACK: usize = 512 << 10;

/// The place where policies run.
///
/// A policy has no file, no network, no environment and no settings but its own. It cannot take more memory, time or
/// stack than the limits say, and cannot hand the host more than they say.
pub struct Sandbox {
    pub(crate) engine: Engine,
    pub census: Arc<Census>,
    compilers: Compilers,
    pub(crate) linker: Linker<Guest>,
    pub limits: Limits,
    _ticker: Ticker,
}

/// The sandbox cannot be set up on this machine.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the sandbox")]
pub struct SandboxError(#[from] wasmtime::Error);

impl Sandbox {
    /// Sets up the engine and starts the clock of the deadline.
    ///
    /// # Errors
    /// The machine cannot reserve the memory, or start a thread.
    pub fn new(limits: Limits) -> Result<Self, SandboxError> {
        let engine = Engine::new(&engine_config(&limits))?;
        let mut linker = Linker::new(&engine);
        wall_clock::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest: &mut Guest| guest)?;
        store::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest: &mut Guest| guest)?;
        let ticker = Ticker::start(engine.weak()).map_err(wasmtime::Error::from)?;
        let compilers = Compilers::new().map_err(wasmtime::Error::from)?;
        Ok(Self { engine, census: Arc::default(), compilers, linker, limits, _ticker: ticker })
    }

    /// Compiles a component, while whoever logs in comes first.
    ///
    /// # Errors
    /// It is none, or one that this engine does not run.
    pub(crate) fn compile(&self, component: &[u8]) -> wasmtime::Result<Component> {
        self.compilers.run(|| Component::from_binary(&self.engine, component))
    }

    /// Whether policies may import this. Everything else is a reason to refuse one.
    ///
    /// A stable interface serves every guest of the same minor version; one before its release, that version alone.
    #[must_use]
    pub fn offers(import: &str) -> bool {
        let clock = import.strip_prefix("wasi:clocks/wall-clock@0.2.");
        clock.is_some_and(|patch| patch.parse::<u32>().is_ok()) || import == "wasi:config/store@0.2.0-rc.1"
    }

    /// A place for one instance, with these settings and no others.
    pub(crate) fn store(&self, settings: Arc<Settings>) -> Store<Guest> {
        let mut store = Store::new(&self.engine, Guest { settings, asked: Asked::default() });
        store.epoch_deadline_trap();
        // Bounds what the host copies out of the guest, which no deadline interrupts.
        store.set_hostcall_fuel(usize::try_from(self.limits.max_policy_output).unwrap_or(usize::MAX));
        store
    }
}

/// The engine's configuration follows from how long instances live (see docs/ARCHITECTURE.md, "Two engines").
fn engine_config(limits: &Limits) -> Config {
    let memory = usize::try_from(limits.max_memory).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(4 * INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(2 * INSTANCES)
        .max_memory_size(memory)
        .max_unused_warm_slots(INSTANCES);
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false).max_wasm_stack(STACK);
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

/// The number of ticks after which `time` has certainly passed.
pub(crate) fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX).saturating_add(1)
}

/// What the host keeps for one instance, and what its imports can see.
pub(crate) struct Guest {
    settings: Arc<Settings>,
    asked: Asked,
}

/// The settings that a policy has asked for.
#[derive(Default)]
enum Asked {
    #[default]
    None,
    Named(BTreeSet<String>),
    All,
}

impl Guest {
    /// The names of the settings that it has asked for.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        match &self.asked {
            Asked::None => BTreeSet::new(),
            Asked::Named(names) => names.clone(),
            Asked::All => self.settings.names().map(str::to_owned).collect(),
        }
    }
}

impl wall_clock::Host for Guest {
    fn now(&mut self) -> Datetime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Datetime { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() }
    }

    fn resolution(&mut self) -> Datetime {
        Datetime { seconds: 0, nanoseconds: 1 }
    }
}

impl store::Host for Guest {
    fn get(&mut self, name: String) -> Result<Option<String>, store::Error> {
        let value = self.settings.get(&name).map(str::to_owned);
        // Only names that exist: a guest could make up others without end.
        if value.is_some() {
            match &mut self.asked {
                Asked::Named(names) => drop(names.insert(name)),
                asked @ Asked::None => *asked = Asked::Named(BTreeSet::from([name])),
                Asked::All => {}
            }
        }
        Ok(value)
    }

    fn get_all(&mut self) -> Result<Vec<(String, String)>, store::Error> {
        self.asked = Asked::All;
        Ok(self.settings.all().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// Advances the engine's epoch, until it is dropped.
struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let tick = move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
            }
        };
        let thread = thread::Builder::new().name("epoch".into()).spawn(tick)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
