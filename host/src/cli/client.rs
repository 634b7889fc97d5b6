//! Asking a gate that runs, on its admin address.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use mqtt_gate::config::{self, Config};
use ureq::Agent;
use ureq::http::StatusCode;
use zeroize::Zeroizing;

use super::exit::Exit;
use super::state::State;
use super::trust::{self, Trust};

/// The variable that holds the token of the admin address.
const TOKEN_VARIABLE: &str = "MQTT_GATE_ADMIN_TOKEN";

/// How long an answer may take. A gate that is in trouble answers this at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// A longer status is none.
const MOST: u64 = 4 << 20;

/// Which gate to ask, and with which right.
#[derive(Args)]
pub(crate) struct AdminArgs {
    /// The admin address of the gate [default: that of the configuration, or 127.0.0.1:8004]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Show the token in this file [default: the one in MQTT_GATE_ADMIN_TOKEN, if it is set]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
}

/// A gate that runs, as its operator reaches it.
pub(crate) struct Admin {
    agent: Agent,
    url: String,
    bearer: Option<Zeroizing<String>>,
}

/// Why a gate does not tell its state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// Nobody is there, or does not answer.
    #[error("{url} does not answer; is the gate running, and is this its admin address (--admin)?")]
    Silent { url: String, source: Box<ureq::Error> },
    /// The two do not trust each other.
    #[error("{url} and this command do not trust each other; see --ca, --cert and --key")]
    Distrust { url: String, source: Box<ureq::Error> },
    /// It wants to know who asks.
    #[error("{url} asks for a token: set {TOKEN_VARIABLE}, or give --token-file")]
    NoToken { url: String },
    /// It knows another token.
    #[error("{url} does not take this token")]
    WrongToken { url: String },
    /// Somebody else answers.
    #[error("{url} answers with status {status}: this is not the admin address of a gate")]
    Status { url: String, status: u16 },
    /// Somebody else answers.
    #[error("what {url} answers is not the state of a gate: is this its admin address?")]
    NotAState { url: String, source: serde_json::Error },
}

impl AdminError {
    pub(crate) fn exit(&self) -> Exit {
        if matches!(self, Self::Silent { .. }) { Exit::Fault } else { Exit::Operator }
    }
}

impl AdminArgs {
    /// The gate that these flags mean, or else the one of this configuration.
    pub(crate) fn admin(&self, config: Option<&Config>) -> Result<Admin> {
        let default = || {
            let config = config.cloned().unwrap_or_default();
            let scheme = if config.admin_tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{}", reachable(config.admin_listen))
        };
        let address = self.admin.clone().unwrap_or_else(default);
        let url = status_url(&address)?;
        let agent = Agent::config_builder()
            .tls_config(self.trust.config(url.starts_with("https:"))?)
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            // The gate is asked itself, whatever proxy the environment names, and nobody it might point to.
            .proxy(None)
            .max_redirects(0)
            .user_agent(concat!("mqtt-gate/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Admin { agent, url, bearer: self.token()?.map(bearer).transpose()? })
    }

    fn token(&self) -> Result<Option<Zeroizing<String>>> {
        let Some(file) = &self.token_file else { return Ok(config::variable(TOKEN_VARIABLE).map(Zeroizing::new)) };
        let text = fs::read_to_string(file).context("--token-file: cannot read this file")?;
        Ok(Some(Zeroizing::new(text)))
    }
}

fn bearer(token: Zeroizing<String>) -> Result<Zeroizing<String>> {
    let token = token.trim();
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(is_token, "the token is not one word of printable ASCII");
    Ok(Zeroizing::new(format!("Bearer {token}")))
}

/// Where a listener can be asked from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(host, listen.port())
}

fn status_url(address: &str) -> Result<String> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let rest = rest.trim_end_matches('/');
    let is_address = matches!(scheme, "http" | "https") && !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']);
    // Not repeated: what stands before an `@` is a password.
    ensure!(is_address, "--admin: not an address such as 127.0.0.1:8004 or https://gate:8004");
    Ok(format!("{scheme}://{rest}/status"))
}

impl Admin {
    /// Where it is asked.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What it says of itself now.
    pub(crate) fn state(&self) -> Result<State, AdminError> {
        let url = || self.url.clone();
        let silent = |source: ureq::Error| {
            let (url, is_about_trust) = (url(), trust::is_at_fault(&source));
            let source = Box::new(source);
            if is_about_trust { AdminError::Distrust { url, source } } else { AdminError::Silent { url, source } }
        };
        let mut request = self.agent.get(&self.url);
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", bearer.as_str());
        }
        let mut response = request.call().map_err(silent)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED if self.bearer.is_none() => return Err(AdminError::NoToken { url: url() }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(AdminError::WrongToken { url: url() }),
            status => return Err(AdminError::Status { url: url(), status: status.as_u16() }),
        }
        let body = response.body_mut().with_config().limit(MOST).read_to_vec().map_err(silent)?;
        State::read(&body).map_err(|source| AdminError::NotAState { url: url(), source })
    }
}
