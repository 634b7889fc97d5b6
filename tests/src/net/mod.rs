pub(crate) mod connections;
pub(crate) mod restart;
pub(crate) mod systemd_notify;
