//! Gives a policy its settings from the environment, for hosts that have no `wasi:config/store`, or a poor one.
//!
//! `MQTT_GATE_SIGNATURE_KEYS` is the setting `signature-keys`: what follows `MQTT_GATE_`, in lower case, with `-` for `_`.
//! No other variable is a setting, and the policy sees nothing of them.

use bindings::exports::wasi::config::store::{Error, Guest};
use bindings::wasi::cli::environment;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "settings-from-env", generate_all });
}

/// What the names of the variables begin with.
const PREFIX: &str = "MQTT_GATE_";

/// The settings, as a component exports them.
pub struct SettingsFromEnv;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated from wit/")]
mod exports {
    use super::{SettingsFromEnv, bindings};

    bindings::export!(SettingsFromEnv with_types_in bindings);
}

impl Guest for SettingsFromEnv {
    fn get(name: String) -> Result<Option<String>, Error> {
        Ok(settings().find(|(known, _)| *known == name).map(|(_, value)| value))
    }

    fn get_all() -> Result<Vec<(String, String)>, Error> {
        Ok(settings().collect())
    }
}

fn settings() -> impl Iterator<Item = (String, String)> {
    environment::get_environment().into_iter().filter_map(|(variable, value)| Some((setting(&variable)?, value)))
}

/// The setting that a variable stands for. One spelling each, so that none is there twice.
fn setting(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(PREFIX)?;
    let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (!name.is_empty() && name.bytes().all(is_plain)).then(|| name.to_ascii_lowercase().replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::setting;

    #[test]
    fn a_variable_is_one_setting_or_none() {
        for (variable, name) in [
            ("MQTT_GATE_SIGNATURE_KEYS", Some("signature-keys")),
            ("MQTT_GATE_GROUPS", Some("groups")),
            ("MQTT_GATE_X2", Some("x2")),
            ("MQTT_GATE_", None),
            ("MQTT_GATE_Groups", None),
            ("MQTT_GATE_SIGNATURE-KEYS", None),
            ("MQTT_SIGNATURE_KEY", None),
            ("XMQTT_GATE_GROUPS", None),
            ("", None),
        ] {
            assert_eq!(setting(variable).as_deref(), name, "{variable}");
        }
    }
}
