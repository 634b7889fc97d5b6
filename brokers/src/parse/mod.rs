//! From an HTTP request to its fields, and from fields to what they say of a client and of topics.

pub(crate) mod client;
pub(crate) mod fields;
mod json;
pub(crate) mod request;
pub(crate) mod topic;
