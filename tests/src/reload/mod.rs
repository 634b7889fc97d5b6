pub(crate) mod last_known_good;
pub(crate) mod rejected_policies;
pub(crate) mod swap;
pub(crate) mod swap_under_load;
