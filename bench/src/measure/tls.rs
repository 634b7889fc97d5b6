//! The cost of TLS to the gate, measured with wrk: the benchmark's own load has no TLS client.

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use anyhow::Result;

use crate::load::login::Login;
use crate::measure::external_tools::wrk_rate;
use crate::measure::summary::Summary;
use crate::report::section::{Section, Table};
use crate::targets::{Setup, Target, TargetKind};

/// Measures a gate with TLS and one without, in turn, on persistent connections.
pub(crate) fn section(gate: &Path, rounds: usize, duration: Duration) -> Result<Section> {
    let directory = env::temp_dir().join(format!("mqtt-gate-bench-tls-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let measured = measure(gate, &directory, rounds, duration);
    fs::remove_dir_all(&directory)?;
    let mut table = Table::new(["", "thousand logins per second", "ratio to no TLS", "CPU per login, µs"]);
    let text = match measured? {
        Some([without, with]) => {
            for (name, figures) in [("without TLS", &without), ("with TLS", &with)] {
                let rate = Summary::of(figures.iter().map(|one| one.rate / 1e3));
                let ratio = Summary::of(figures.iter().zip(&without).map(|(one, baseline)| one.rate / baseline.rate));
                let cpu = Summary::of(figures.iter().map(|one| one.cpu));
                table.row([name.to_owned(), format!("{rate:.0}"), format!("{ratio:.2}"), format!("{cpu:.1}")]);
            }
            format!(
                "Measured with wrk: one login in flight on each of 8 persistent connections, {rounds} rounds of a \
                 second."
            )
        }
        None => "Not measured: wrk is not installed. Install it with `apt-get install wrk`.".to_owned(),
    };
    Ok(Section { title: "Cost of TLS", text, tables: vec![table], plots: Vec::new() })
}

/// The figures of one run of wrk.
struct Figures {
    /// Logins per second.
    rate: f64,
    /// Processor time of the gate per login, in microseconds.
    cpu: f64,
}

/// Returns the figures without TLS and with it, or `None` if wrk is not installed.
fn measure(gate: &Path, directory: &Path, rounds: usize, duration: Duration) -> Result<Option<[Vec<Figures>; 2]>> {
    let generated = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    fs::write(&certificate, generated.cert.pem())?;
    fs::write(&key, generated.signing_key.serialize_pem())?;
    let extra_config = format!("tls.certificate = {certificate:?}\ntls.key = {key:?}\n");
    let with_tls = Setup { extra_config, is_tls: true, ..Setup::default() };
    let gates = [
        ("http", Target::start(gate, TargetKind::GateReused, &Setup::default())?),
        ("https", Target::start(gate, TargetKind::GateReused, &with_tls)?),
    ];
    let login = Login::new(1)?;
    let mut figures = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        eprintln!("TLS: round {round} of {rounds}");
        for ((scheme, gate), figures) in gates.iter().zip(&mut figures) {
            let before = gate.cpu_time()?;
            let Some(rate) = wrk_rate(gate, scheme, &login, duration)? else { return Ok(None) };
            let cpu = gate.cpu_time()?.saturating_sub(before);
            // wrk rounds the duration to whole seconds.
            let logins = rate * duration.as_secs().max(1) as f64;
            figures.push(Figures { rate, cpu: cpu.as_secs_f64() * 1e6 / logins });
        }
    }
    Ok(Some(figures))
}
