pub(crate) mod compose;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod swap;
pub(crate) mod verbs;
