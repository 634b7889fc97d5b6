//! The cost of the decision log and of traces, relative to a gate without them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::Result;

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::run::Run;
use crate::measure::summary::Summary;
use crate::report::section::{Section, Table};
use crate::targets::{Setup, Target, TargetKind};

/// Measures gates with each feature, in turn.
pub(crate) fn section(gate: &Path, rounds: usize, duration: Duration) -> Result<Section> {
    let login = Login::new(1)?;
    let file = env::temp_dir().join(format!("mqtt-gate-bench-decisions-{}.log", std::process::id()));
    let collector = start_collector()?;
    let decision_log = format!("decision_log.file = {file:?}\n");
    let traces = format!("traces.endpoint = \"http://{collector}/v1/traces\"\n");
    let features = [
        ("none", String::new()),
        ("decision log", decision_log.clone()),
        ("decision log, hashed client ids", format!("{decision_log}decision_log.client_id = \"hashed\"\n")),
        ("decision log, denied logins only", format!("{decision_log}decision_log.record = \"denied\"\n")),
        ("traces, 1 of 100", traces.clone()),
        ("traces, all", format!("{traces}traces.sample_ratio = 1.0\n")),
    ];
    let mut gates = Vec::new();
    for (name, extra_config) in features {
        let setup = Setup { extra_config, ..Setup::default() };
        gates.push((name, Target::start(gate, TargetKind::GateReused, &setup)?, Vec::new()));
    }
    let load = Load { login: &login, connections: 8, pace: Pace::Depth(16) };
    for round in 1..=rounds {
        eprintln!("features: round {round} of {rounds}");
        for (_, gate, runs) in &mut gates {
            runs.push(Run::measure(gate, &load, duration)?);
            // Truncate the decision log, so that it does not fill the disk.
            fs::File::create(&file)?;
        }
    }
    fs::remove_file(&file)?;
    let mut table = Table::new(["feature", "thousand logins per second", "ratio to none", "CPU per login, µs"]);
    let baseline = gates.first().map(|(_, _, runs)| runs.clone()).unwrap_or_default();
    for (name, _, runs) in &gates {
        table.row([
            (*name).to_owned(),
            format!("{:.0}", Summary::of_runs(runs, |run| run.rate / 1e3)),
            format!("{:.2}", Summary::of_ratios(runs, &baseline, |run| run.rate)),
            format!("{:.1}", Summary::of_runs(runs, |run| run.cpu)),
        ]);
    }
    let text = format!(
        "The gate with 16 logins in flight on each of 8 connections; {rounds} rounds of {} s. The threads that \
         write the log and export traces share the processors with the load and the gate. Under this load their \
         queues are full, so most lines and spans are dropped and counted. Metrics are always on.",
        duration.as_secs_f64()
    );
    Ok(Section { title: "Cost of features", text, tables: vec![table], plots: Vec::new() })
}

/// Starts a trace collector that accepts every request.
fn start_collector() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|stream| drop(thread::spawn(move || accept_all(stream))));
    });
    Ok(address)
}

/// Answers each request of a connection once its body is complete.
fn accept_all(mut stream: TcpStream) -> std::io::Result<()> {
    let (mut request, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        request.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(request.get(..end).unwrap_or_default()).to_lowercase();
        let body = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if body.is_some_and(|body| request.len() >= end + 4 + body) {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
            request.clear();
        }
    }
}
