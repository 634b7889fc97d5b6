//! Policies: the verdicts of the ones that are shipped, and the limits of what any policy can do.

mod default_policy;
mod lockdown;
mod sandbox;
