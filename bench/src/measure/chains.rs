//! The cost of a chain: of each policy in front of the default policy, of `when`, and of a long list of revoked clients.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::load::login::Login;
use crate::measure::variants::{self, CONNECTIONS, Variant};
use crate::report::section::{Section, Table};
use crate::targets::TargetKind::{self, GateFresh, GateReused};

/// A list of each kind of entry. The benchmark's client is not on it.
const SHORT_LIST: &str = "GID_other@@@00_11_22_33_44_55@@@1\ngroup:GID_retired\nmac:00_11_22\n";

/// The number of client ids on the long list.
const LONG_LIST: usize = 10_000;

/// A condition that the benchmark's client does not meet.
const OTHER_GROUP: &str = "when = { group = \"GID_other\" }\n";

/// Measures chains of one, two and four policies, then lists of revoked clients.
pub(crate) fn section(gate: &Path, rounds: usize, duration: Duration) -> Result<Section> {
    let chains = [("1 policy", 0, ""), ("2 policies", 1, ""), ("4 policies", 3, "")];
    let skipping =
        [("2 policies, 1 skipped by `when`", 1, OTHER_GROUP), ("4 policies, 3 skipped by `when`", 3, OTHER_GROUP)];
    let mut by_length = Vec::new();
    for (name, revoked, when) in chains.into_iter().chain(skipping) {
        by_length.push(start(gate, GateReused, name, &chain(revoked, when, SHORT_LIST))?);
    }
    variants::measure("chains", &mut by_length, rounds, duration)?;
    let by_length = variants::table("chain", &by_length);
    let lists = measure_lists(gate, rounds, duration)?;
    let text = format!(
        "{CONNECTIONS} connections; {rounds} rounds with one run of {} s per configuration, in turn.\n\n\
         The first table has chains of policies ([CHAIN.md](CHAIN.md)). The last policy is the default one, which \
         allows the login. In front of it is the embedded policy `revoked` with a list of 3 entries, once or three \
         times. It ignores the login, so each policy is called. With `when`, each of them has a condition that the \
         client does not meet, and is not called.\n\n\
         The second table has chains of two policies and different lists of `revoked`. The policy parses its list \
         once per instance. Fresh instances do so at each login (`limits.max_calls_per_instance = 1`). Memory is \
         the peak of the gate.",
        duration.as_secs_f64()
    );
    Ok(Section { title: "Chains of policies", text, tables: vec![by_length, lists.0, lists.1], plots: Vec::new() })
}

/// Returns the table of rates and the table of memory.
fn measure_lists(gate: &Path, rounds: usize, duration: Duration) -> Result<(Table, Table)> {
    let long_list = long_list();
    let lists = [("3 entries", SHORT_LIST), ("10,000 client ids", long_list.as_str())];
    let mut gates = Vec::new();
    for (kind, instances) in [(GateReused, "reused"), (GateFresh, "fresh")] {
        for (list, entries) in lists {
            gates.push(start(gate, kind, &format!("{list}, {instances} instances"), &chain(1, "", entries))?);
        }
    }
    variants::measure("lists of revoked clients", &mut gates, rounds, duration)?;
    let mut memory = Table::new(["list of `revoked`", "peak memory, MiB"]);
    for gate in &gates {
        memory.row([gate.name.clone(), (gate.target.peak_memory()? >> 20).to_string()]);
    }
    Ok((variants::table("list of `revoked`", &gates), memory))
}

fn start(gate: &Path, kind: TargetKind, name: &str, config: &str) -> Result<Variant> {
    Variant::start(gate, kind, name, config.to_owned(), Login::new(1)?)
}

/// Returns the configuration of a chain: the policy `revoked` so many times, each with `when`, then the default policy.
fn chain(revoked: usize, when: &str, list: &str) -> String {
    let mut config = String::new();
    for number in 1..=revoked {
        let _ = write!(
            config,
            "[[policy]]\nname = \"revoked-{number}\"\nbuiltin = \"revoked\"\nsettings.revoked = {list:?}\n{when}"
        );
    }
    config + "[[policy]]\nname = \"signed\"\n"
}

/// Returns ids of [`LONG_LIST`] other clients.
fn long_list() -> String {
    let mut list = String::new();
    for number in 0..LONG_LIST {
        let _ = writeln!(list, "GID_other@@@00_11_22_33_{:02X}_{:02X}@@@{number}", number >> 8, number & 0xFF);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_list_has_a_line_per_client() {
        let list = long_list();
        assert_eq!(list.lines().count(), LONG_LIST);
        assert!(list.ends_with("GID_other@@@00_11_22_33_27_0F@@@9999\n"), "{list}");
    }
}
