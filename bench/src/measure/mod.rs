//! The measurements. Each of them produces a section of the report.

pub(crate) mod chains;
pub(crate) mod comparison;
pub(crate) mod curves;
pub(crate) mod external_tools;
pub(crate) mod features;
pub(crate) mod latency;
pub(crate) mod mqtt_connections;
pub(crate) mod proxies;
pub(crate) mod reconnect_storm;
pub(crate) mod run;
pub(crate) mod summary;
pub(crate) mod swaps;
pub(crate) mod tenants;
pub(crate) mod tls;
pub(crate) mod variants;
