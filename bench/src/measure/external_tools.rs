//! What wrk and oha say, which people know: the same picture, or the load of the bench is wrong.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::run::{Spread, Turn};
use crate::report::section::{Section, Table};
use crate::targets::{Contestant, Kind, Setup};

const CONTESTANTS: [Kind; 4] = [Kind::Native, Kind::AxumNative, Kind::Reused, Kind::Fresh];

/// Has each of them say how many logins a second each contestant answers, one at a time on eight connections.
pub(crate) fn section(gate: &Path, long: Duration) -> Result<Section> {
    let login = Login::signed_by_last(1)?;
    let load = Load { login: &login, connections: 8, pace: Pace::Depth(1) };
    let mut table = Table::new(["contestant", "the bench's own load", "wrk", "oha"]);
    for kind in CONTESTANTS {
        eprintln!("others: {}", kind.name());
        let contestant = Contestant::start(gate, kind, &Setup::default())?;
        let (mut own, mut wrk, mut oha) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            own.push(Turn::of(&contestant, &load, long)?.rate);
            wrk.extend(by_wrk(&contestant, "http", &login, long)?);
            oha.extend(by_oha(&contestant, &login, long)?);
        }
        let cell = |rates: Vec<f64>| {
            if rates.is_empty() {
                "not installed".to_owned()
            } else {
                format!("{:.0}", Spread::of(rates.into_iter().map(|rate| rate / 1e3)))
            }
        };
        table.row([kind.name().to_owned(), cell(own), cell(wrk), cell(oha)]);
    }
    let text =
        "Thousand logins a second, one on its way on each of 8 connections, as other programs count them: three turns \
                each. `apt-get install wrk` and `cargo install oha` have them take part."
            .to_owned();
    Ok(Section { title: "By other programs", text, tables: vec![table], plots: Vec::new() })
}

/// Logins a second by wrk; nothing if it is not there.
pub(crate) fn by_wrk(contestant: &Contestant, scheme: &str, login: &Login, long: Duration) -> Result<Option<f64>> {
    let script = std::env::temp_dir().join(format!("mqtt-gate-bench-{}.lua", std::process::id()));
    let body = String::from_utf8(login.body().to_vec())?;
    fs::write(
        &script,
        format!("wrk.method = \"POST\"\nwrk.headers[\"content-type\"] = \"application/json\"\nwrk.body = [[{body}]]\n"),
    )?;
    let mut command = Command::new("wrk");
    command
        .args(["-t1", "-c8", &format!("-d{}", long.as_secs().max(1)), "-s"])
        .arg(&script)
        .arg(url(contestant, scheme));
    let said = said(&mut command);
    fs::remove_file(script)?;
    said?
        .map(|said| {
            anyhow::ensure!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "wrk was not let in");
            let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
            Ok(rate.context("wrk says no rate")?.trim().parse()?)
        })
        .transpose()
}

/// Logins a second by oha; nothing if it is not there.
fn by_oha(contestant: &Contestant, login: &Login, long: Duration) -> Result<Option<f64>> {
    let mut command = Command::new("oha");
    command.args(["--no-tui", "--output-format", "json", "-c", "8", "-m", "POST", "-T", "application/json", "-d"]);
    command.arg(String::from_utf8(login.body().to_vec())?).arg("-z").arg(format!("{}s", long.as_secs().max(1)));
    let said = said(command.arg(url(contestant, "http")))?;
    said.map(|said| {
        let said: Value = serde_json::from_str(&said)?;
        let codes = said.pointer("/statusCodeDistribution").and_then(Value::as_object);
        let all_let_in = codes.is_some_and(|codes| !codes.is_empty() && codes.keys().all(|code| code == "200"));
        anyhow::ensure!(all_let_in, "oha was not let in");
        said.pointer("/summary/requestsPerSec").and_then(Value::as_f64).context("oha says no rate")
    })
    .transpose()
}

fn url(contestant: &Contestant, scheme: &str) -> String {
    format!("{scheme}://{}/mqtt/auth", contestant.address)
}

/// What a program prints; nothing if it is not there.
fn said(command: &mut Command) -> Result<Option<String>> {
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        output => Ok(Some(String::from_utf8(output?.stdout)?)),
    }
}
