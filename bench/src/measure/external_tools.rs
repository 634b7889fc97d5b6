//! The same rates measured by wrk and oha. A different result would be an error in the benchmark's own load.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::run::Run;
use crate::measure::summary::Summary;
use crate::report::section::{Section, Table};
use crate::targets::{Setup, Target, TargetKind};

/// The runs of each tool against each target.
const RUNS: usize = 3;

/// Measures each target with each tool, one login at a time on eight connections.
pub(crate) fn section(gate: &Path, duration: Duration) -> Result<Section> {
    let login = Login::new(1)?;
    let load = Load { login: &login, connections: 8, pace: Pace::Depth(1) };
    let mut table = Table::new(["target", "the benchmark's own load", "wrk", "oha"]);
    for kind in TargetKind::WITH_POLICY {
        eprintln!("external tools: {}", kind.name());
        let target = Target::start(gate, kind, &Setup::default())?;
        let (mut own, mut wrk, mut oha) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            own.push(Run::measure(&target, &load, duration)?.rate);
            wrk.extend(wrk_rate(&target, "http", &login, duration)?);
            oha.extend(oha_rate(&target, &login, duration)?);
        }
        let cell = |rates: Vec<f64>| {
            if rates.is_empty() {
                "not installed".to_owned()
            } else {
                format!("{:.0}", Summary::of(rates.into_iter().map(|rate| rate / 1e3)))
            }
        };
        table.row([kind.name().to_owned(), cell(own), cell(wrk), cell(oha)]);
    }
    let text = format!(
        "Thousand logins per second with one login in flight on each of 8 connections, as other load generators \
         count them; {RUNS} runs each. Install them with `apt-get install wrk` and `cargo install oha`."
    );
    Ok(Section { title: "External load generators", text, tables: vec![table], plots: Vec::new() })
}

/// Measures the logins per second with wrk, or returns `None` if wrk is not installed.
pub(crate) fn wrk_rate(target: &Target, scheme: &str, login: &Login, duration: Duration) -> Result<Option<f64>> {
    let script = env::temp_dir().join(format!("mqtt-gate-bench-{}.lua", std::process::id()));
    let body = String::from_utf8(login.body().to_vec())?;
    fs::write(
        &script,
        format!("wrk.method = \"POST\"\nwrk.headers[\"content-type\"] = \"application/json\"\nwrk.body = [[{body}]]\n"),
    )?;
    let mut command = Command::new("wrk");
    command
        .args(["-t1", "-c8", &format!("-d{}", duration.as_secs().max(1)), "-s"])
        .arg(&script)
        .arg(url(target, scheme));
    let output = stdout_of(&mut command);
    fs::remove_file(script)?;
    output?
        .map(|output| {
            ensure!(!output.contains("Non-2xx") && !output.contains("Socket errors"), "wrk: a login was not allowed");
            let rate = output.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
            Ok(rate.context("wrk: no rate in the output")?.trim().parse()?)
        })
        .transpose()
}

/// Measures the logins per second with oha, or returns `None` if oha is not installed.
fn oha_rate(target: &Target, login: &Login, duration: Duration) -> Result<Option<f64>> {
    let mut command = Command::new("oha");
    command.args(["--no-tui", "--output-format", "json", "-c", "8", "-m", "POST", "-T", "application/json", "-d"]);
    command.arg(String::from_utf8(login.body().to_vec())?).arg("-z").arg(format!("{}s", duration.as_secs().max(1)));
    let Some(output) = stdout_of(command.arg(url(target, "http")))? else { return Ok(None) };
    let output: Value = serde_json::from_str(&output)?;
    let codes = output.pointer("/statusCodeDistribution").and_then(Value::as_object);
    let all_succeeded = codes.is_some_and(|codes| !codes.is_empty() && codes.keys().all(|code| code == "200"));
    ensure!(all_succeeded, "oha: a login was not allowed");
    let rate = output.pointer("/summary/requestsPerSec").and_then(Value::as_f64);
    rate.context("oha: no rate in the output").map(Some)
}

fn url(target: &Target, scheme: &str) -> String {
    format!("{scheme}://{}/mqtt/auth", target.address)
}

/// Runs a program and returns its standard output, or `None` if the program is not installed.
fn stdout_of(command: &mut Command) -> Result<Option<String>> {
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        output => Ok(Some(String::from_utf8(output?.stdout)?)),
    }
}
