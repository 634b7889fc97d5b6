pub(crate) mod conformance;
pub(crate) mod envoy_http;
pub(crate) mod envoy_mqtt;
pub(crate) mod wasi_http;
