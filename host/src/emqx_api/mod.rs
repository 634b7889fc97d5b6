//! The management API of EMQX: resets its caches, lists clients, disconnects clients and bans them.
//!
//! EMQX 6.2 and newer keep every response of the gate for a minute. Without a reset, a swap reaches a device that logged in
//! just before only after that time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine};
use mqtt_gate_engine::SecretSource;
use mqtt_gate_engine::util::file::read_file;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::config::{BrokerConfig, Config};

mod blocked;
pub(crate) mod cache_reset;
mod clients;
mod error;
pub(crate) mod revocation;

pub use cache_reset::NODE_CACHE_HINT;
pub use error::{ApiConfigError, ApiError};

/// EMQX answers these calls in milliseconds (2 ms for a reset, measured on 6.2.2). A cluster may take longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest response that is read, far more than EMQX sends.
const MAX_RESPONSE: u64 = 64 << 10;

/// The management API of one EMQX node. It acts on the whole cluster.
pub struct EmqxApi {
    agent: Agent,
    url: String,
    key: SecretSource,
    secret: SecretSource,
}

/// The node caches of EMQX, which keep responses of the gate. `None`: this EMQX has no such cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCaches {
    /// Whether responses about logins are kept.
    pub authentication: Option<bool>,
    /// Whether responses about topics are kept.
    pub authorization: Option<bool>,
}

impl NodeCaches {
    /// Names of the caches that are on.
    #[must_use]
    pub fn enabled(&self) -> Vec<&'static str> {
        let caches = [("authentication", self.authentication), ("authorization", self.authorization)];
        caches.into_iter().filter(|(_, is_on)| *is_on == Some(true)).map(|(name, _)| name).collect()
    }
}

/// The brokers of the configuration that have an API. Opens no connection.
///
/// # Errors
/// The certificates that an API is verified with cannot be read.
pub fn broker_apis(config: &Config) -> Result<Vec<(&BrokerConfig, EmqxApi)>, ApiConfigError> {
    let apis = config.broker.iter().filter_map(|broker| EmqxApi::of(broker).transpose().map(|api| Ok((broker, api?))));
    apis.collect()
}

impl EmqxApi {
    /// The API of this broker, if the configuration names one. Opens no connection.
    ///
    /// # Errors
    /// The certificates to trust cannot be read.
    fn of(broker: &BrokerConfig) -> Result<Option<Self>, ApiConfigError> {
        let (Some(url), Some(key), Some(secret)) = (&broker.api, &broker.api_key, &broker.api_secret) else {
            return Ok(None);
        };
        let trusted = broker.api_ca.as_deref().map(read_certificates).transpose()?.unwrap_or_default();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&trusted))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .http_status_as_error(false)
            // The key must not reach any other server: neither a proxy of the environment nor a redirect target.
            .proxy(None)
            .max_redirects(0)
            // Calls are minutes apart. EMQX has closed the connection by then.
            .max_idle_connections(0)
            .user_agent(concat!("mqtt-gate/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Some(Self { agent, url: url.clone(), key: key.clone(), secret: secret.clone() }))
    }

    /// Base URL of the API. It contains no secret.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Resets both node caches and then the caches of all sessions.
    ///
    /// The order matters: a session fills its cache from the node cache (measured on EMQX 6.2.2).
    ///
    /// # Errors
    /// EMQX could not be reached, or did not reset a cache.
    pub fn reset_caches(&self) -> Result<(), ApiError> {
        for cache in ["authentication", "authorization"] {
            let response = self.post(&format!("/{cache}/node_cache/reset"), None)?;
            // EMQX before 5.9 has no node caches.
            expect_success(&response, &[StatusCode::NOT_FOUND])?;
        }
        expect_success(&self.delete("/authorization/cache")?, &[])
    }

    /// Asks which node caches are on.
    ///
    /// # Errors
    /// EMQX could not be reached, or its response cannot be read.
    pub fn node_caches(&self) -> Result<NodeCaches, ApiError> {
        Ok(NodeCaches {
            authentication: self.get_flag("/authentication/settings", "/node_cache/enable")?,
            authorization: self.get_flag("/authorization/node_cache", "/enable")?,
        })
    }

    /// Disconnects a client. Returns whether it was connected.
    ///
    /// # Errors
    /// EMQX could not be reached, or did not disconnect the client.
    pub fn kick(&self, client_id: &str) -> Result<bool, ApiError> {
        let response = self.delete(&format!("/clients/{}", path_segment(client_id)))?;
        expect_success(&response, &[StatusCode::NOT_FOUND])?;
        Ok(response.status() != StatusCode::NOT_FOUND)
    }

    /// Refuses logins of a client until a time, and ends its session. Returns `false` if the client is banned already: that
    /// ban stays, because it may be for longer.
    ///
    /// # Errors
    /// EMQX could not be reached, or did not ban the client.
    pub fn ban(&self, client_id: &str, until: SystemTime, reason: &str) -> Result<bool, ApiError> {
        let until = humantime::format_rfc3339_seconds(until).to_string();
        let ban = json!({ "as": "clientid", "who": client_id, "by": "mqtt-gate", "reason": reason, "until": until });
        let mut response = self.post("/banned", Some(&ban))?;
        if response.status() == StatusCode::BAD_REQUEST {
            let code =
                read_json::<Value>(&mut response, MAX_RESPONSE)?.get("code").and_then(Value::as_str).map(str::to_owned);
            if code.as_deref() == Some("ALREADY_EXISTS") {
                return Ok(false);
            }
        }
        expect_success(&response, &[]).map(|()| true)
    }

    /// Reads a boolean of a response. `None`: EMQX does not know the path.
    fn get_flag(&self, path: &str, pointer: &str) -> Result<Option<bool>, ApiError> {
        let mut response = self.get(path)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        expect_success(&response, &[])?;
        let body: Value = read_json(&mut response, MAX_RESPONSE)?;
        body.pointer(pointer).and_then(Value::as_bool).map(Some).ok_or(ApiError::Response)
    }

    fn get(&self, path: &str) -> Result<Response<Body>, ApiError> {
        Ok(self.agent.get(self.endpoint(path)).header("authorization", self.authorization()?.as_str()).call()?)
    }

    fn post(&self, path: &str, body: Option<&Value>) -> Result<Response<Body>, ApiError> {
        let request = self.agent.post(self.endpoint(path)).header("authorization", self.authorization()?.as_str());
        Ok(match body {
            Some(body) => request.header("content-type", "application/json").send(body.to_string())?,
            None => request.send_empty()?,
        })
    }

    fn delete(&self, path: &str) -> Result<Response<Body>, ApiError> {
        Ok(self.agent.delete(self.endpoint(path)).header("authorization", self.authorization()?.as_str()).call()?)
    }

    fn endpoint(&self, path: &str) -> String {
        format!("{}/api/v5{path}", self.url)
    }

    /// The header of HTTP Basic authentication. Files are read for each call, so that a key can be rotated.
    fn authorization(&self) -> Result<Zeroizing<String>, ApiError> {
        let key = read_word("broker.api_key", &self.key)?;
        let secret = read_word("broker.api_secret", &self.secret)?;
        let credentials = Zeroizing::new(format!("{}:{}", *key, *secret));
        Ok(Zeroizing::new(format!("Basic {}", *Zeroizing::new(BASE64_STANDARD.encode(credentials.as_bytes())))))
    }
}

fn read_json<T: DeserializeOwned>(response: &mut Response<Body>, max_len: u64) -> Result<T, ApiError> {
    let body = response.body_mut().with_config().limit(max_len).read_to_vec()?;
    serde_json::from_slice(&body).map_err(|_| ApiError::Response)
}

/// Accepts 2xx and the statuses in `others`.
fn expect_success(response: &Response<Body>, others: &[StatusCode]) -> Result<(), ApiError> {
    match response.status() {
        status if status.is_success() || others.contains(&status) => Ok(()),
        StatusCode::UNAUTHORIZED => Err(ApiError::Unauthorized),
        StatusCode::FORBIDDEN => Err(ApiError::Forbidden),
        status => Err(ApiError::Status(status.as_u16())),
    }
}

fn read_word(name: &'static str, source: &SecretSource) -> Result<Zeroizing<String>, ApiError> {
    let bytes = match source.file() {
        Some(path) => read_file(path).map_err(|error| ApiError::Credential(name, error))?,
        None => source.value().unwrap_or_default().as_bytes().to_vec(),
    };
    let bytes = Zeroizing::new(bytes);
    let word = str::from_utf8(&bytes).unwrap_or_default().trim();
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    if is_word { Ok(Zeroizing::new(word.to_owned())) } else { Err(ApiError::NotAWord(name)) }
}

/// A client id as one segment of a path: it may hold `/`, `?` and any other character.
fn path_segment(client_id: &str) -> String {
    utf8_percent_encode(client_id, NON_ALPHANUMERIC).to_string()
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>, ApiConfigError> {
    let pem = read_file(path).map_err(|error| ApiConfigError::Read(path.to_owned(), error))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() { Err(ApiConfigError::NoCertificate(path.to_owned())) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_is_one_segment_of_a_path() {
        assert_eq!(path_segment("GID_a@@@b/c?d%e..ü"), "GID%5Fa%40%40%40b%2Fc%3Fd%25e%2E%2E%C3%BC");
    }

    #[test]
    fn only_caches_that_are_on_are_named() {
        let caches = |authentication, authorization| NodeCaches { authentication, authorization }.enabled();
        assert_eq!(caches(None, None), [""; 0]);
        assert_eq!(caches(Some(false), Some(true)), ["authorization"]);
        assert_eq!(caches(Some(true), Some(true)), ["authentication", "authorization"]);
    }

    #[test]
    fn credentials_are_words_and_are_never_shown() {
        let word = |text: &str| read_word("broker.api_key", &SecretSource::inline(text.to_owned()));
        assert_eq!(*word(" k3y\n").unwrap(), "k3y");
        for odd in ["", "s3 cret", "s3\u{fc}cret"] {
            let error = word(odd).unwrap_err().to_string();
            assert_eq!(error, "broker.api_key is not one word of printable ASCII");
        }
    }
}
