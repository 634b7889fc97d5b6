//! Settings of a policy from environment variables, for hosts without a usable `wasi:config/store`.
//!
//! The variable `MQTT_GATE_SIGNATURE_KEYS` is the setting `signature-keys`: the prefix `MQTT_GATE_` is removed, letters
//! become lower case and `_` becomes `-`. The policy cannot see any other variable.

use bindings::exports::wasi::config::store::{Error, Guest};
use bindings::wasi::cli::environment;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "settings-from-env", generate_all });
}

/// The prefix of the variables.
const PREFIX: &str = "MQTT_GATE_";

/// The settings as a component.
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
    environment::get_environment().into_iter().filter_map(|(variable, value)| Some((setting_name(&variable)?, value)))
}

/// Returns the name of the setting in a variable, if there is one. Each setting has exactly one variable, so none can
/// occur twice.
fn setting_name(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(PREFIX)?;
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (!name.is_empty() && name.bytes().all(is_allowed)).then(|| name.to_ascii_lowercase().replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::setting_name;

    #[test]
    fn maps_each_variable_to_at_most_one_setting() {
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
            assert_eq!(setting_name(variable).as_deref(), name, "{variable}");
        }
    }
}
