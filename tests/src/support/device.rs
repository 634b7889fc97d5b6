//! Who wants in.

use auth_core::signature::Key;
use serde_json::{Value, json};

use crate::support::http::post_json;

/// The key of the gates in these tests.
pub(crate) const KEY: &str = "a key of these tests, 32 bytes..";

/// The user name `{"ip":"127.0.0.1"}`.
pub(crate) const USERNAME: &str = "eyJpcCI6IjEyNy4wLjAuMSJ9";

/// A client with its credentials, good or bad.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) client_id: String,
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Device {
    /// A device whose credentials are signed with [`KEY`].
    pub(crate) fn genuine() -> Self {
        Self::signed_with(KEY)
    }

    pub(crate) fn signed_with(key: &str) -> Self {
        Self::with(key, "GID_test@@@AA_BB_CC_DD_EE_FF@@@6e7d3c2a-8b1f-4f0e-9c55-0a1b2c3d4e5f")
    }

    /// A device of this name whose credentials are signed with [`KEY`].
    pub(crate) fn genuine_with_id(client_id: &str) -> Self {
        Self::with(KEY, client_id)
    }

    fn with(key: &str, client_id: &str) -> Self {
        let password = Key::new(None, key.as_bytes()).sign(client_id, USERNAME);
        Self { client_id: client_id.into(), username: USERNAME.into(), password }
    }

    /// A client that has nothing but a name.
    pub(crate) fn named(client_id: &str) -> Self {
        Self { client_id: client_id.into(), username: String::new(), password: String::new() }
    }

    /// A client that makes the misbehaving policy misbehave.
    pub(crate) fn causing(misbehaviour: &str) -> Self {
        Self { client_id: "c".into(), username: misbehaviour.into(), password: String::new() }
    }

    pub(crate) fn body(&self) -> Value {
        json!({ "client_id": self.client_id, "username": self.username, "password": self.password })
    }

    pub(crate) fn request(&self) -> Vec<u8> {
        self.request_to("/mqtt/auth")
    }

    pub(crate) fn request_to(&self, target: &str) -> Vec<u8> {
        post_json(target, &self.body())
    }
}
