pub(crate) mod external;
