pub(crate) mod emqx;
pub(crate) mod external;
pub(crate) mod grants;
