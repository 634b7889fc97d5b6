//! A client of a running gate's admin address.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use mqtt_gate::config::{self, Config};
use mqtt_gate::status_response::{StatusResponse, TenantStatus};
use serde_json::value::RawValue;
use ureq::Agent;
use ureq::http::StatusCode;
use zeroize::Zeroizing;

use super::error::CliError;
use super::tls_args::{TlsArgs, is_tls_error};

/// Environment variable with the token of the admin address.
const TOKEN_VARIABLE: &str = "MQTT_GATE_ADMIN_TOKEN";

/// Timeout of a request. A gate answers `/status` at once, also under load.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest status that is read, far more than a gate sends.
const MAX_STATUS: u64 = 4 << 20;

/// Flags of verbs that call a running gate.
#[derive(Args)]
pub(crate) struct ClientArgs {
    /// Admin address of the gate [default: that of the configuration, or 127.0.0.1:8004]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Send the token in this file [default: the token in MQTT_GATE_ADMIN_TOKEN, if set]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// A client of one gate.
pub(crate) struct Client {
    agent: Agent,
    url: String,
    authorization: Option<Zeroizing<String>>,
}

/// A gate's `/status`.
pub(crate) struct GateStatus {
    /// The response as the gate sent it.
    pub(crate) json: Box<RawValue>,
    /// The fields that this version knows.
    pub(crate) response: StatusResponse,
}

/// A request that did not return a status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot reach {url}; check that the gate is running and that --admin is its admin address")]
    Unreachable { url: String, source: Box<ureq::Error> },
    #[error("TLS handshake with {url} failed; check --ca, --cert and --key")]
    Tls { url: String, source: Box<ureq::Error> },
    #[error("{url} requires a token; set {TOKEN_VARIABLE} or pass --token-file")]
    TokenRequired { url: String },
    #[error("{url} rejected the token; check {TOKEN_VARIABLE} or --token-file")]
    TokenRejected { url: String },
    #[error("{url} responded with status {status}; it is not the admin address of a gate: check --admin")]
    UnexpectedStatus { url: String, status: u16 },
    #[error("{url} did not return the status of a gate; check --admin")]
    InvalidResponse { url: String, source: serde_json::Error },
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable { .. } => Self::Software(error.into()),
            ClientError::Tls { .. }
            | ClientError::TokenRequired { .. }
            | ClientError::TokenRejected { .. }
            | ClientError::UnexpectedStatus { .. }
            | ClientError::InvalidResponse { .. } => Self::Usage(error.into()),
        }
    }
}

impl ClientArgs {
    /// Creates a client of the gate that the flags name, or else of the one that this configuration describes.
    pub(crate) fn client(&self, config: &Config) -> Result<Client> {
        let url = status_url(&self.admin.clone().unwrap_or_else(|| admin_address(config)))?;
        let agent = Agent::config_builder()
            .tls_config(self.tls.config(url.starts_with("https:"))?)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .http_status_as_error(false)
            // The token must not reach any other server: neither a proxy of the environment nor a redirect target.
            .proxy(None)
            .max_redirects(0)
            .user_agent(concat!("mqtt-gate/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let authorization = self.token()?.map(|token| bearer(&token)).transpose()?;
        Ok(Client { agent, url, authorization })
    }

    fn token(&self) -> Result<Option<Zeroizing<String>>> {
        let Some(file) = &self.token_file else { return Ok(config::env_var(TOKEN_VARIABLE).map(Zeroizing::new)) };
        let text = fs::read_to_string(file).context("--token-file: cannot read this file")?;
        Ok(Some(Zeroizing::new(text)))
    }
}

/// The value of the `authorization` header.
fn bearer(token: &str) -> Result<Zeroizing<String>> {
    let token = token.trim();
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(is_token, "the token is not one word of printable ASCII");
    Ok(Zeroizing::new(format!("Bearer {token}")))
}

/// The admin address of a gate with this configuration, as this machine reaches it.
fn admin_address(config: &Config) -> String {
    let scheme = if config.admin_tls.is_some() { "https" } else { "http" };
    let ip = match config.admin_listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, config.admin_listen.port()))
}

fn status_url(address: &str) -> Result<String> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let rest = rest.trim_end_matches('/');
    let is_address = matches!(scheme, "http" | "https") && !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']);
    // The address is not repeated: text before an `@` may be a password.
    ensure!(is_address, "--admin: not an address such as 127.0.0.1:8004 or https://gate:8004");
    Ok(format!("{scheme}://{rest}/status"))
}

impl Client {
    /// The URL of the status.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Requests the status of the gate.
    pub(crate) fn status(&self) -> Result<GateStatus, ClientError> {
        let body = self.get(&self.url)?;
        GateStatus::parse(&body).map_err(|source| ClientError::InvalidResponse { url: self.url.clone(), source })
    }

    /// Requests the status of a tenant of the gate.
    pub(crate) fn tenant(&self, name: &str) -> Result<TenantStatus, ClientError> {
        let body = self.get(&format!("{}?tenant={name}", self.url))?;
        serde_json::from_slice(&body).map_err(|source| ClientError::InvalidResponse { url: self.url.clone(), source })
    }

    fn get(&self, url: &str) -> Result<Vec<u8>, ClientError> {
        let mut request = self.agent.get(url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.as_str());
        }
        let mut response = request.call().map_err(|error| self.transport_error(error))?;
        self.check_status(response.status())?;
        let body = response.body_mut().with_config().limit(MAX_STATUS).read_to_vec();
        body.map_err(|error| self.transport_error(error))
    }

    fn check_status(&self, status: StatusCode) -> Result<(), ClientError> {
        let url = self.url.clone();
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED if self.authorization.is_none() => Err(ClientError::TokenRequired { url }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ClientError::TokenRejected { url }),
            status => Err(ClientError::UnexpectedStatus { url, status: status.as_u16() }),
        }
    }

    fn transport_error(&self, error: ureq::Error) -> ClientError {
        let (url, is_tls, source) = (self.url.clone(), is_tls_error(&error), Box::new(error));
        if is_tls { ClientError::Tls { url, source } } else { ClientError::Unreachable { url, source } }
    }
}

impl GateStatus {
    fn parse(json: &[u8]) -> serde_json::Result<Self> {
        Ok(Self { response: serde_json::from_slice(json)?, json: serde_json::from_slice(json)? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::exit::Exit;
    use super::*;

    #[test]
    fn addresses_become_status_urls() {
        for (address, url) in [
            ("127.0.0.1:8004", "http://127.0.0.1:8004/status"),
            ("http://[::1]:8004/", "http://[::1]:8004/status"),
            ("https://gate:8004", "https://gate:8004/status"),
        ] {
            assert_eq!(status_url(address).unwrap(), url);
        }
    }

    #[test]
    fn invalid_addresses_are_not_repeated() {
        for address in ["", "http://", "ftp://gate", "user:s3cret@gate:1", "gate:1?s3cret", "gate:1#s3cret", "s3 cret"]
        {
            let error = status_url(address).unwrap_err().to_string();
            assert!(error.starts_with("--admin: not an address") && !error.contains("s3"), "{address}: {error}");
        }
    }

    #[test]
    fn wildcard_addresses_are_called_on_loopback() {
        for (listen, address) in [
            ("0.0.0.0:8004", "http://127.0.0.1:8004"),
            ("[::]:8004", "http://[::1]:8004"),
            ("10.0.0.7:1", "http://10.0.0.7:1"),
        ] {
            let config = Config { admin_listen: listen.parse().unwrap(), ..Config::default() };
            assert_eq!(admin_address(&config), address);
        }
    }

    #[test]
    fn tokens_are_one_word_of_printable_ascii() {
        assert_eq!(*bearer("t0ken\n").unwrap(), "Bearer t0ken");
        for token in ["", " \n", "two words", "line\nbreak", "smörgås"] {
            assert!(bearer(token).is_err(), "{token:?}");
        }
    }

    #[test]
    fn the_response_is_kept_verbatim_and_unknown_fields_are_ignored() {
        let json = r#"{ "policy":{"name":"p","sha256":"00","generation":1}, "new": [1.0] }"#;
        let status = GateStatus::parse(json.as_bytes()).unwrap();
        assert_eq!((status.json.get(), status.response.policy.name.as_str()), (json, "p"));
        assert!(GateStatus::parse(b"{}").is_err() && GateStatus::parse(b"<html>").is_err());
    }

    #[test]
    fn an_unreachable_gate_is_a_fault_and_everything_else_a_mistake() {
        let url = || "http://gate/status".to_owned();
        let unreachable = ClientError::Unreachable { url: url(), source: Box::new(ureq::Error::ConnectionFailed) };
        assert_eq!(CliError::from(unreachable).exit_code(), Exit::Software);
        for error in [
            ClientError::Tls { url: url(), source: Box::new(ureq::Error::Tls("no certificate")) },
            ClientError::TokenRequired { url: url() },
            ClientError::TokenRejected { url: url() },
            ClientError::UnexpectedStatus { url: url(), status: 404 },
        ] {
            assert_eq!(CliError::from(error).exit_code(), Exit::Usage);
        }
    }
}
