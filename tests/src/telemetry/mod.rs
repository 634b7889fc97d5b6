//! What the gate reports: the log, the decision log, traces and warnings about the configuration of brokers.

mod config_warnings;
mod decision_log;
mod decision_log_config;
mod log;
mod traces;
