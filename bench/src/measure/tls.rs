//! What TLS costs the gate, by wrk, which speaks it.

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use anyhow::Result;

use crate::load::login::Login;
use crate::measure::external_tools::by_wrk;
use crate::measure::run::Spread;
use crate::report::section::{Section, Table};
use crate::targets::{Contestant, Kind, Setup};

/// Has wrk ask a gate with TLS and one without in turn, on connections that stay.
pub(crate) fn section(gate: &Path, rounds: usize, long: Duration) -> Result<Section> {
    let directory = env::temp_dir().join(format!("mqtt-gate-bench-tls-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let measured = measure(gate, &directory, rounds, long);
    fs::remove_dir_all(&directory)?;
    let mut table = Table::new(["", "thousand logins a second", "to a gate without", "CPU a login, µs"]);
    let text = match measured? {
        Some([without, with]) => {
            for (name, turns) in [("without TLS", &without), ("with TLS", &with)] {
                let ratio = Spread::of(turns.iter().zip(&without).map(|(one, other)| one.0 / other.0));
                let rate = Spread::of(turns.iter().map(|turn| turn.0 / 1e3));
                let cpu = Spread::of(turns.iter().map(|turn| turn.1));
                table.row([name.to_owned(), format!("{rate:.0}"), format!("{ratio:.2}"), format!("{cpu:.1}")]);
            }
            format!("By wrk, one login on its way on each of 8 connections that stay, {rounds} rounds of a second.")
        }
        None => "wrk is not installed, and the load of the bench speaks no TLS: `apt-get install wrk`.".to_owned(),
    };
    Ok(Section { title: "What TLS costs", text, tables: vec![table], plots: Vec::new() })
}

/// Logins a second, and processor time of one in microseconds.
type Figures = Vec<(f64, f64)>;

fn measure(gate: &Path, directory: &Path, rounds: usize, long: Duration) -> Result<Option<[Figures; 2]>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    fs::write(&certificate, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    let more = format!("tls.certificate = {certificate:?}\ntls.key = {key:?}\n");
    let with = Setup { more, is_tls: true, ..Setup::default() };
    let gates = [
        ("http", Contestant::start(gate, Kind::Reused, &Setup::default())?),
        ("https", Contestant::start(gate, Kind::Reused, &with)?),
    ];
    let login = Login::signed_by_last(1)?;
    let mut figures = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        eprintln!("TLS: round {round} of {rounds}");
        for ((scheme, gate), figures) in gates.iter().zip(&mut figures) {
            let before = gate.cpu_time()?;
            let Some(rate) = by_wrk(gate, scheme, &login, long)? else { return Ok(None) };
            let cpu = gate.cpu_time()?.saturating_sub(before);
            // wrk takes whole seconds.
            let logins = rate * long.as_secs().max(1) as f64;
            figures.push((rate, cpu.as_secs_f64() * 1e6 / logins));
        }
    }
    Ok(Some(figures))
}
