//! `mqtt-gate mint`

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use auth_core::identity::DeviceId;
use base64::prelude::{BASE64_STANDARD, Engine};
use clap::Args;
use mqtt_gate::config::{Config, ConfigError, KEY_SETTING, KEY_VARIABLE};
use mqtt_gate_engine::SettingSources;
use zeroize::Zeroizing;

use super::error::CliError;
use super::exit::Exit;
use super::output;

/// Flags of `mint`. The key is never a flag: other users of the machine can read command lines.
#[derive(Args)]
#[command(after_help = "Examples:
  MQTT_SIGNATURE_KEY=… mqtt-gate mint --mac AA_BB_CC_DD_EE_FF
  mqtt-gate mint --key-file /run/secrets/mqtt_key --count 1000 > devices.jsonl
  mqtt-gate mint | mqtt-gate eval policy.wasm

Exit codes:
  0   printed one line of JSON for each credential
  64  there is no key, or a field of the client id is not valid")]
pub(crate) struct Mint {
    /// Sign with the key in this file, in the format of the setting `signature-keys` [default: the key in
    /// MQTT_SIGNATURE_KEY, or in the file that MQTT_SIGNATURE_KEY_FILE names]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Group of the device, the first field of its client id
    #[arg(long, default_value = "GID_test")]
    group: String,
    /// MAC address of the device, pairs joined by `_`, `:` or `-` [default: random]
    #[arg(long)]
    mac: Option<String>,
    /// Suffix of the client id, its third field [default: random]
    #[arg(long, value_name = "TEXT")]
    suffix: Option<String>,
    /// IP address of the device, part of its user name
    #[arg(long, default_value = "127.0.0.1")]
    ip: String,
    /// Number of credentials, each with its own random fields
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "suffix")]
    count: u64,
}

impl Mint {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let signer = self.signer()?;
        for _ in 0..self.count {
            let mac = self.mac.clone().map_or_else(random_mac, Ok)?;
            let suffix = self.suffix.clone().map_or_else(random_hex::<16>, Ok)?;
            output::print_text(signer.sign(&format!("{}@@@{mac}@@@{suffix}", self.group), &self.ip)?)?;
        }
        Ok(Exit::Ok)
    }

    fn signer(&self) -> Result<Signer> {
        match &self.key_file {
            Some(file) => Signer::new(&read_key(file)?, "the key file"),
            None => {
                let mut config = Config::default();
                config.resolve_settings_env()?;
                let settings = config.policy.first.settings.read()?;
                Signer::new(settings.get(KEY_SETTING).ok_or(ConfigError::NoKey)?, KEY_VARIABLE)
            }
        }
    }
}

/// Reads a key file like a setting that refers to it.
fn read_key(file: &Path) -> Result<Zeroizing<String>> {
    let mut settings = SettingSources::default();
    settings.set_from_file(KEY_SETTING, file.to_owned());
    let settings = settings.read().context("--key-file")?;
    Ok(settings.get(KEY_SETTING).unwrap_or_default().to_owned().into())
}

/// Signs credentials with a key, or with the first key of a ring.
struct Signer(auth_core::Settings);

impl Signer {
    /// Parses keys in the format of the setting `signature-keys`. Errors name `origin`, where the keys are from.
    fn new(keys: &str, origin: &str) -> Result<Self> {
        // Insecure keys are allowed: the gate decides whether it accepts the key.
        let settings = auth_core::Settings::read(|name| match name {
            KEY_SETTING => Some(keys.to_owned()),
            "allow-insecure-key" => Some("true".to_owned()),
            _ => None,
        });
        Ok(Self(settings.map_err(|error| anyhow!("{origin}: {}", error.problem))?))
    }

    fn sign(&self, client_id: &str, ip: &str) -> Result<Credential> {
        ensure!(
            DeviceId::parse(client_id).is_some(),
            "{client_id:?} is not a client id: group@@@mac@@@suffix, of letters, digits and _ . : -"
        );
        let username = BASE64_STANDARD.encode(serde_json::json!({ "ip": ip }).to_string());
        let password = self.0.sign(client_id, &username);
        Ok(Credential { client_id: client_id.to_owned(), username, password })
    }
}

/// A credential of the default policy. Displayed as the JSON that `/mqtt/auth` takes.
pub(crate) struct Credential {
    client_id: String,
    username: String,
    password: String,
}

impl Credential {
    /// Signs a credential for a random device.
    pub(crate) fn example(key: &str) -> Result<Self> {
        let client_id = format!("GID_test@@@{}@@@{}", random_mac()?, random_hex::<16>()?);
        Signer::new(key, KEY_VARIABLE)?.sign(&client_id, "127.0.0.1")
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { client_id, username, password } = self;
        // None of the three holds a character that JSON escapes.
        write!(f, r#"{{"client_id":"{client_id}","username":"{username}","password":"{password}"}}"#)
    }
}

/// A random, locally administered MAC address, which no real device has.
fn random_mac() -> Result<String> {
    let [a, b, c, d, e] = random()?;
    Ok(format!("02_{a:02X}_{b:02X}_{c:02X}_{d:02X}_{e:02X}"))
}

/// N random bytes in hexadecimal.
pub(crate) fn random_hex<const N: usize>() -> Result<String> {
    Ok(random::<N>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow!("{error}"))
        .context("cannot get random bytes from the system")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a key that is long enough";

    #[test]
    fn credentials_are_json_with_three_fields() {
        let credential = Credential::example(KEY).unwrap();
        let json: serde_json::Value = serde_json::from_str(&credential.to_string()).unwrap();
        assert_eq!(json["client_id"], credential.client_id);
        assert_eq!(json.as_object().unwrap().len(), 3);
        assert!(DeviceId::parse(&credential.client_id).is_some());
    }

    #[test]
    fn invalid_client_ids_are_named() {
        let signer = Signer::new(KEY, KEY_VARIABLE).unwrap();
        let error = signer.sign("GID_test@@@x@@@suffix", "127.0.0.1").err().unwrap().to_string();
        assert!(error.starts_with(r#""GID_test@@@x@@@suffix" is not a client id: "#), "{error}");
    }

    #[test]
    fn random_fields_differ_and_have_their_length() {
        let (one, other) = (random_hex::<16>().unwrap(), random_hex::<16>().unwrap());
        assert!(one != other && one.len() == 32 && other.len() == 32);
        assert!(random_mac().unwrap().starts_with("02_"));
    }
}
