//! Policies: the verdicts of the ones that are shipped, and the limits of what any policy can do.

mod default_policy;
mod denials;
mod embedding;
mod golden;

mod instances;
mod jwt;
mod lockdown;
mod sandbox;
mod small_machines;
