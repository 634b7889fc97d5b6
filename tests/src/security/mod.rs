//! What protects a listener: TLS, the secret of brokers, and the credentials behind them.

mod broker_secret;
pub(crate) mod credential_status;
mod secrets_config;
mod tls;
mod tls_config;
