//! The dialects: how each kind of broker asks, and how it reads replies. No dialect imports another.

pub(crate) mod emqx;
mod emqx_acl;
pub(crate) mod http_status;
pub(crate) mod mosquitto;
pub(crate) mod rabbitmq;
pub(crate) mod vernemq;

/// The kinds of replies that brokers read. No reply is right for two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    HttpStatus,
    Emqx,
    Rabbitmq,
    Mosquitto,
    Vernemq,
}

impl Dialect {
    /// The prefix of the extensions that a grant has for this kind of broker.
    pub(crate) const fn extension_prefix(self) -> &'static str {
        match self {
            Self::HttpStatus => "http/",
            Self::Emqx => "emqx/",
            Self::Rabbitmq => "rabbitmq/",
            Self::Mosquitto => "mosquitto/",
            Self::Vernemq => "vernemq/",
        }
    }
}
