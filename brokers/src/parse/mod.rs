//! From an HTTP request to its fields.

pub(crate) mod fields;
pub(crate) mod json;
pub(crate) mod request;
