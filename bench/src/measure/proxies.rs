//! The default policy in proxies, relative to the gate. Proxies that are not installed are left out.

use std::path::Path;
use std::time::Duration;
use std::{env, fs, iter};

use anyhow::{Context, Result};

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::mqtt_connections;
use crate::measure::run::Run;
use crate::measure::summary::Summary;
use crate::report::section::{Section, Table};
use crate::targets::proxy::ProxyFiles;
use crate::targets::{Setup, Target, TargetKind};

/// Measures each proxy in turn, with one and with sixteen logins in flight per connection.
pub(crate) fn section(gate: &Path, component: &Path, rounds: usize, duration: Duration) -> Result<Section> {
    let temp_directory = env::temp_dir().join(format!("mqtt-gate-bench-proxies-{}", std::process::id()));
    fs::create_dir_all(&temp_directory)?;
    let target_directory =
        component.parent().and_then(Path::parent).context("the component must be in target/components")?;
    let files = ProxyFiles { gate, component, target_directory, temp_directory: &temp_directory };
    let section = measure(&files, rounds, duration);
    fs::remove_dir_all(&temp_directory)?;
    section
}

fn measure(files: &ProxyFiles, rounds: usize, duration: Duration) -> Result<Section> {
    let gate = Target::start(files.gate, TargetKind::GateReused, &Setup::default())?;
    let broker = mqtt_connections::start_broker()?;
    let (envoy, mqtt_filter) = files.envoy(broker)?.unzip();
    let proxies = [("wasmtime", files.wasmtime()?), ("Envoy, HTTP", envoy), ("jco on Node", files.jco()?)];
    let installed = proxies.iter().filter_map(|(name, proxy)| Some((*name, &proxy.as_ref()?.target)));
    let hosts: Vec<(&str, &Target)> = iter::once(("the gate", &gate)).chain(installed).collect();
    let login = Login::new(1)?;
    // The runs of each host: one login at a time, and pipelined.
    let mut runs = vec![[Vec::new(), Vec::new()]; hosts.len()];
    for round in 1..=rounds {
        eprintln!("proxies: round {round} of {rounds}");
        for ((_, target), by_depth) in hosts.iter().zip(&mut runs) {
            for (depth, runs) in [1, 16].into_iter().zip(by_depth) {
                let load = Load { login: &login, connections: 8, pace: Pace::Depth(depth) };
                runs.push(Run::measure(target, &load, duration)?);
            }
        }
    }
    let mut table = Table::new([
        "host",
        "thousand logins per second, one at a time",
        "ratio to the gate",
        "16 pipelined",
        "ratio to the gate",
    ]);
    let baseline = runs.first().context("the gate was not measured")?;
    for ((name, _), by_depth) in hosts.iter().zip(&runs) {
        let mut cells = vec![(*name).to_owned()];
        for (runs, baseline) in by_depth.iter().zip(baseline) {
            cells.push(format!("{:.1}", Summary::of_runs(runs, |run| run.rate / 1e3)));
            cells.push(format!("{:.2}", Summary::of_ratios(runs, baseline, |run| run.rate)));
        }
        table.row(cells);
    }
    for (name, _) in proxies.iter().filter(|(_, proxy)| proxy.is_none()) {
        table.row([name, "not installed: run `make test`", "", "", ""]);
    }
    let mut tables = vec![table];
    if let Some(filter) = mqtt_filter {
        tables.push(mqtt_connections::table(broker, filter, rounds)?);
    }
    let text = format!(
        "The default policy in other hosts, on 8 connections; {rounds} rounds of {} s.\n\n\
         - **wasmtime** creates an instance for each login, with the library of `wasmtime serve`.\n\
         - **jco** has its default settings, with which it handles one request at a time.\n\
         - **Envoy** has the policy linked into the filter, and one worker thread per processor.\n\n\
         The last table measures Envoy's MQTT filter in front of a broker that only accepts connections. Eight \
         clients connect, send a CONNECT and wait for the CONNACK, again and again.",
        duration.as_secs_f64()
    );
    Ok(Section { title: "In proxies", text, tables, plots: Vec::new() })
}
