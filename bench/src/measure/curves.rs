//! Rate and latency as functions of connections, pipelining, keys, worker threads and idle connections.

use std::iter;
use std::net::TcpStream;
use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::run::Run;
use crate::measure::summary::Summary;
use crate::report::section::{Line, Plot, Section, Table};
use crate::targets::{Setup, Target, TargetKind};

/// The parameter that a curve varies. The other parameters keep the values of [`Conditions::default`].
#[derive(Clone, Copy)]
enum Parameter {
    Connections,
    Depth,
    Keys,
    Threads,
    IdleConnections,
}

impl Parameter {
    const ALL: [Self; 5] = [Self::Connections, Self::Depth, Self::Keys, Self::Threads, Self::IdleConnections];

    fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Depth => "logins in flight per connection",
            Self::Keys => "keys in the ring",
            Self::Threads => "threads",
            Self::IdleConnections => "idle connections",
        }
    }

    /// The end of the file names of the plots.
    fn slug(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Depth => "logins",
            Self::Keys => "keys",
            Self::Threads => "threads",
            Self::IdleConnections => "idle",
        }
    }

    fn values(self) -> &'static [usize] {
        match self {
            Self::Connections => &[1, 2, 8, 32, 128, 512],
            Self::Depth => &[1, 4, 16, 64, 100],
            Self::Keys => &[1, 2, 8],
            Self::Threads => &[1, 2],
            Self::IdleConnections => &[1, 50, 500],
        }
    }
}

/// The conditions of one point of a curve.
struct Conditions {
    connections: usize,
    depth: usize,
    setup: Setup,
    idle_connections: usize,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { connections: 8, depth: 16, setup: Setup::default(), idle_connections: 0 }
    }
}

impl Conditions {
    fn with(parameter: Parameter, value: usize) -> Self {
        let mut conditions = Self::default();
        match parameter {
            // One login at a time: 16 in flight on each of 512 connections would only measure the queue.
            Parameter::Connections => (conditions.connections, conditions.depth) = (value, 1),
            Parameter::Depth => conditions.depth = value,
            Parameter::Keys => conditions.setup.keys = value,
            Parameter::Threads => conditions.setup.workers = NonZero::new(value),
            Parameter::IdleConnections => conditions.idle_connections = value,
        }
        conditions
    }
}

/// Measures and draws a curve for each parameter.
pub(crate) fn section(gate: &Path, rounds: usize, duration: Duration) -> Result<Section> {
    let (mut tables, mut plots) = (Vec::new(), Vec::new());
    for parameter in Parameter::ALL {
        let curves = measure(gate, parameter, rounds, duration)?;
        tables.push(table(parameter, &curves));
        plots.extend(rate_and_latency_plots(parameter, &curves));
    }
    let text = format!(
        "Medians of {rounds} runs of {} s. The connections curve has one login in flight per connection. The other \
         curves have 8 connections with 16 logins in flight on each, unless the curve varies that.",
        duration.as_secs_f64()
    );
    Ok(Section { title: "Curves", text, tables, plots })
}

/// The curve of one target.
struct Curve {
    kind: TargetKind,
    points: Vec<Point>,
}

struct Point {
    /// The value of the parameter.
    value: usize,
    /// Thousand logins per second.
    rate: f64,
    /// The p99 latency in microseconds.
    p99: f64,
}

fn measure(gate: &Path, parameter: Parameter, rounds: usize, duration: Duration) -> Result<Vec<Curve>> {
    let mut curves: Vec<Curve> = TargetKind::WITH_POLICY.map(|kind| Curve { kind, points: Vec::new() }).into();
    for &value in parameter.values() {
        eprintln!("curves: {value} {}", parameter.name());
        let conditions = Conditions::with(parameter, value);
        let login = Login::new(conditions.setup.keys)?;
        let load = Load { login: &login, connections: conditions.connections, pace: Pace::Depth(conditions.depth) };
        let mut targets = Vec::new();
        for curve in &curves {
            targets.push((Target::start(gate, curve.kind, &conditions.setup)?, Vec::new()));
        }
        for _ in 0..rounds {
            for (target, runs) in &mut targets {
                let idle = (0..conditions.idle_connections)
                    .map(|_| TcpStream::connect(target.address))
                    .collect::<Result<Vec<_>, _>>()?;
                runs.push(Run::measure(target, &load, duration)?);
                drop(idle);
            }
        }
        for (curve, (_, runs)) in curves.iter_mut().zip(targets) {
            let rate = Summary::of_runs(&runs, |run| run.rate / 1e3).median;
            let p99 = Summary::of_runs(&runs, Run::p99).median;
            curve.points.push(Point { value, rate, p99 });
        }
    }
    Ok(curves)
}

fn table(parameter: Parameter, curves: &[Curve]) -> Table {
    let mut table = Table::new(iter::once(parameter.name()).chain(curves.iter().map(|curve| curve.kind.name())));
    for (at, value) in parameter.values().iter().enumerate() {
        let cell = |curve: &Curve| {
            let point = curve.points.get(at);
            point.map_or_else(String::new, |point| format!("{:.0} k, {:.0} µs", point.rate, point.p99))
        };
        table.row(iter::once(value.to_string()).chain(curves.iter().map(cell)));
    }
    table
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn rate_and_latency_plots(parameter: Parameter, curves: &[Curve]) -> [Plot; 2] {
    let lines = |figure: fn(&Point) -> f64| {
        let line = |curve: &Curve| Line {
            name: curve.kind.name(),
            points: curve.points.iter().map(|point| (point.value as f64, figure(point))).collect(),
        };
        curves.iter().map(line).collect()
    };
    let plot = |prefix: &str, y, lines| Plot {
        name: format!("{prefix}-{}", parameter.slug()),
        title: format!("{y} by {}", parameter.name()),
        x: parameter.name(),
        y,
        lines,
    };
    [
        plot("rate", "thousand logins per second", lines(|point| point.rate)),
        plot("p99", "p99 latency, µs", lines(|point| point.p99)),
    ]
}
