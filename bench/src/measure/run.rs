//! One turn of a contestant under a load, and the figures of several turns.

use std::fmt;
use std::time::Duration;

use anyhow::Result;

use crate::load::Load;
use crate::targets::Contestant;

/// What one turn came to.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// Logins a second.
    pub(crate) rate: f64,
    /// Processor time of the server for a login, in microseconds.
    pub(crate) cpu: f64,
    /// How long a login is waited for, in microseconds: the median, and what one in a hundred, a thousand and ten
    /// thousand exceeds.
    pub(crate) latency: [f64; 4],
}

/// The quantiles of [`Turn::latency`].
const QUANTILES: [f64; 4] = [0.5, 0.99, 0.999, 0.9999];

impl Turn {
    /// Puts the contestant under this load, after a little of it that is not counted: nobody pays for what is done once.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn of(contestant: &Contestant, load: &Load, long: Duration) -> Result<Self> {
        load.run(contestant.address, long / 5)?;
        let before = contestant.cpu_time()?;
        let answered = load.run(contestant.address, long)?;
        let cpu = contestant.cpu_time()?.saturating_sub(before);
        let logins = answered.logins.max(1) as f64;
        Ok(Self {
            rate: logins / answered.took.as_secs_f64(),
            cpu: cpu.as_secs_f64() * 1e6 / logins,
            latency: QUANTILES.map(|quantile| answered.latencies.value_at_quantile(quantile) as f64 / 1e3),
        })
    }
}

/// Several figures of the same thing.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |at: usize| sorted.get(at).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        // Of an even number, half-way between the two in the middle.
        Self { low: at(0), median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), high: at(last) }
    }

    /// How one thing compares with another, turn by turn: what slows the machine down for a while slows both.
    pub(crate) fn of_ratios(one: &[Turn], other: &[Turn], figure: impl Fn(&Turn) -> f64) -> Self {
        Self::of(one.iter().zip(other).map(|(one, other)| figure(one) / figure(other)))
    }
}

/// The median and, in brackets, the lowest and the highest; with as many digits as asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        write!(f, "{:.digits$} ({:.digits$}-{:.digits$})", self.median, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_median_between_its_ends() {
        let spread = Spread::of([5.0, 1.0, 3.0]);
        assert_eq!((spread.low, spread.median, spread.high), (1.0, 3.0, 5.0));
        assert_eq!(format!("{spread:.1}"), "3.0 (1.0-5.0)");
        assert!((Spread::of([4.0, 1.0]).median - 2.5).abs() < f64::EPSILON && Spread::of([]).median.is_nan());
    }
}
