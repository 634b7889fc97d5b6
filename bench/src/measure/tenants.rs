//! The cost of tenants: logins per second spread over them, start, memory, and the size of the pages for operators.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::load::login::{Login, numbered_key, tenant_name};
use crate::measure::comparison::RELEASE_WAIT;
use crate::measure::summary::Summary;
use crate::measure::variants::{self, CONNECTIONS, Variant};
use crate::report::section::{Section, Table};
use crate::targets::{Setup, Target, TargetKind};

/// How often each gate is started.
const STARTS: usize = 5;

/// Measures gates without tenants, with one and with many.
pub(crate) fn section(gate: &Path, rounds: usize, duration: Duration) -> Result<Section> {
    let setups = [("none", 0), ("1", 1), ("100", 100), ("1,000", 1000)];
    let mut gates = Vec::new();
    for (name, count) in setups {
        let login = if count == 0 { Login::new(1)? } else { Login::of_tenants(count)? };
        gates.push(Variant::start(gate, TargetKind::GateReused, name, config(count), login)?);
    }
    let idle = gates.iter().map(|gate| gate.target.memory()).collect::<Result<Vec<_>>>()?;
    variants::measure("tenants", &mut gates, rounds, duration)?;
    let rates = variants::table("tenants", &gates);
    let pages = gates.iter().map(|gate| page_sizes(&gate.target)).collect::<Result<Vec<_>>>()?;
    thread::sleep(RELEASE_WAIT);
    let mut sizes = Table::new([
        "tenants",
        "process start to first response, ms",
        "memory before, MiB",
        "peak, MiB",
        "after, MiB",
        "`/status`, bytes",
        "`/metrics`, bytes",
    ]);
    for (((variant, (name, count)), idle), [status, metrics]) in gates.iter().zip(setups).zip(idle).zip(pages) {
        eprintln!("tenants: starting a gate with {name}");
        let memory = [idle, variant.target.peak_memory()?, variant.target.memory()?];
        let mut cells = vec![name.to_owned(), format!("{:.0}", startup_time(gate, count)?)];
        cells.extend(memory.map(|bytes| (bytes >> 20).to_string()));
        cells.extend([status, metrics].map(|bytes| bytes.to_string()));
        sizes.row(cells);
    }
    let text = format!(
        "{CONNECTIONS} connections; {rounds} rounds with one run of {} s per gate, in turn. Each tenant has the \
         default policy with a key of its own, so all of them share the compiled component. Each login is at a tenant \
         that is drawn at random, with the same chance for each. Without tenants, the logins are at the gate itself.\n\n\
         Each policy has an instance for each worker while there is room. A gate has at most 1,024 instances. When three \
         quarters of them are in use, a worker takes over an idle instance of another worker.\n\n\
         The start is the median of {STARTS}. The pages have their sizes right after the load.",
        duration.as_secs_f64()
    );
    Ok(Section { title: "Tenants", text, tables: vec![rates, sizes], plots: Vec::new() })
}

/// Returns the tables of the tenants 1 to `count`.
fn config(count: usize) -> String {
    let mut config = String::new();
    for number in 1..=count {
        let (name, key) = (tenant_name(number), numbered_key(number));
        let _ = write!(config, "[tenant.{name}.policy.settings]\nsignature-keys = {key:?}\n");
    }
    config
}

/// Returns the bytes of `/status` and of `/metrics`.
fn page_sizes(target: &Target) -> Result<[usize; 2]> {
    Ok([target.admin_page("/status")?.len(), target.admin_page("/metrics")?.len()])
}

/// Measures the time from process start to the first response, in milliseconds.
fn startup_time(gate: &Path, tenants: usize) -> Result<Summary> {
    let setup = Setup { extra_config: config(tenants), ..Setup::default() };
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let target = Target::start(gate, TargetKind::GateReused, &setup)?;
        times.push(target.startup_time.as_secs_f64() * 1e3);
    }
    Ok(Summary::of(times))
}
