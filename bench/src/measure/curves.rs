//! How rate and latency go with connections, pipelined logins, keys and threads.

use std::net::TcpStream;
use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::run::{Spread, Turn};
use crate::report::section::{Line, Plot, Section, Table};
use crate::targets::{Contestant, Kind, Setup};

const CONTESTANTS: [Kind; 4] = [Kind::Native, Kind::AxumNative, Kind::Reused, Kind::Fresh];

/// What is varied, while everything else stays at eight connections, sixteen logins on their way, one key and a thread
/// for each processor.
#[derive(Clone, Copy)]
enum Along {
    Connections,
    Depth,
    Keys,
    Threads,
    Idle,
}

impl Along {
    const ALL: [Self; 5] = [Self::Connections, Self::Depth, Self::Keys, Self::Threads, Self::Idle];

    fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Depth => "logins on their way on each connection",
            Self::Keys => "keys in the ring",
            Self::Threads => "threads",
            Self::Idle => "idle connections besides",
        }
    }

    fn steps(self) -> &'static [usize] {
        match self {
            Self::Connections => &[1, 2, 8, 32, 128, 512],
            Self::Depth => &[1, 4, 16, 64, 100],
            Self::Keys => &[1, 2, 8],
            Self::Threads => &[1, 2],
            Self::Idle => &[1, 50, 500],
        }
    }
}

/// One step along something.
struct Step {
    connections: usize,
    depth: usize,
    setup: Setup,
    idle: usize,
}

impl Step {
    fn of(along: Along, value: usize) -> Self {
        let mut step = Self { connections: 8, depth: 16, setup: Setup::default(), idle: 0 };
        match along {
            // One at a time: with 16 pipelined on 512 connections it would be latency alone.
            Along::Connections => (step.connections, step.depth) = (value, 1),
            Along::Depth => step.depth = value,
            Along::Keys => step.setup.keys = value,
            Along::Threads => step.setup.workers = NonZero::new(value),
            Along::Idle => step.idle = value,
        }
        step
    }
}

/// Measures all of them.
pub(crate) fn section(gate: &Path, rounds: usize, long: Duration) -> Result<Section> {
    let (mut tables, mut plots) = (Vec::new(), Vec::new());
    for along in Along::ALL {
        let curves = measure(gate, along, rounds, long)?;
        let (table, pair) = tell(along, &curves);
        tables.push(table);
        plots.extend(pair);
    }
    let text = format!(
        "Medians of {rounds} turns of {} s. Along connections one login is on its way on each, else 16 on each of 8.",
        long.as_secs_f64()
    );
    Ok(Section { title: "Curves", text, tables, plots })
}

/// Rate and p99 of each contestant at each step.
type Curves = Vec<(Kind, Vec<(usize, f64, f64)>)>;

fn measure(gate: &Path, along: Along, rounds: usize, long: Duration) -> Result<Curves> {
    let mut curves: Curves = CONTESTANTS.map(|kind| (kind, Vec::new())).into();
    for &value in along.steps() {
        eprintln!("curves: {value} {}", along.name());
        let step = Step::of(along, value);
        let login = Login::signed_by_last(step.setup.keys)?;
        let load = Load { login: &login, connections: step.connections, pace: Pace::Depth(step.depth) };
        let mut contestants = Vec::new();
        for (kind, _) in &curves {
            contestants.push((Contestant::start(gate, *kind, &step.setup)?, Vec::new()));
        }
        for _ in 0..rounds {
            for (contestant, turns) in &mut contestants {
                let idle =
                    (0..step.idle).map(|_| TcpStream::connect(contestant.address)).collect::<Result<Vec<_>, _>>()?;
                turns.push(Turn::of(contestant, &load, long)?);
                drop(idle);
            }
        }
        for ((_, points), (_, turns)) in curves.iter_mut().zip(contestants) {
            let of = |figure: fn(&Turn) -> f64| Spread::of(turns.iter().map(figure)).median;
            points.push((value, of(|turn| turn.rate / 1e3), of(|turn| turn.latency[1])));
        }
    }
    Ok(curves)
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn tell(along: Along, curves: &Curves) -> (Table, Vec<Plot>) {
    let mut table = Table::new(std::iter::once(along.name()).chain(curves.iter().map(|(kind, _)| kind.name())));
    for (at, value) in along.steps().iter().enumerate() {
        let cell = |(_, points): &(Kind, Vec<(usize, f64, f64)>)| {
            points.get(at).map_or_else(String::new, |(_, rate, p99)| format!("{rate:.0} k, {p99:.0} µs"))
        };
        table.row(std::iter::once(value.to_string()).chain(curves.iter().map(cell)));
    }
    let lines = |figure: fn(&(usize, f64, f64)) -> f64| {
        let line = |(kind, points): &(Kind, Vec<_>)| Line {
            name: kind.name(),
            points: points.iter().map(|point: &(usize, f64, f64)| (point.0 as f64, figure(point))).collect(),
        };
        curves.iter().map(line).collect()
    };
    let word = along.name().split(' ').next().unwrap_or_default();
    let plot = |what: &str, y, lines| Plot {
        name: format!("{what}-{word}"),
        title: format!("{y} by {}", along.name()),
        x: along.name(),
        y,
        lines,
    };
    let plots = vec![
        plot("rate", "thousand logins a second", lines(|point| point.1)),
        plot("p99", "p99 latency, µs", lines(|point| point.2)),
    ];
    (table, plots)
}
