//! The login request that the load sends.

use anyhow::Result;
use auth_core::Settings;

const CLIENT_ID: &str = "GID_test@@@AA_BB_CC_DD_EE_FF@@@6e7d3c2a";
const USERNAME: &str = "eyJpcCI6IjEyNy4wLjAuMSJ9";

/// A login with valid credentials, and the same login with a wrong password.
pub(crate) struct Login {
    request: Vec<u8>,
    /// Valid logins of other tenants.
    other_requests: Vec<Vec<u8>>,
    forged_request: Vec<u8>,
}

/// Numbers that look random and are the same in each run.
pub(crate) struct Draws(u64);

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

    /// Builds a login at each of the tenants 1 to `count`, signed by the tenant's own key.
    pub(crate) fn of_tenants(count: usize) -> Result<Self> {
        let mut login = Self::of_tenant(1)?;
        for number in 2..=count {
            login.other_requests.push(Self::of_tenant(number)?.request);
        }
        Ok(login)
    }

    fn of_tenant(number: usize) -> Result<Self> {
        Self::signed_by(&numbered_key(number), &format!("/t/{}/mqtt/auth", tenant_name(number)))
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
        Ok(Self { request: request(settings.sign(CLIENT_ID, USERNAME)), other_requests: Vec::new(), forged_request })
    }

    /// Returns `count` copies of the valid request, pipelined.
    pub(crate) fn requests(&self, count: usize) -> Vec<u8> {
        self.request.repeat(count)
    }

    /// Returns `count` valid requests, pipelined. Each is that of a drawn tenant.
    pub(crate) fn drawn_requests(&self, count: usize, draws: &mut Draws) -> Vec<u8> {
        if self.other_requests.is_empty() {
            return self.requests(count);
        }
        let mut requests = Vec::with_capacity(self.request.len() * count);
        for _ in 0..count {
            let drawn = draws.below(self.other_requests.len() + 1);
            requests.extend_from_slice(self.other_requests.get(drawn).unwrap_or(&self.request));
        }
        requests
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

/// Returns the name of a tenant.
pub(crate) fn tenant_name(number: usize) -> String {
    format!("tenant-{number}")
}

impl Draws {
    /// Creates numbers that differ from those of another seed.
    pub(crate) fn new(seed: usize) -> Self {
        Self(u64::try_from(seed).unwrap_or_default())
    }

    /// Draws a number below `bound` (SplitMix64).
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(bound.max(1)).unwrap_or(u64::MAX)).unwrap_or_default()
    }
}

/// Returns the signing key with this number.
pub(crate) fn numbered_key(number: usize) -> String {
    format!("a key of the bench, of 32 bytes {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_the_logins_of_all_tenants() {
        let login = Login::of_tenants(3).unwrap();
        let requests = String::from_utf8(login.drawn_requests(60, &mut Draws::new(1))).unwrap();
        let count = |number| requests.matches(&format!("POST /t/{}/mqtt/auth ", tenant_name(number))).count();
        assert_eq!(count(1) + count(2) + count(3), 60);
        assert!((1..=3).all(|number| count(number) > 10));
    }
}
