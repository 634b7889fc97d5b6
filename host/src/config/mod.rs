//! What the operator can choose, with every default and unit. The only file that reads the environment.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use mqtt_gate_engine::settings::{SettingSources, SettingsError};

mod around;
mod decisions;
mod limits;
mod traces;

pub(crate) use around::{ADMIN_TOKEN, BROKER_SECRET};
pub use around::{AccessConfig, StateConfig, TlsConfig};
pub use decisions::{DecisionConfig, Recorded, ShownId};
pub use limits::Limits;
pub use traces::TraceConfig;

/// The variable that the default configuration takes the signing key from.
pub const KEY_VARIABLE: &str = "MQTT_SIGNATURE_KEY";

/// The setting of the default policy that holds the key.
pub const KEY_SETTING: &str = "signature-keys";

/// More threads than any machine that this was tried on has processors.
const MOST_WORKERS: usize = 256;

/// More connections than a system gives a program.
const MOST_CONNECTIONS: usize = 1_000_000;

const KIB: u64 = 1 << 10;

/// Everything the operator can choose: the file given with `--config`, on top of which come the flags.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where brokers ask.
    pub listen: SocketAddr,
    /// Where the operator asks. Not for the world.
    pub admin_listen: SocketAddr,
    /// The certificate that brokers are shown. Absent: they ask without TLS.
    pub tls: Option<TlsConfig>,
    /// The certificate that the operator is shown. Absent: the operator asks without TLS.
    pub admin_tls: Option<TlsConfig>,
    /// What brokers and the operator have to know.
    pub access: AccessConfig,
    /// Threads that judge logins, each with its own share of the connections. Absent: one per processor.
    pub workers: NonZero<usize>,
    /// The policy and its settings.
    pub policy: PolicyConfig,
    /// What the gate keeps on disk.
    pub state: StateConfig,
    /// What bounds a request and a policy.
    pub limits: Limits,
    /// The decision log.
    pub decisions: DecisionConfig,
    /// Traces for OpenTelemetry.
    pub traces: TraceConfig,
}

/// Which policy serves, and with which settings.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// The component. Watched: what is copied over it serves next. Absent: the default policy within the program.
    pub file: Option<PathBuf>,
    /// What the policy can ask for. Absent: `signature-keys` from the variable `MQTT_SIGNATURE_KEY`.
    pub settings: SettingSources,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8003)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8004)),
            tls: None,
            admin_tls: None,
            access: AccessConfig::default(),
            workers: thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
            policy: PolicyConfig::default(),
            state: StateConfig::default(),
            limits: Limits::default(),
            decisions: DecisionConfig::default(),
            traces: TraceConfig::default(),
        }
    }
}

impl Default for PolicyConfig {
    fn default() -> Self {
        let mut settings = SettingSources::default();
        settings.set_from_env(KEY_SETTING, KEY_VARIABLE);
        Self { file: None, settings }
    }
}

/// Why there is no configuration to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what it should be. Tells the place and never the text there, which may be a secret.
    #[error("{}:{line}: {problem}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// There is no key, in the configuration that takes it from the environment.
    #[error(
        "no key: set {KEY_VARIABLE} to the key that signs the devices' passwords (`openssl rand -hex 32` makes one), \
         or see the gate work with `mqtt-gate serve --demo`"
    )]
    NoKey,
    /// A setting has no value.
    #[error(transparent)]
    Setting(#[from] SettingsError),
    /// A value that cannot work.
    #[error("{name} {problem}")]
    Value {
        /// The name of the value.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The file, or the first thing in it that is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_of(&text, span.start)),
            problem: without_values(error.message()),
        })?;
        config.check()?;
        Ok(config)
    }

    /// Takes what the configuration refers to out of the environment.
    ///
    /// # Errors
    /// A variable that is not set. The message says how to give a key if it is the default one.
    pub fn resolve_env(&mut self) -> Result<(), ConfigError> {
        self.resolve_settings_env()?;
        self.access.resolve_env(variable)?;
        self.state.resolve_env(variable);
        Ok(())
    }

    /// The same of the policy's settings alone, for who tries a policy and serves nobody.
    ///
    /// # Errors
    /// As those of [`Self::resolve_env`].
    pub fn resolve_settings_env(&mut self) -> Result<(), ConfigError> {
        let missing = |error| match error {
            SettingsError::Env { variable, .. } if variable == KEY_VARIABLE => ConfigError::NoKey,
            other => other.into(),
        };
        self.policy.settings.resolve_env(variable).map_err(missing)
    }
}

/// The value of an environment variable that holds something.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Config {
    fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let (size, time) = (|from, to| from..=to, |from, to| Duration::from_millis(from)..=Duration::from_secs(to));
        for (holds, name, problem) in [
            ((1..=MOST_WORKERS).contains(&self.workers.get()), "workers", "must be from 1 to 256"),
            (
                (1..=MOST_CONNECTIONS).contains(&limits.connections.get()),
                "limits.connections",
                "must be from 1 to 1000000",
            ),
            (time(10, 60).contains(&limits.deadline), "limits.deadline", "must be from 10ms to 60s"),
            (time(1, 3600).contains(&limits.request), "limits.request", "must be from 1ms to 1h"),
            (time(1, 3600).contains(&limits.drain), "limits.drain", "must be from 1ms to 1h"),
            (
                size(KIB << 6, KIB << 22).contains(&limits.memory.as_u64()),
                "limits.memory",
                "must be from 64KiB to 4GiB",
            ),
            (size(KIB, KIB << 14).contains(&limits.answer.as_u64()), "limits.answer", "must be from 1KiB to 16MiB"),
            (size(KIB, KIB << 14).contains(&limits.body.as_u64()), "limits.body", "must be from 1KiB to 16MiB"),
            ((0.0..=1.0).contains(&self.traces.share), "traces.share", "must be from 0 to 1"),
        ] {
            if !holds {
                return Err(ConfigError::Value { name, problem });
            }
        }
        Ok(())
    }
}

/// A message of the parser on one line, without the values in it: one may be a secret in the wrong place.
fn without_values(message: &str) -> String {
    let mut message = message.to_owned();
    // A text can hold quotes itself, so all between the first and the last goes.
    if let (Some(first), Some(last)) = (message.find('"'), message.rfind('"')) {
        message.replace_range(first..=last, "…");
    }
    for kind in ["integer `", "floating point `"] {
        if let Some((before, after)) = message.split_once(kind) {
            let rest = after.split_once('`').map_or("", |(_, rest)| rest);
            message = format!("{before}{kind}…`{rest}");
        }
    }
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let file = std::env::temp_dir().join(format!("mqtt-gate-{}-{:p}.toml", std::process::id(), text));
        fs::write(&file, text).unwrap();
        let config = Config::read(&file).map_err(|error| error.to_string());
        fs::remove_file(&file).unwrap();
        config
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let config = read("").unwrap();
        assert_eq!((config.listen.port(), config.admin_listen.port()), (8003, 8004));
        assert_eq!(config.limits.deadline, Duration::from_millis(200));
        assert!(config.policy.settings.names(KEY_SETTING));
    }

    #[test]
    fn an_error_names_the_line_and_the_key_and_no_value() {
        for (text, line, named) in [
            ("listen = \"0.0.0.0:1\"\nlisten_to = \"s3cret\"", 2, "listen_to"),
            ("[policy.settings]\na = \"1\"\nsignature-keys = 53 # s3cret", 3, "a setting is a string"),
            ("[policy.settings]\nkey = { env = \"A\", file = \"s3cret\" }", 2, "a setting is a string"),
            ("[policy]\nsettings = \"s3cret\"", 2, "expected a map"),
            ("policy = \"s3cret\"", 1, "expected struct PolicyConfig"),
            ("policy = 'abc\"s3cret'", 1, "expected struct PolicyConfig"),
            ("policy = 's3\"cret'", 1, "expected struct PolicyConfig"),
            ("[policy]\nfile = 53153153", 2, "expected path string"),
            ("[policy]\nfile = s3cret", 2, ""),
            ("[limits]\ndeadline = \"s3cret\"", 2, ""),
        ] {
            let error = read(text).err().unwrap();
            assert!(error.contains(&format!(".toml:{line}: ")) && error.contains(named), "{text}: {error}");
            assert!(!["s3", "cret", "53153153"].iter().any(|part| error.contains(part)), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn limits_that_cannot_work_are_refused() {
        for (text, named) in [
            ("deadline = \"1ms\"", "limits.deadline"),
            ("memory = \"1KiB\"", "limits.memory"),
            ("body = 0", "limits.body"),
        ] {
            assert!(read(&format!("[limits]\n{text}")).err().unwrap().contains(named));
        }
        assert!(read("[limits]\ncalls_per_instance = 0").is_err());
    }
}
