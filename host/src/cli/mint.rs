//! `mqtt-gate mint`

use std::fmt;
use std::io::{self, Write};

use anyhow::{Context, Result, anyhow, ensure};
use auth_core::identity::DeviceId;
use base64::prelude::{BASE64_STANDARD, Engine};
use clap::Args;
use mqtt_gate::config::{self, ConfigError, KEY_SETTING, KEY_VARIABLE};

/// The flags of `mint`. The key is never one of them: others on the machine can read a command line.
#[derive(Args)]
#[command(after_help = "Example:
  MQTT_SIGNATURE_KEY=… mqtt-gate mint --mac AA_BB_CC_DD_EE_FF")]
pub(crate) struct Mint {
    /// The device's group
    #[arg(long, default_value = "GID_test")]
    group: String,
    /// Its MAC address, pairs joined by `_`, `:` or `-` [default: a random one]
    #[arg(long)]
    mac: Option<String>,
    /// The third field of its client id [default: a random one]
    #[arg(long, value_name = "TEXT")]
    third: Option<String>,
    /// The address that its user name tells
    #[arg(long, default_value = "127.0.0.1")]
    ip: String,
}

impl Mint {
    pub(crate) fn run(self) -> Result<()> {
        let key = config::variable(KEY_VARIABLE).ok_or(ConfigError::NoKey)?;
        let mac = self.mac.map_or_else(random_mac, Ok)?;
        let third = self.third.map_or_else(random_hex::<16>, Ok)?;
        let credential = Credential::sign(&key, &format!("{}@@@{mac}@@@{third}", self.group), &self.ip)?;
        Ok(writeln!(io::stdout(), "{credential}")?)
    }
}

/// A credential of the default policy. Shown as the JSON that `/mqtt/auth` takes.
pub(crate) struct Credential {
    client_id: String,
    username: String,
    password: String,
}

impl Credential {
    /// One for a device that does not exist.
    pub(crate) fn example(key: &str) -> Result<Self> {
        Self::sign(key, &format!("GID_test@@@{}@@@{}", random_mac()?, random_hex::<16>()?), "127.0.0.1")
    }

    /// Signs with a key, or with the first of a ring of keys, in the form of the setting `signature-keys`.
    fn sign(keys: &str, client_id: &str, ip: &str) -> Result<Self> {
        ensure!(
            DeviceId::parse(client_id).is_some(),
            "{client_id:?} is not a client id: group@@@mac@@@third, of letters, digits and _ . : -"
        );
        // Whether the key is fit for use is for the gate to say; this only signs.
        let settings = auth_core::Settings::read(|name| match name {
            KEY_SETTING => Some(keys.to_owned()),
            "allow-insecure-key" => Some("true".to_owned()),
            _ => None,
        })
        .map_err(|error| anyhow!("{KEY_VARIABLE}: {}", error.problem))?;
        let username = BASE64_STANDARD.encode(serde_json::json!({ "ip": ip }).to_string());
        let password = settings.sign(client_id, &username);
        Ok(Self { client_id: client_id.to_owned(), username, password })
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // None of the three holds a character that JSON escapes.
        write!(
            f,
            r#"{{"client_id":"{}","username":"{}","password":"{}"}}"#,
            self.client_id, self.username, self.password
        )
    }
}

/// The address of a device that does not exist: a locally administered one.
fn random_mac() -> Result<String> {
    let [a, b, c, d, e] = random()?;
    Ok(format!("02_{a:02X}_{b:02X}_{c:02X}_{d:02X}_{e:02X}"))
}

/// N random bytes, in hexadecimal.
pub(crate) fn random_hex<const N: usize>() -> Result<String> {
    Ok(random::<N>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("{error}")).context("the system gives no random bytes")?;
    Ok(bytes)
}
