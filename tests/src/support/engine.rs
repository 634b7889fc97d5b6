//! Requests for policies that a test runs by the engine.

use mqtt_gate_engine::Credentials;

/// A login with this client id and nothing else.
pub(crate) fn credentials(client_id: &str) -> Credentials {
    Credentials {
        client_id: client_id.to_owned(),
        username: None,
        password: None,
        authentication_method: None,
        authentication_data: None,
        peer_host: None,
        attributes: Vec::new(),
    }
}
