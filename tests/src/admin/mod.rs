//! The admin address: access, probes, status, metrics and the dashboard.

mod auth;
mod dashboard;
mod external;
mod hosts;
mod listener;
mod metrics;
mod status;
