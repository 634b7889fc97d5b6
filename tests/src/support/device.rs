//! MQTT clients and their credentials.

use auth_core::signature::Key;
use serde_json::{Value, json};

use crate::support::http::post_json;

/// The signature key of every gate in these tests.
pub(crate) const KEY: &str = "a key of these tests, 32 bytes..";

/// The user name `{"ip":"127.0.0.1"}` in base64.
pub(crate) const USERNAME: &str = "eyJpcCI6IjEyNy4wLjAuMSJ9";

/// A password of the right form that no key has signed.
pub(crate) fn forged_password() -> String {
    "A".repeat(43) + "="
}

/// A client with valid or invalid credentials.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) client_id: String,
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Device {
    /// A device with credentials signed by [`KEY`].
    pub(crate) fn valid() -> Self {
        Self::signed_with(KEY)
    }

    /// The same device with a forged password.
    pub(crate) fn forged() -> Self {
        Self { password: forged_password(), ..Self::valid() }
    }

    pub(crate) fn signed_with(key: &str) -> Self {
        Self::with(key, "GID_test@@@AA_BB_CC_DD_EE_FF@@@6e7d3c2a-8b1f-4f0e-9c55-0a1b2c3d4e5f")
    }

    /// A device of this client id with credentials signed by [`KEY`].
    pub(crate) fn valid_with_id(client_id: &str) -> Self {
        Self::with(KEY, client_id)
    }

    fn with(key: &str, client_id: &str) -> Self {
        let password = Key::new(None, key.as_bytes()).sign(client_id, USERNAME);
        Self { client_id: client_id.into(), username: USERNAME.into(), password }
    }

    /// A client that has a client id and neither user name nor password.
    pub(crate) fn unsigned(client_id: &str) -> Self {
        Self { client_id: client_id.into(), username: String::new(), password: String::new() }
    }

    /// A client whose user name selects a behaviour of the misbehaving policy (`tests/misbehaving`).
    pub(crate) fn triggering(behaviour: &str) -> Self {
        Self { client_id: "c".into(), username: behaviour.into(), password: String::new() }
    }

    pub(crate) fn body(&self) -> Value {
        json!({ "client_id": self.client_id, "username": self.username, "password": self.password })
    }

    /// A login by `/mqtt/auth`.
    pub(crate) fn request(&self) -> Vec<u8> {
        self.request_to("/mqtt/auth")
    }

    pub(crate) fn request_to(&self, target: &str) -> Vec<u8> {
        post_json(target, &self.body())
    }

    /// The fields of an authorization request, named as EMQX names them.
    pub(crate) fn acl_body(&self, action: &str, topic: &str) -> Value {
        json!({ "clientid": self.client_id, "username": self.username, "peerhost": "127.0.0.1",
                "topic": topic, "action": action, "qos": "1", "retain": "false" })
    }
}
