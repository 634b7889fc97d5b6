//! The instances of one policy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::policy::instance_count::{Census, Counted};
use crate::policy::sandbox::bindings::exports::mqtt_gate::auth::{authenticator, authorizer};
use crate::policy::sandbox::{Guest, Sandbox, ticks};
use crate::settings::Settings;
use crate::util::thread_index::{self, THREADS};

/// So many instances are kept warm on a shelf. There is room for those of the next policy beside them.
const MOST_IDLE: usize = 4;

/// The warm instances of one policy, each good for a bounded number of calls.
///
/// No instance serves two calls at once, and none serves another after one that failed.
pub(crate) struct Instances {
    sandbox: Arc<Sandbox>,
    template: Template,
    settings: Arc<Settings>,
    /// A thread goes back to the instance that it used last: its memory is in that processor's cache.
    idle: [Shelf; THREADS],
}

/// On a cache line of its own, so that no thread waits for what another one writes beside it.
#[derive(Default)]
#[repr(align(128))]
struct Shelf(Mutex<Vec<Instance>>);

/// What instances are made from: a component that fits the contract.
pub(crate) struct Template {
    pub(crate) component: InstancePre<Guest>,
    pub(crate) authenticator: authenticator::GuestIndices,
    /// If it answers for single actions.
    pub(crate) authorizer: Option<authorizer::GuestIndices>,
}

/// What an instance can be asked.
pub(crate) struct Exports {
    pub(crate) authenticator: authenticator::Guest,
    pub(crate) authorizer: Option<authorizer::Guest>,
}

impl Exports {
    /// Asks about one action. What cannot be asked leaves it to the broker.
    pub(crate) fn authorize(
        &self,
        store: &mut Store<Guest>,
        request: &authorizer::Request,
    ) -> wasmtime::Result<Result<authorizer::Permission, String>> {
        match &self.authorizer {
            Some(authorizer) => authorizer.call_authorize(store, request),
            None => Ok(Ok(authorizer::Permission::Ignore)),
        }
    }
}

struct Instance {
    store: Store<Guest>,
    exports: Exports,
    calls_left: u32,
    _counted: Counted,
}

/// What a call can do with an instance.
pub(crate) type Call<'a> = (&'a Exports, &'a mut Store<Guest>);

impl Instances {
    pub(crate) fn new(sandbox: Arc<Sandbox>, template: Template, settings: Arc<Settings>) -> Self {
        Self { sandbox, template, settings, idle: std::array::from_fn(|_| Shelf::default()) }
    }

    /// Whether there is one to ask about single actions.
    pub(crate) fn can_authorize(&self) -> bool {
        self.template.authorizer.is_some()
    }

    /// Makes one call, on a warm instance if there is one. `Ok(Err(_))` is the policy's own word that it has no verdict.
    ///
    /// The instance is kept for the next call only if this one gave a value.
    pub(crate) fn call<T>(
        &self,
        deadline: Duration,
        call: impl FnOnce(Call) -> wasmtime::Result<Result<T, String>>,
    ) -> wasmtime::Result<Result<T, String>> {
        let ticks = ticks(deadline);
        let mut instance = match self.take() {
            Some(instance) => instance,
            None => self.make(ticks)?,
        };
        instance.store.set_epoch_deadline(ticks);
        let answer = call((&instance.exports, &mut instance.store));
        instance.calls_left = instance.calls_left.saturating_sub(1);
        if matches!(answer, Ok(Ok(_))) && instance.calls_left > 0 {
            self.give_back(instance);
        }
        answer
    }

    fn make(&self, ticks: u64) -> wasmtime::Result<Instance> {
        let mut store = self.sandbox.store(Arc::clone(&self.settings));
        store.set_epoch_deadline(ticks);
        let instance = self.template.component.instantiate(&mut store)?;
        let exports = Exports {
            authenticator: self.template.authenticator.load(&mut store, &instance)?,
            authorizer: self.template.authorizer.as_ref().map(|it| it.load(&mut store, &instance)).transpose()?,
        };
        let calls_left = self.sandbox.limits.max_calls_per_instance.get();
        Ok(Instance { store, exports, calls_left, _counted: Census::one_more(&self.sandbox.census) })
    }

    fn take(&self) -> Option<Instance> {
        self.shelf()?.pop()
    }

    fn give_back(&self, instance: Instance) {
        if let Some(mut shelf) = self.shelf()
            && shelf.len() < MOST_IDLE
        {
            shelf.push(instance);
        }
    }

    /// The shelf of this thread.
    fn shelf(&self) -> Option<MutexGuard<'_, Vec<Instance>>> {
        let shelf = self.idle.get(thread_index::place())?;
        Some(shelf.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
