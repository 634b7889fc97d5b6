//! The wasmtime engine: its configuration, and the address space that the machine has for it.

use std::num::NonZero;

use rustix::process::{Resource, getrlimit};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::compiler::CodeTarget;
use super::prescreen::MAX_CORE_INSTANCES;
use crate::limits::Limits;

/// Maximum number of live instances of all policies.
///
/// A pool keeps at most 4 idle instances for each of 64 threads, which is 256. During a swap two pools are full; the
/// other half is for instances at work and for a policy in preflight.
const MAX_INSTANCES: u32 = 1024;

/// Maximum numbers of live instances where there is little address space, the largest that fits is used.
const FEWER_INSTANCES: [u32; 3] = [256, 64, 16];

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

/// Address space of one memory whose bounds the processor checks: 32-bit indices and wasmtime's guard region.
const GUARDED_RESERVATION: u64 = (4 << 30) + (32 << 20);

/// How the engine reserves address space for instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressSpace {
    /// Maximum number of live instances with one memory each.
    pub max_instances: u32,
    /// Whether guard regions check the bounds of memories. Otherwise the code of a policy checks them.
    pub has_guards: bool,
}

/// Creates an engine with as much address space as the machine has for it.
///
/// A 39-bit system (small ARM and RISC-V boards) has less than guard regions for all instances need, and `ulimit -v` may
/// allow less still.
///
/// # Errors
/// Not even a few instances fit.
pub(super) fn create_engine(limits: &Limits) -> wasmtime::Result<(Engine, AddressSpace)> {
    let limit = getrlimit(Resource::As).current;
    let mut result = Err(wasmtime::Error::msg(
        "the limit of virtual memory (ulimit -v) is too small; raise it, or lower limits.max_memory",
    ));
    for space in address_spaces(limits).into_iter().filter(|space| space.fits(limits, limit)) {
        result = Engine::new(&engine_config(limits, space)).map(|engine| (engine, space));
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Address spaces to try, the best first.
fn address_spaces(limits: &Limits) -> Vec<AddressSpace> {
    let guarded =
        (!is_for_fresh_instances(limits)).then_some(AddressSpace { max_instances: MAX_INSTANCES, has_guards: true });
    let checked = [MAX_INSTANCES].into_iter().chain(FEWER_INSTANCES);
    let checked = checked.map(|max_instances| AddressSpace { max_instances, has_guards: false });
    guarded.into_iter().chain(checked).collect()
}

impl AddressSpace {
    /// Whether this takes at most half of the limit. The other half is for threads, code and all other memory.
    fn fits(self, limits: &Limits, limit: Option<u64>) -> bool {
        let reservation = if self.has_guards { GUARDED_RESERVATION } else { limits.max_memory };
        limit.is_none_or(|limit| reservation.saturating_mul(self.max_instances.into()) <= limit / 2)
    }

    /// Whether there is less than the engine would like to have.
    #[must_use]
    pub fn is_reduced(self, limits: &Limits) -> bool {
        address_spaces(limits).first() != Some(&self)
    }
}

fn is_for_fresh_instances(limits: &Limits) -> bool {
    limits.max_calls_per_instance == NonZero::<u32>::MIN
}

/// Configures the engine for short-lived or for reused instances (docs/ARCHITECTURE.md, "Two engines").
fn engine_config(limits: &Limits, space: AddressSpace) -> Config {
    let instances = space.max_instances;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(CORE_INSTANCES_PER_COMPONENT * instances)
        .total_memories(instances)
        .total_tables(TABLES_PER_COMPONENT * instances)
        .max_core_instances_per_component(MAX_CORE_INSTANCES as u32)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_memory_size(usize::try_from(limits.max_memory).unwrap_or(usize::MAX))
        .max_unused_warm_slots(instances);
    let mut config = compile_config(CodeTarget { max_memory: limits.max_memory, has_guards: space.has_guards });
    if is_for_fresh_instances(limits) {
        pool.pagemap_scan(Enabled::Auto).linear_memory_keep_resident(2 << 20).table_keep_resident(64 << 10);
    }
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// The part of the configuration that code depends on.
pub(super) fn compile_config(target: CodeTarget) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false).max_wasm_stack(MAX_WASM_STACK);
    if !target.has_guards {
        config
            .signals_based_traps(false)
            .memory_guard_size(0)
            .memory_reservation(target.max_memory)
            .guard_before_linear_memory(false);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(limits: &Limits, limit: Option<u64>) -> Option<(u32, bool)> {
        let space = address_spaces(limits).into_iter().find(|space| space.fits(limits, limit))?;
        Some((space.max_instances, space.has_guards))
    }

    #[test]
    fn the_address_space_follows_the_limit_of_virtual_memory() {
        let reused = Limits::default();
        for (limit_gib, expected) in [
            (None, Some((1024, true))),
            (Some(16_384), Some((1024, true))),
            (Some(500), Some((1024, false))),
            (Some(16), Some((256, false))),
            (Some(2), Some((64, false))),
            (Some(1), Some((16, false))),
        ] {
            assert_eq!(chosen(&reused, limit_gib.map(|gib: u64| gib << 30)), expected, "{limit_gib:?}");
        }
        assert_eq!(chosen(&reused, Some(100 << 20)), None);
        let fresh = Limits { max_calls_per_instance: NonZero::<u32>::MIN, ..reused };
        assert_eq!(chosen(&fresh, None), Some((1024, false)));
    }

    #[test]
    fn small_pools_work() {
        let limits = Limits::default();
        for space in address_spaces(&limits) {
            Engine::new(&engine_config(&limits, space)).unwrap();
        }
    }
}
