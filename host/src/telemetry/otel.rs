//! Traces for OpenTelemetry: a span for a sample of the decisions.
//!
//! Sending never blocks a login: spans wait in the bounded queue of the library, and a full queue drops them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use mqtt_gate_engine::util::sanitize;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{self as sdk, Sampler, SdkTracerProvider, SpanData};

use crate::config::TracesConfig;
use crate::decision::Decision;

/// How long the collector may take for one batch. The gate waits as long for the last batch when it stops.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// A response of a collector says little.
const MAX_RESPONSE: u64 = 64 << 10;

/// Why traces cannot be exported. Never contains the URL, which can hold a password.
#[derive(Debug, thiserror::Error)]
#[error("traces.endpoint: not an http:// URL; set it to one such as http://127.0.0.1:4318/v1/traces")]
pub struct TraceError;

/// Exports spans to a collector. Dropping it sends the spans that are queued.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: sdk::SdkTracer,
}

impl Traces {
    /// Starts the export, without a connection to the collector yet. `None` if none is configured.
    ///
    /// # Errors
    /// The endpoint is not a URL of plain HTTP.
    pub(crate) fn start(config: &TracesConfig) -> Result<Option<Self>, TraceError> {
        let Some(endpoint) = &config.endpoint else { return Ok(None) };
        if !endpoint.starts_with("http://") {
            return Err(TraceError);
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|_| TraceError)?;
        let resource = Resource::builder()
            .with_service_name("mqtt-gate")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio))))
            .with_resource(resource.build())
            .with_batch_exporter(Exporter { exporter, is_failing: AtomicBool::new(false) })
            .build();
        let tracer = provider.tracer("mqtt-gate");
        Ok(Some(Self { provider, tracer }))
    }

    /// Records a span of a decision. The span does not identify the client.
    ///
    /// It is a child of the span that the request names. The sender then decides whether it is recorded.
    pub(crate) fn record(&self, decision: &Decision) {
        let Decision { operation, route, code, policy, at, duration, trace_parent, .. } = decision;
        let mut span = SpanBuilder::from_name(operation.name())
            .with_kind(SpanKind::Server)
            .with_start_time(*at)
            .with_attributes([
                KeyValue::new("http.route", route.path()),
                KeyValue::new("mqtt_gate.verdict", code.verdict()),
                KeyValue::new("mqtt_gate.reason", code.reason()),
                KeyValue::new("mqtt_gate.policy_name", policy.name.as_str()),
                KeyValue::new("mqtt_gate.policy", policy.digest.to_string()),
                KeyValue::new("mqtt_gate.generation", i64::try_from(policy.generation).unwrap_or(i64::MAX)),
            ])
            .start_with_context(&self.tracer, &parent(trace_parent.as_deref()));
        if code.is_error() {
            span.set_status(Status::error(code.reason()));
        }
        span.end_with_timestamp(*at + *duration);
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        let _ = self.provider.shutdown_with_timeout(EXPORT_TIMEOUT);
    }
}

/// The span that the header `traceparent` names.
fn parent(trace_parent: Option<&str>) -> Context {
    let carrier: HashMap<_, _> =
        trace_parent.map(|header| ("traceparent".to_owned(), header.to_owned())).into_iter().collect();
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}

/// Sends batches, and logs the first failure after a success.
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
            let hint = "check traces.endpoint and the collector; logins are not affected";
            tracing::warn!(error = sanitize::error_chain(error), hint, "traces cannot be sent");
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

/// A blocking HTTP client. The batch processor calls it on its own thread.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(EXPORT_TIMEOUT)).http_status_as_error(false);
        Self(config.build().into())
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let response = self.0.run(Request::from_parts(head, &body[..]))?;
        let (head, body) = response.into_parts();
        let body = body.into_with_config().limit(MAX_RESPONSE).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_of_plain_http() {
        let start = |endpoint: &str| {
            let config = TracesConfig { endpoint: Some(endpoint.to_owned()), ..TracesConfig::default() };
            Traces::start(&config).map(|traces| traces.is_some())
        };
        assert!(matches!(start("http://127.0.0.1:4318/v1/traces"), Ok(true)));
        for endpoint in ["https://127.0.0.1:4318", "http://no address", "127.0.0.1:4318", ""] {
            assert!(start(endpoint).is_err(), "{endpoint}");
        }
        assert!(Traces::start(&TracesConfig::default()).unwrap().is_none());
    }
}
