pub(crate) mod access;
pub(crate) mod credential_expiry;
pub(crate) mod tls;
