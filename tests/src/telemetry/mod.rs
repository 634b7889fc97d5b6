pub(crate) mod config_warnings;
pub(crate) mod decision_log;
pub(crate) mod traces;
