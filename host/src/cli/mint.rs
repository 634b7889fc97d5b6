//! `mqtt-gate mint`

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use auth_core::identity::DeviceId;
use base64::prelude::{BASE64_STANDARD, Engine};
use clap::Args;
use mqtt_gate::config::{self, ConfigError, KEY_SETTING, KEY_VARIABLE};
use mqtt_gate::settings::SettingSources;
use zeroize::Zeroizing;

use super::exit::Exit;
use super::show;

/// The flags of `mint`. The key is never one of them: others on the machine can read a command line.
#[derive(Args)]
#[command(after_help = "Examples:
  MQTT_SIGNATURE_KEY=… mqtt-gate mint --mac AA_BB_CC_DD_EE_FF
  mqtt-gate mint --key-file /run/secrets/mqtt_key --count 1000 > devices.jsonl
  mqtt-gate mint | mqtt-gate ask policy.wasm

Exit codes:
  0   printed, one line of JSON each
  64  there is no key, or no such device")]
pub(crate) struct Mint {
    /// Sign with the key in this file, in the form of the setting `signature-keys` [default: the key in MQTT_SIGNATURE_KEY]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
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
    /// For so many devices, which differ in what is random
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "third")]
    count: u64,
}

impl Mint {
    pub(crate) fn run(self) -> Result<Exit> {
        let signer = match &self.key_file {
            Some(file) => Signer::new(&key_in(file)?, "the key file")?,
            None => Signer::new(&config::variable(KEY_VARIABLE).ok_or(ConfigError::NoKey)?, KEY_VARIABLE)?,
        };
        for _ in 0..self.count {
            let mac = self.mac.clone().map_or_else(random_mac, Ok)?;
            let third = self.third.clone().map_or_else(random_hex::<16>, Ok)?;
            show::text(signer.sign(&format!("{}@@@{mac}@@@{third}", self.group), &self.ip)?)?;
        }
        Ok(Exit::Yes)
    }
}

/// What is in the file, as if the setting referred to it.
fn key_in(file: &Path) -> Result<Zeroizing<String>> {
    let mut settings = SettingSources::default();
    settings.set_from_file(KEY_SETTING, file.to_owned());
    let settings = settings.read().context("--key-file")?;
    Ok(settings.get(KEY_SETTING).unwrap_or_default().to_owned().into())
}

/// Signs with a key, or with the first of a ring of keys.
struct Signer(auth_core::Settings);

impl Signer {
    /// The keys are in the form of the setting `signature-keys`; a problem with them is told by where they are from.
    fn new(keys: &str, origin: &str) -> Result<Self> {
        // Whether the key is fit for use is for the gate to say; this only signs.
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
            "{client_id:?} is not a client id: group@@@mac@@@third, of letters, digits and _ . : -"
        );
        let username = BASE64_STANDARD.encode(serde_json::json!({ "ip": ip }).to_string());
        let password = self.0.sign(client_id, &username);
        Ok(Credential { client_id: client_id.to_owned(), username, password })
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
        let client_id = format!("GID_test@@@{}@@@{}", random_mac()?, random_hex::<16>()?);
        Signer::new(key, KEY_VARIABLE)?.sign(&client_id, "127.0.0.1")
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
