//! `/metrics`, in the OpenMetrics format. No label contains what a client sent.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{Digest, Part};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::state::AdminState;
use crate::decision::Operation;
use crate::security::CredentialHandle;
use crate::telemetry::counters::{BUCKETS_US, HistogramSnapshot};

/// The content type of the response.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Label of the values beyond the bound of labels.
const OTHERS: &str = "others";

/// The metrics of a gate now.
pub(super) fn encode(state: AdminState) -> String {
    let mut registry = Registry::with_prefix("mqtt_gate");
    registry.register_collector(Box::new(GateCollector(state)));
    let mut metrics = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut metrics, &registry);
    metrics
}

struct GateCollector(AdminState);

impl fmt::Debug for GateCollector {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("GateCollector")
    }
}

impl Collector for GateCollector {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut encoder = Encoder(encoder);
        encoder.info("build", "Version of the gate.", &[("version", env!("CARGO_PKG_VERSION"))])?;
        self.decisions(&mut encoder)?;
        self.policy(&mut encoder)?;
        self.broker_caches(&mut encoder)?;
        self.revocation(&mut encoder)?;
        self.runtime(&mut encoder)
    }
}

impl GateCollector {
    fn decisions(&self, encoder: &mut Encoder) -> fmt::Result {
        let metrics = &self.0.telemetry.metrics;
        let decisions = metrics.counts().into_iter().map(|count| {
            let labels = [
                ("operation", count.operation.name().to_owned()),
                ("route", count.route.path().to_owned()),
                ("member", count.policy.map_or_else(|| OTHERS.to_owned(), |(name, _)| name.as_str().to_owned())),
                ("policy", count.policy.map_or_else(|| OTHERS.to_owned(), |(_, digest)| short(digest))),
                ("verdict", count.code.verdict().to_owned()),
                ("reason", count.code.reason().to_owned()),
            ];
            (labels, count.count)
        });
        encoder.counters("decisions", "Decisions by verdict and reason.", decisions)?;
        let keys = metrics.logins_by_key().into_iter();
        let keys = keys.map(|(id, logins)| ([("key", id.unwrap_or_else(|| OTHERS.to_owned()))], logins));
        encoder.counters("logins_by_key", "Allowed logins by signing key.", keys)?;
        let details = metrics.denials_by_detail().into_iter();
        let details = details.map(|(detail, count)| ([("detail", detail.unwrap_or_else(|| OTHERS.to_owned()))], count));
        encoder.counters("denials_by_detail", "Denied logins by the policy's own code.", details)?;
        let help = "Refusals that were repeated within a second, without a call of the policy.";
        encoder.counter("repeated_refusals", help, self.0.sites.gate.refusals.repeated())?;
        let help = "Clients that were locked out.";
        encoder.counter("lockouts", help, self.0.sites.gate.refusals.locked())?;
        let durations =
            Operation::ALL.map(|operation| ([("operation", operation.name())], metrics.durations(operation)));
        encoder.histograms("decision_duration", "Time from the parsed request to the decision.", durations)?;
        encoder.counter("malformed_requests", "Requests that could not be parsed.", metrics.malformed())?;
        let warnings = self.0.telemetry.warnings.counts_by_kind().into_iter();
        let warnings = warnings.map(|((route, kind), count)| ([("route", route), ("kind", kind)], count));
        encoder.counters("config_warnings", "Requests that show a mistake in a broker's configuration.", warnings)
    }

    fn policy(&self, encoder: &mut Encoder) -> fmt::Result {
        let chain = self.0.chain();
        let members: Vec<_> = chain
            .members()
            .iter()
            .map(|member| (member.name.as_str(), member.active.get(), member.history.snapshot()))
            .collect();
        let infos = members.iter().map(|(name, active, _)| {
            let digest = active.policy.digest();
            [
                ("name", active.policy.name().to_owned()),
                ("member", (*name).to_owned()),
                ("policy", short(digest)),
                ("sha256", digest.to_string()),
            ]
        });
        encoder.infos("policy", "The active policies.", infos)?;
        let generations = members.iter().map(|(name, active, _)| ([("member", *name)], active.generation));
        let help = "1 for the first version of a policy, one more after each swap.";
        encoder.gauges("policy_generation", help, generations)?;
        let help = "Time at which the active version of a policy was activated.";
        let since = members.iter().map(|(name, active, _)| ([("member", *name)], unix_seconds(active.since)));
        encoder.gauges("policy_last_reload_success_timestamp_seconds", help, since)?;
        let reloads = members.iter().flat_map(|(name, active, history)| {
            [("success", active.generation.saturating_sub(1)), ("failure", history.rejected)]
                .map(|(result, count)| ([("member", *name), ("result", result)], count))
        });
        encoder.counters("policy_reloads", "Swaps of a policy, and versions that failed preflight.", reloads)?;
        let help = "Versions that failed 20 calls in a row and were replaced by the one before.";
        let returns = members.iter().map(|(name, _, history)| ([("member", *name)], history.returned));
        encoder.counters("policy_returns", help, returns)?;
        let parts = members.iter().flat_map(|(name, _, history)| {
            let on_hold = history.on_hold;
            let is_on_hold =
                move |part| u64::from(on_hold.is_some_and(|on_hold| on_hold == part || on_hold == Part::Any));
            [Part::Component, Part::Settings].map(|part| ([("member", *name), ("part", part.name())], is_on_hold(part)))
        });
        let help = "1 if this part of the policy's files was rejected and is not active.";
        encoder.gauges("policy_on_hold", help, parts)?;
        self.monitors(encoder)?;
        self.tenants(encoder)?;
        let (created, destroyed) = self.0.instances.counts();
        encoder.gauge("instances", "Instances of all policies.", created.saturating_sub(destroyed))?;
        let memory = &self.0.policy_memory;
        encoder.gauge("policy_memory_bytes", "Memory of the instances of all policies.", memory.used())?;
        let help = "Limit of this memory, limits.max_total_policy_memory.";
        encoder.gauge("policy_memory_bytes_limit", help, memory.max())?;
        encoder.counter("instances_created", "Instances that were created.", created)?;
        encoder.counter("instances_destroyed", "Instances that were destroyed: used up, failed or replaced.", destroyed)
    }

    /// Monitors of all sites.
    fn monitors(&self, encoder: &mut Encoder) -> fmt::Result {
        let found = self.0.monitors.snapshot();
        let labels = |(tenant, member): &(Option<Name>, Name)| {
            [("tenant", tenant.map(Name::as_str).unwrap_or_default()), ("member", member.as_str())]
        };
        let help = "Requests that a policy with mode monitor was compared on.";
        encoder.counters("monitor_compared", help, found.iter().map(|(key, it)| (labels(key), it.compared)))?;
        let help = "Requests that were not compared, because the monitor is too slow for their number.";
        encoder.counters("monitor_dropped", help, found.iter().map(|(key, it)| (labels(key), it.dropped)))?;
        let differences = found.iter().flat_map(|(key, comparison)| {
            let [tenant, member] = labels(key);
            let kinds = comparison.differences.iter();
            kinds.map(move |(kind, count)| ([tenant, member, ("kind", kind.name())], *count))
        });
        encoder.counters("monitor_differences", "Decisions that a monitor would have changed.", differences)
    }

    /// Few numbers of each tenant, because there may be thousands.
    fn tenants(&self, encoder: &mut Encoder) -> fmt::Result {
        let tenants = self.0.sites.tenants();
        let mut tenants: Vec<_> = tenants.iter().collect();
        tenants.sort_by_key(|(name, _)| **name);
        encoder.gauge("tenants", "Tenants.", tenants.len() as u64)?;
        let decisions = tenants.iter().flat_map(|(name, site)| {
            let counts = site.counters.iter().flat_map(|counters| counters.counts());
            counts.map(move |count| {
                let operation = count.operation.name();
                ([("tenant", **name), ("operation", operation), ("verdict", count.verdict)], count.count)
            })
        });
        encoder.counters("tenant_decisions", "Decisions about the clients of a tenant.", decisions)?;
        let on_hold = tenants.iter().filter_map(|(name, site)| {
            let chain = site.evaluator.chain().get();
            let is_on_hold = chain.members().iter().any(|member| member.history.snapshot().on_hold.is_some());
            is_on_hold.then_some(([("tenant", **name)], 1))
        });
        let help = "1 if a part of the files of a tenant's policy was rejected and is not active.";
        encoder.gauges("tenant_policy_on_hold", help, on_hold)?;
        let file = self.0.config_file.snapshot();
        let help = "1 if the contents of the configuration file are not active.";
        encoder.gauge("config_rejected", help, file.error.is_some().into())?;
        let help = "Keys of the configuration file that have changed and need a restart.";
        encoder.gauge("config_keys_need_restart", help, file.needs_restart.len() as u64)
    }

    fn broker_caches(&self, encoder: &mut Encoder) -> fmt::Result {
        let generation = self.0.activations();
        let brokers = self.0.cache_reset.progress();
        let stale =
            brokers.iter().map(|it| ([("api", it.api.clone())], u64::from(it.progress.generation != generation)));
        let help = "1 until the caches of this broker are reset after a swap.";
        encoder.gauges("broker_caches_stale", help, stale)?;
        let resets = brokers.iter().flat_map(|it| {
            [("success", it.progress.succeeded), ("failure", it.progress.failed)]
                .map(|(result, count)| ([("api", it.api.clone()), ("result", result.to_owned())], count))
        });
        encoder.counters("broker_cache_resets", "Resets of the caches of a broker.", resets)
    }

    fn revocation(&self, encoder: &mut Encoder) -> fmt::Result {
        let brokers: Vec<_> = self.0.cache_reset.revocation_progress();
        let counts = |key: &'static str, api: &str, counts: &[(&str, u64)]| {
            let labels = |(name, count): &(&str, u64)| ([("api", api.to_owned()), (key, (*name).to_owned())], *count);
            counts.iter().map(labels).collect::<Vec<_>>()
        };
        let sweeps = brokers.iter().flat_map(|it| {
            let totals = it.progress.totals;
            let results = [
                ("success", totals.succeeded),
                ("failure", totals.failed),
                ("interrupted", totals.interrupted),
                ("no-authorizer", totals.skipped),
            ];
            counts("result", &it.api, &results)
        });
        let help = "Sweeps over the connected clients of a broker, and calls of its API that failed.";
        encoder.counters("revocation_sweeps", help, sweeps)?;
        let denied = brokers.iter().map(|it| ([("api", it.api.clone())], it.progress.denied));
        let help = "Connected clients that the last sweep found denied.";
        encoder.gauges("revocation_denied_clients", help, denied)?;
        let clients = brokers.iter().flat_map(|it| {
            let totals = it.progress.totals;
            counts("action", &it.api, &[("kick", totals.kicked), ("ban", totals.banned)])
        });
        encoder.counters("revoked_clients", "Connected clients that were disconnected or banned.", clients)
    }

    fn runtime(&self, encoder: &mut Encoder) -> fmt::Result {
        let AdminState { connections, buffer_limit, credentials, telemetry, .. } = &self.0;
        encoder.gauge("connections", "Open connections of brokers.", connections.open() as u64)?;
        encoder.gauge("connections_limit", "Limit of open connections.", connections.max() as u64)?;
        encoder.counter("connections_queued", "Connections that waited because of the limit.", connections.queued())?;
        encoder.gauge("buffered_bytes", "Bytes that unfinished requests take.", buffer_limit.used())?;
        encoder.gauge("buffered_bytes_limit", "Limit of these bytes, limits.max_buffered.", buffer_limit.max())?;
        let help = "Connections that were closed because unfinished requests reached limits.max_buffered.";
        encoder.counter("connections_evicted", help, buffer_limit.evicted())?;
        let help = "Requests to the admin address with a wrong token.";
        encoder.counter("admin_wrong_tokens", help, self.0.denials.wrong_tokens())?;
        let label = |credential: &CredentialHandle| [("credential", credential.name)];
        let failed = credentials.iter().map(|it| (label(it), it.reload_error().is_some().into()));
        let help = "1 if the last reload of a certificate or a secret failed. The previous version stays in use.";
        encoder.gauges("credential_reload_failed", help, failed)?;
        let expiries = credentials.iter().filter_map(|it| Some((label(it), unix_seconds(it.expires()?))));
        encoder.gauges("certificate_not_after_timestamp_seconds", "Time at which a certificate expires.", expiries)?;
        let failures = self.0.handshake_failures.iter().flat_map(|(listener, failures)| {
            let counts = failures.counts(SystemTime::now()).into_iter();
            counts.map(move |it| ([("listener", *listener), ("cause", it.cause.name())], it.count))
        });
        encoder.counters("tls_handshake_failures", "TLS handshakes that failed.", failures)?;
        let dropped = telemetry.dropped_log_lines.load(Relaxed);
        encoder.counter("log_lines_dropped", "Lines of the log that were dropped.", dropped)?;
        let dropped = telemetry.decision_log.as_ref().map(|log| log.dropped());
        encoder.counter(
            "decision_log_dropped",
            "Decisions that are missing in the decision log.",
            dropped.unwrap_or_default(),
        )
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The first 12 digits of a digest, which tell policies apart.
fn short(digest: Digest) -> String {
    digest.to_string().chars().take(12).collect()
}

/// Encodes metrics, with labels where they have some.
struct Encoder<'a>(DescriptorEncoder<'a>);

impl Encoder<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        self.metric(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    fn infos<L: EncodeLabelSet>(&mut self, name: &str, help: &str, infos: impl IntoIterator<Item = L>) -> fmt::Result {
        let mut metric = self.metric(name, help, None, MetricType::Info)?;
        for labels in infos {
            metric.encode_info(&labels)?;
        }
        Ok(())
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn histograms<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, HistogramSnapshot)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, HistogramSnapshot { buckets, sum }) in values {
            let bounds = BUCKETS_US.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
            let count = buckets.iter().sum();
            let buckets: Vec<(f64, u64)> = bounds.zip(buckets).collect();
            let mut metric = metric.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)?;
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
