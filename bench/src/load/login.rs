//! The login request that the load sends.

use anyhow::Result;
use auth_core::Settings;

const CLIENT_ID: &str = "GID_test@@@AA_BB_CC_DD_EE_FF@@@6e7d3c2a";
const USERNAME: &str = "eyJpcCI6IjEyNy4wLjAuMSJ9";

/// A login with valid credentials, and the same login with a wrong password.
pub(crate) struct Login {
    request: Vec<u8>,
    forged_request: Vec<u8>,
}

impl Login {
    /// Builds a login for `/mqtt/auth`, signed by the last key of a ring of `keys` keys.
    ///
    /// The last key is the most expensive one: the policy tries every other key before it.
    pub(crate) fn new(keys: usize) -> Result<Self> {
        Self::for_path(keys, "/mqtt/auth")
    }

    /// Builds the same login for another request path.
    pub(crate) fn for_path(keys: usize, path: &str) -> Result<Self> {
        Self::signed_by(&numbered_key(keys), path)
    }

    /// Builds a login for another request path, signed by this key.
    pub(crate) fn signed_by(key: &str, path: &str) -> Result<Self> {
        let settings = Settings::read(|name| (name == "signature-keys").then(|| key.to_owned()))?;
        let request = |password: String| {
            let body = serde_json::json!({ "client_id": CLIENT_ID, "username": USERNAME, "password": password });
            let (body, head) = (body.to_string(), "host: gate\r\ncontent-type: application/json");
            let length = body.len();
            format!("POST {path} HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
        };
        let forged_request = request(settings.sign("another client", USERNAME));
        Ok(Self { request: request(settings.sign(CLIENT_ID, USERNAME)), forged_request })
    }

    /// Returns `count` copies of the valid request, pipelined.
    pub(crate) fn requests(&self, count: usize) -> Vec<u8> {
        self.request.repeat(count)
    }

    /// Returns the request with the password of another client.
    pub(crate) fn forged_request(&self) -> &[u8] {
        &self.forged_request
    }

    /// Returns the body of the valid request.
    pub(crate) fn body(&self) -> &[u8] {
        body(&self.request)
    }

    /// Returns the body of the request with the password of another client.
    pub(crate) fn forged_body(&self) -> &[u8] {
        body(&self.forged_request)
    }
}

fn body(request: &[u8]) -> &[u8] {
    let start = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |end| end + 4);
    request.get(start..).unwrap_or_default()
}

/// Returns the setting `signature-keys` for a ring of `keys` keys.
///
/// A ring of one key is written as the bare key, which is the usual form.
pub(crate) fn key_ring(keys: usize) -> String {
    if keys == 1 {
        return numbered_key(1);
    }
    let ring: Vec<_> = (1..=keys)
        .map(|number| serde_json::json!({ "id": format!("k{number}"), "key": numbered_key(number) }))
        .collect();
    serde_json::Value::from(ring).to_string()
}

fn numbered_key(number: usize) -> String {
    format!("a key of the bench, of 32 bytes {number}")
}
