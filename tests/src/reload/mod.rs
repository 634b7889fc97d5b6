//! Reloads: which changes of the policy file and of setting files take effect, and which are rejected.

mod automatic_return;
mod bombs;
mod compiling;
mod last_known_good;
mod parts;
mod rejected_policies;
mod setting_files;
mod startup;
mod swap;
mod swap_under_load;
