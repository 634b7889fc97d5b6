//! Tests with Envoy, Node (jco) and real brokers.

mod brokers;
mod conformance;
mod envoy_config;
mod envoy_http;
mod envoy_mqtt;
mod jco;
