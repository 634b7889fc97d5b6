//! One run: a target under a load.

use std::time::Duration;

use anyhow::Result;

use crate::load::Load;
use crate::targets::Target;

/// The figures of one run.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// Logins per second.
    pub(crate) rate: f64,
    /// Processor time of the server per login, in microseconds.
    pub(crate) cpu: f64,
    /// Latency in microseconds, at each of [`QUANTILES`].
    pub(crate) latency: [f64; 4],
}

/// The quantiles of [`Run::latency`].
const QUANTILES: [f64; 4] = [0.5, 0.99, 0.999, 0.9999];

impl Run {
    /// Puts the target under the load for `duration`, after a warm-up of a fifth of it that is not counted.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn measure(target: &Target, load: &Load, duration: Duration) -> Result<Self> {
        load.run(target.address, duration / 5)?;
        let before = target.cpu_time()?;
        let result = load.run(target.address, duration)?;
        let cpu = target.cpu_time()?.saturating_sub(before);
        let logins = result.logins.max(1) as f64;
        Ok(Self {
            rate: logins / result.elapsed.as_secs_f64(),
            cpu: cpu.as_secs_f64() * 1e6 / logins,
            latency: QUANTILES.map(|quantile| result.latencies.value_at_quantile(quantile) as f64 / 1e3),
        })
    }

    pub(crate) fn p50(&self) -> f64 {
        self.latency[0]
    }

    pub(crate) fn p99(&self) -> f64 {
        self.latency[1]
    }

    pub(crate) fn p999(&self) -> f64 {
        self.latency[2]
    }

    pub(crate) fn p9999(&self) -> f64 {
        self.latency[3]
    }
}
