//! What `/metrics` tells, as OpenMetrics. No label holds anything that a client sent.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::admin::Admin;
use crate::decision::Asked;
use mqtt_gate_engine::policy::Digest;
use crate::security::Condition;
use crate::telemetry::counters::{STEPS, Spent};

/// What the answer is said to be.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label of what is not told apart.
const OTHERS: &str = "others";

/// The metrics of a gate, as they are now.
pub(crate) fn of(admin: &Admin) -> String {
    let mut registry = Registry::with_prefix("mqtt_gate");
    registry.register_collector(Box::new(Gate(admin.clone())));
    let mut told = String::new();
    // Writing to a text does not fail.
    let _ = text::encode(&mut told, &registry);
    told
}

struct Gate(Admin);

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl Collector for Gate {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        out.info("build", "The program.", &[("version", env!("CARGO_PKG_VERSION"))])?;
        self.questions(&mut out)?;
        self.policy(&mut out)?;
        self.surroundings(&mut out)
    }
}

impl Gate {
    fn questions(&self, out: &mut Out) -> fmt::Result {
        let tally = &self.0.told.tally;
        let counts = tally.counts();
        let decisions = counts.iter().map(|count| {
            let labels = [
                ("asked", count.asked.name().to_owned()),
                ("route", count.route.path().to_owned()),
                ("policy", count.policy.map_or_else(|| OTHERS.to_owned(), short)),
                ("verdict", count.ruling.verdict().to_owned()),
                ("reason", count.ruling.reason().to_owned()),
            ];
            (labels, count.times)
        });
        out.counters("decisions", "Questions that were answered, by what came of them.", decisions)?;
        let keys =
            tally.keys().into_iter().map(|(id, times)| ([("key", id.unwrap_or_else(|| OTHERS.to_owned()))], times));
        out.counters("key_logins", "Logins that were let in, by the key that vouched for them.", keys)?;
        let spent = Asked::ALL.map(|asked| ([("asked", asked.name())], tally.spent(asked)));
        out.times("judging", "From when a question was read to when its answer was known.", spent)?;
        out.counter("malformed_requests", "Requests that asked nothing.", tally.malformed())?;
        let findings = self.0.told.findings.by_kind().into_iter();
        let findings = findings.map(|((route, kind), times)| ([("route", route), ("kind", kind)], times));
        out.counters("misconfigured", "Requests that show a mistake in a broker's configuration.", findings)
    }

    fn policy(&self, out: &mut Out) -> fmt::Result {
        let serving = self.0.active.get();
        let (name, digest) = (serving.policy.name().to_owned(), serving.policy.digest());
        let labels = [("name", name), ("policy", short(digest)), ("sha256", digest.to_string())];
        out.info("policy", "The policy in service.", &labels)?;
        out.gauge("policy_generation", "1 for the first policy, one more for each after it.", serving.generation)?;
        out.gauge("policy_since_timestamp_seconds", "When it began to serve.", seconds(serving.since))?;
        out.counter("swaps", "Policies that took the place of another.", serving.generation.saturating_sub(1))?;
        let rejected = self.0.history.borrow().rejected;
        out.counter("refused_candidates", "Candidates that were not put in service.", rejected)?;
        let (made, dropped) = self.0.census.counts();
        out.gauge("instances", "Instances of policies that are alive.", made.saturating_sub(dropped))?;
        out.counter("instances_made", "Instances that were made.", made)?;
        out.counter("instances_dropped", "Instances that were dropped: spent, failed or replaced.", dropped)
    }

    fn surroundings(&self, out: &mut Out) -> fmt::Result {
        let places = &self.0.places;
        out.gauge("connections", "Connections of brokers.", places.open() as u64)?;
        out.gauge("connections_most", "The most connections that there may be.", places.most() as u64)?;
        out.counter("connection_waits", "How often a connection had to wait for a place.", places.waits())?;
        let name = |safeguard: &Condition| [("safeguard", safeguard.name)];
        let refused = self.0.safeguards.iter().map(|it| (name(it), it.refused().is_some().into()));
        out.gauges(
            "safeguard_refused",
            "1: the files of a certificate or a secret are of no use; the one before stays.",
            refused,
        )?;
        let expires = self.0.safeguards.iter().filter_map(|it| Some((name(it), seconds(it.expires()?))));
        out.gauges("certificate_expires_timestamp_seconds", "When a certificate ends.", expires)?;
        out.counter("log_lines_lost", "Lines of the log that nobody took.", (self.0.lost_lines)())?;
        let lost = self.0.told.decisions.as_ref().map(|log| log.lost());
        out.counter("decisions_lost", "Decisions that the decision log has no line of.", lost.unwrap_or_default())
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The beginning of a digest, which is enough to tell policies apart.
fn short(digest: Digest) -> String {
    digest.to_string().chars().take(12).collect()
}

/// What metrics are written to.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        self.metric(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        counters: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, None, MetricType::Counter)?;
        for (labels, value) in counters {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        gauges: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, None, MetricType::Gauge)?;
        for (labels, value) in gauges {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn times<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        times: impl IntoIterator<Item = (L, Spent)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, Spent { steps, time }) in times {
            let ends = STEPS.iter().map(|step| *step as f64 / 1e6).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = ends.zip(steps.iter().copied()).collect();
            let count = steps.iter().sum();
            let mut metric = metric.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(time.as_secs_f64(), count, &buckets, None)?;
        }
        Ok(())
    }

    fn metric<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }
}
