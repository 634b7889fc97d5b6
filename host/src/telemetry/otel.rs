//! Traces for OpenTelemetry: a span for some of the questions, if the operator wants them.
//!
//! Whoever judges never waits for them: the library's queue has an end, and what finds it full is dropped.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{self as sdk, Sampler, SdkTracerProvider, SpanData};

use crate::config::TraceConfig;
use crate::decision::Decision;
use mqtt_gate_engine::util::sanitize;

/// How long the collector may take, for one batch and for the last one when the gate stops.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there are no traces where they are wanted.
#[derive(Debug, thiserror::Error)]
#[error("traces.endpoint: {0}; it is an address such as http://127.0.0.1:4318/v1/traces")]
pub struct TraceError(String);

/// Sends spans to a collector.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: sdk::SdkTracer,
}

impl Traces {
    /// Makes ready to send; `None` if no traces are wanted. The collector is not asked yet.
    ///
    /// # Errors
    /// They are wanted, and the address is none.
    pub(crate) fn start(config: &TraceConfig) -> Result<Option<Self>, TraceError> {
        let Some(endpoint) = config.endpoint.clone() else { return Ok(None) };
        if !endpoint.starts_with("http://") {
            return Err(TraceError("not an http:// address".to_owned()));
        }
        // The exporter has a runtime of its own, and none can be made within another.
        let made = thread::spawn(move || {
            let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
            exporter.with_endpoint(endpoint).with_timeout(PATIENCE).build()
        });
        let made = made.join().map_err(|_| TraceError("the exporter cannot be made".to_owned()))?;
        // What the library says of it repeats the address, which may hold a password.
        let exporter = made.map_err(|_| TraceError("not an address".to_owned()))?;
        let resource = Resource::builder().with_service_name("mqtt-gate");
        let resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::TraceIdRatioBased(config.share))
            .with_resource(resource.build())
            .with_batch_exporter(Exporter { exporter, is_failing: AtomicBool::new(false) })
            .build();
        let tracer = provider.tracer("mqtt-gate");
        Ok(Some(Self { provider, tracer }))
    }

    /// Makes a span of a decision. It names no client.
    pub(crate) fn note(&self, decision: &Decision) {
        let Decision { asked, route, ruling, by, at, took, .. } = decision;
        let mut span = SpanBuilder::from_name(asked.name())
            .with_kind(SpanKind::Server)
            .with_start_time(*at)
            .with_attributes([
                KeyValue::new("http.route", route.path()),
                KeyValue::new("mqtt_gate.verdict", ruling.verdict()),
                KeyValue::new("mqtt_gate.reason", ruling.reason()),
                KeyValue::new("mqtt_gate.policy", by.digest.to_string()),
                KeyValue::new("mqtt_gate.generation", i64::try_from(by.generation).unwrap_or(i64::MAX)),
            ])
            .start(&self.tracer);
        if ruling.is_fault() {
            span.set_status(Status::error(ruling.reason()));
        }
        span.end_with_timestamp(*at + *took);
    }
}

impl Drop for Traces {
    /// Sends what waits, as far as the collector takes it.
    fn drop(&mut self) {
        let provider = self.provider.clone();
        let _ = thread::spawn(move || provider.shutdown_with_timeout(PATIENCE)).join();
    }
}

/// Tells the operator of the first batch that is not taken, until one is.
struct Exporter {
    exporter: SpanExporter,
    is_failing: AtomicBool,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl sdk::SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.exporter.export(batch).await;
        let was_failing = self.is_failing.swap(sent.is_err(), Relaxed);
        if let Err(error) = &sent
            && !was_failing
        {
            let remedy = "look at traces.endpoint and at the collector; logins go on";
            tracing::warn!(error = sanitize::chain(error), remedy, "traces cannot be sent");
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
