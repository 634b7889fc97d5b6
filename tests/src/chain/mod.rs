//! Several policies: a chain of them, tenants, and changes of both while the gate serves.

mod config_file;
mod members;
mod monitor;
mod tenants;
mod under_load;
mod whole;
