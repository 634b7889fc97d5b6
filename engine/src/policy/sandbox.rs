//! The sandbox that all policies run in: engine, imports, limits, and the epoch clock that enforces timeouts.

use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, EngineWeak, Store, UpdateDeadline};

use super::call_clock::{CallClock, Tick};
use super::code;
use super::compile_pool::CompilePool;
use super::compiler::{CodeTarget, CompileControl, CompileError, Compiler};
use super::component::Digest;
use super::contract::wasi::clocks::wall_clock::{self, Datetime};
use super::contract::wasi::config::store;
use super::contract::{self, keyring};
use super::engine_config::{AddressSpace, create_engine};
use super::error::{LoadError, Overloaded};
use super::instance_count::InstanceCounter;
use super::instance_group::InstanceGroup;
use super::instance_pool::PolicyPre;
use super::memory_budget::{MemoryBudget, MemoryUse};
use crate::keyring::{KeyRingError, MatchingKey};
use crate::limits::{Limits, PolicyLimits};
use crate::settings::Settings;

/// Interval of the epoch clock, and so the resolution of every timeout.
const EPOCH_INTERVAL: Duration = Duration::from_millis(10);

/// The sandbox that policies run in.
///
/// A policy has no file, no network, no environment and no settings but its own. It cannot use more memory, time or
/// stack than [`Limits`] allow, and cannot return more bytes than they allow.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<HostState>,
    limits: Limits,
    address_space: AddressSpace,
    memory: Arc<MemoryBudget>,
    instances: Arc<InstanceCounter>,
    /// Every policy in this sandbox.
    instance_group: Arc<InstanceGroup>,
    /// Components that policies in use were loaded from.
    linked: Mutex<HashMap<Digest, Weak<PolicyPre>>>,
    compile_pool: CompilePool,
    /// Absent: components are compiled in this process.
    compiler: Option<Box<dyn Compiler>>,
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
        let (engine, address_space) = create_engine(&limits)?;
        let mut linker = Linker::new(&engine);
        wall_clock::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut HostState| state)?;
        store::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut HostState| state)?;
        keyring::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut HostState| state)?;
        let epoch_ticker = EpochTicker::start(engine.weak()).map_err(wasmtime::Error::from)?;
        let compile_pool = CompilePool::new().map_err(wasmtime::Error::from)?;
        Ok(Self {
            engine,
            linker,
            limits,
            address_space,
            memory: Arc::new(MemoryBudget::new(limits.max_total_memory)),
            instances: Arc::default(),
            instance_group: Arc::new(InstanceGroup::new(None)),
            linked: Mutex::default(),
            compile_pool,
            compiler: None,
            _epoch_ticker: epoch_ticker,
        })
    }

    /// Compiles components in another process.
    #[must_use]
    pub fn with_compiler(self, compiler: impl Compiler + 'static) -> Self {
        Self { compiler: Some(Box::new(compiler)), ..self }
    }

    /// Limits of every policy in this sandbox.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Address space that the engine has for instances.
    #[must_use]
    pub fn address_space(&self) -> AddressSpace {
        self.address_space
    }

    /// Memory of the instances of all policies in this sandbox.
    #[must_use]
    pub fn memory_budget(&self) -> Arc<MemoryBudget> {
        Arc::clone(&self.memory)
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
        clock_patch.is_some_and(|patch| patch.parse::<u32>().is_ok())
            || name == "wasi:config/store@0.2.0-rc.1"
            || contract::is_keyring(name)
    }

    /// As [`Self::instance_counter`], without counting a reference.
    pub(super) fn instances(&self) -> &Arc<InstanceCounter> {
        &self.instances
    }

    /// The group of every policy in this sandbox.
    pub(crate) fn instance_group(&self) -> &Arc<InstanceGroup> {
        &self.instance_group
    }

    /// Returns the component with this digest that a policy in use was loaded from, or else that of `link`.
    pub(super) fn linked(
        &self,
        digest: Digest,
        link: impl FnOnce() -> Result<PolicyPre, LoadError>,
    ) -> Result<Arc<PolicyPre>, LoadError> {
        let lock = || self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        let found = lock().get(&digest).and_then(Weak::upgrade);
        match found {
            Some(linked) => Ok(linked),
            None => {
                // Compiling takes long, and a lock would hold up other policies.
                let new = Arc::new(link()?);
                let mut linked = lock();
                linked.retain(|_, policy| policy.strong_count() > 0);
                linked.insert(digest, Arc::downgrade(&new));
                Ok(new)
            }
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn linker(&self) -> &Linker<HostState> {
        &self.linker
    }

    /// Compiles a component in another process, or else on low-priority threads of this one.
    ///
    /// # Errors
    /// The bytes are not a component that this engine supports, or compiling takes too much time or memory.
    pub(super) fn compile(&self, component: &[u8], control: &CompileControl) -> Result<Component, LoadError> {
        if let Some(compiler) = &self.compiler {
            let target = CodeTarget { max_memory: self.limits.max_memory, has_guards: self.address_space.has_guards };
            match compiler.compile(target, component, control) {
                Ok(code) => return code::load(&self.engine, &code).map_err(LoadError::Compile),
                // The check before compiling bounds the component for this process too.
                Err(CompileError::NoProcess(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.compile_pool.run(|| Component::from_binary(&self.engine, component)).map_err(LoadError::Compile)
    }

    /// Creates the store of one instance, with these settings and no others, for calls that [`start_call`] begins.
    pub(super) fn store(&self, settings: Arc<Settings>, limits: &PolicyLimits, clock: CallClock) -> Store<HostState> {
        let memory = MemoryUse::new(Arc::clone(&self.memory), limits.max_memory);
        let mut store = Store::new(&self.engine, HostState { settings, read: SettingsRead::default(), memory, clock });
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_callback(|store| match store.data().clock.tick() {
            Tick::Continue(time) => Ok(UpdateDeadline::Continue(epoch_ticks(time))),
            Tick::Deadline => Ok(UpdateDeadline::Interrupt),
            Tick::Overloaded => Err(Overloaded.into()),
        });
        // Bounds what the host copies out of the guest, which no timeout interrupts.
        store.set_hostcall_fuel(usize::try_from(limits.max_policy_output).unwrap_or(usize::MAX));
        store
    }
}

/// Begins a call with this clock.
pub(super) fn start_call(store: &mut Store<HostState>, clock: CallClock) {
    store.data_mut().clock = clock;
    store.set_epoch_deadline(epoch_ticks(clock.first_tick()));
}

/// Returns the number of epoch ticks after which `time` has certainly passed.
fn epoch_ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(EPOCH_INTERVAL.as_nanos())).unwrap_or(u64::MAX).saturating_add(1)
}

/// State of the host for one instance: all that its imports can see.
pub(crate) struct HostState {
    settings: Arc<Settings>,
    read: SettingsRead,
    memory: MemoryUse,
    clock: CallClock,
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
    /// Whether a memory has reached `limits.max_memory`.
    pub(super) fn has_reached_memory_limit(&self) -> bool {
        self.memory.has_failed_to_grow()
    }

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

impl keyring::Host for HostState {
    fn verify_mac(
        &mut self,
        ring: String,
        key_id: Option<String>,
        algorithm: String,
        message: Vec<u8>,
        mac: Vec<u8>,
    ) -> Result<Option<MatchingKey>, keyring::Error> {
        let rings = self.settings.keyrings();
        rings.verify_mac(&ring, key_id.as_deref(), None, &algorithm, &message, &mac).map_err(Into::into)
    }

    fn verify_derived_mac(
        &mut self,
        ring: String,
        key_id: Option<String>,
        context: Vec<u8>,
        algorithm: String,
        message: Vec<u8>,
        mac: Vec<u8>,
    ) -> Result<Option<MatchingKey>, keyring::Error> {
        let rings = self.settings.keyrings();
        rings.verify_mac(&ring, key_id.as_deref(), Some(&context), &algorithm, &message, &mac).map_err(Into::into)
    }

    fn verify_signature(
        &mut self,
        ring: String,
        key_id: Option<String>,
        algorithm: String,
        message: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<Option<MatchingKey>, keyring::Error> {
        let rings = self.settings.keyrings();
        rings.verify_signature(&ring, key_id.as_deref(), &algorithm, &message, &signature).map_err(Into::into)
    }
}

impl From<KeyRingError> for keyring::Error {
    fn from(error: KeyRingError) -> Self {
        match error {
            KeyRingError::NoSuchRing => Self::NoSuchRing,
            KeyRingError::AlgorithmNotAllowed => Self::AlgorithmNotAllowed,
        }
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
