pub(crate) mod dashboard;
pub(crate) mod metrics;
