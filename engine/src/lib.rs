//! Runs mqtt-gate policies anywhere: the sandbox, the instance pool, preflight and reload.

pub mod limits;
pub mod policy;
pub mod reload;
pub mod settings;
pub mod util;
