//! What was measured, as medians with their spread, and ratios to the first contestant.

use std::fmt;
use std::time::Duration;

use crate::load::Answered;

/// One line for each contestant at each depth.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    memory: Vec<(&'static str, u64)>,
}

struct Row {
    name: &'static str,
    depth: usize,
    /// One of each for a round.
    rates: Vec<f64>,
    cpu: Vec<f64>,
    median: Vec<f64>,
    tail: Vec<f64>,
}

impl Table {
    /// Adds one turn: what was answered, and the processor time that it took the server.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(crate) fn add(&mut self, name: &'static str, depth: usize, answered: Answered, cpu: Duration) {
        let known = self.rows.iter().position(|row| row.name == name && row.depth == depth);
        let at = known.unwrap_or_else(|| {
            let (rates, cpu, median, tail) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            self.rows.push(Row { name, depth, rates, cpu, median, tail });
            self.rows.len() - 1
        });
        let Some(row) = self.rows.get_mut(at) else { return };
        let logins = answered.logins as f64;
        row.rates.push(logins / answered.took.as_secs_f64());
        row.cpu.push(cpu.as_secs_f64() * 1e6 / logins);
        row.median.push(answered.latencies.value_at_quantile(0.5) as f64 / 1e3);
        row.tail.push(answered.latencies.value_at_quantile(0.999) as f64 / 1e3);
    }

    /// Adds the memory of a contestant after all its turns.
    pub(crate) fn remember(&mut self, name: &'static str, memory: u64) {
        self.memory.push((name, memory));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "| on their way | contestant | logins a second (lowest to highest) | to native | CPU a login | p50 | p99.9 |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- |")?;
        for row in &self.rows {
            let (low, middle, high) = spread(&row.rates);
            let base = self
                .rows
                .iter()
                .find(|other| other.depth == row.depth && other.name == "native")
                .map_or(middle, |base| spread(&base.rates).1);
            writeln!(
                f,
                "| {} | {} | {:.0} k ({:.0} to {:.0}) | {:.2} | {:.1} µs | {:.0} µs | {:.0} µs |",
                row.depth,
                row.name,
                middle / 1e3,
                low / 1e3,
                high / 1e3,
                middle / base,
                spread(&row.cpu).1,
                spread(&row.median).1,
                spread(&row.tail).1,
            )?;
        }
        for (name, memory) in &self.memory {
            writeln!(f, "memory of {name} afterwards: {} MiB", memory >> 20)?;
        }
        Ok(())
    }
}

/// The lowest, the median and the highest.
fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |at: usize| sorted.get(at).copied().unwrap_or(f64::NAN);
    (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}
