//! What the gate's extras cost: the decision log and traces, beside a gate without them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::Result;

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::run::{Spread, Turn};
use crate::report::section::{Section, Table};
use crate::targets::{Contestant, Kind, Setup};

/// Has a gate with each of them answer in turn.
pub(crate) fn section(gate: &Path, rounds: usize, long: Duration) -> Result<Section> {
    let login = Login::signed_by_last(1)?;
    let file = env::temp_dir().join(format!("mqtt-gate-bench-decisions-{}.log", std::process::id()));
    let collector = collector()?;
    let decisions = format!("decisions.file = {file:?}\n");
    let traces = format!("traces.endpoint = \"http://{collector}/v1/traces\"\n");
    let kinds = [
        ("none", String::new()),
        ("a decision log", decisions.clone()),
        ("a decision log of hashed ids", format!("{decisions}decisions.client_id = \"hashed\"\n")),
        ("a decision log of refusals", format!("{decisions}decisions.what = \"refused\"\n")),
        ("traces, 1 of 100", traces.clone()),
        ("traces of all", format!("{traces}traces.share = 1.0\n")),
    ];
    let mut gates = Vec::new();
    for (name, more) in kinds {
        let setup = Setup { more, ..Setup::default() };
        gates.push((name, Contestant::start(gate, Kind::Reused, &setup)?, Vec::new()));
    }
    let load = Load { login: &login, connections: 8, pace: Pace::Depth(16) };
    for round in 1..=rounds {
        eprintln!("extras: round {round} of {rounds}");
        for (_, gate, turns) in &mut gates {
            turns.push(Turn::of(gate, &load, long)?);
            // It is long by now.
            fs::File::create(&file)?;
        }
    }
    fs::remove_file(&file)?;
    let mut table = Table::new(["with", "thousand logins a second", "to a gate without", "CPU a login, µs"]);
    let without = gates.first().map(|(_, _, turns)| turns.clone()).unwrap_or_default();
    for (name, _, turns) in &gates {
        let of = |figure: fn(&Turn) -> f64| Spread::of(turns.iter().map(figure));
        table.row([
            (*name).to_owned(),
            format!("{:.0}", of(|turn| turn.rate / 1e3)),
            format!("{:.2}", Spread::of_ratios(turns, &without, |turn| turn.rate)),
            format!("{:.1}", of(|turn| turn.cpu)),
        ]);
    }
    let text = format!(
        "The gate, 16 logins on their way on each of 8 connections, {rounds} rounds of {} s. The thread that writes the log and \
         the one that sends traces share the two processors with everything else; under such a load most lines and spans find \
         no room, and are counted and left out. Metrics are always there.",
        long.as_secs_f64()
    );
    Ok(Section { title: "What extras cost", text, tables: vec![table], plots: Vec::new() })
}

/// Takes whatever it is sent, and says that all is well.
fn collector() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(thread::spawn(move || take(stream)))));
    Ok(address)
}

/// Answers each request once its body is whole.
fn take(mut stream: TcpStream) -> std::io::Result<()> {
    let (mut bytes, mut part) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let read = stream.read(&mut part)?;
        if read == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(part.get(..read).unwrap_or_default());
        let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if length.is_some_and(|length| bytes.len() >= end + 4 + length) {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
            bytes.clear();
        }
    }
}
