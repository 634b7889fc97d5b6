//! The dialects of brokers: what each is told, in process and by real brokers.

mod acl;
mod emqx_caches;
mod emqx_denials;
mod emqx_load;
mod emqx_revocation;
mod external;
mod grants;
