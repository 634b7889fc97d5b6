//! The summary of several runs.

use std::fmt;

use crate::measure::run::Run;

/// The minimum, median and maximum of a figure.
#[derive(Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Summary {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |at: usize| sorted.get(at).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        // The median of an even number of figures is the mean of the two in the middle.
        Self { min: at(0), median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), max: at(last) }
    }

    /// Summarises a figure of several runs.
    pub(crate) fn of_runs(runs: &[Run], figure: impl Fn(&Run) -> f64) -> Self {
        Self::of(runs.iter().map(figure))
    }

    /// Summarises the ratio of two targets, run by run. A disturbance of the machine slows both runs of a pair.
    pub(crate) fn of_ratios(runs: &[Run], baseline: &[Run], figure: impl Fn(&Run) -> f64) -> Self {
        Self::of(runs.iter().zip(baseline).map(|(run, baseline)| figure(run) / figure(baseline)))
    }
}

/// `median (min-max)`, with the given number of decimals.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        write!(f, "{:.digits$} ({:.digits$}-{:.digits$})", self.median, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_the_median_with_minimum_and_maximum() {
        let summary = Summary::of([5.0, 1.0, 3.0]);
        assert_eq!((summary.min, summary.median, summary.max), (1.0, 3.0, 5.0));
        assert_eq!(format!("{summary:.1}"), "3.0 (1.0-5.0)");
        assert!((Summary::of([4.0, 1.0]).median - 2.5).abs() < f64::EPSILON && Summary::of([]).median.is_nan());
    }
}
