//! Tests that need a browser or Python.

mod dashboard;
mod metrics_parser;
