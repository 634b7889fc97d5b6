//! The configuration, with every default and unit. The only module that reads the environment.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::thread;

use brokers::{BrokerKind, FaultReply, Routes};
use mqtt_gate_engine::SettingsError;
use mqtt_gate_engine::util::name::Name;
use serde::Deserialize;

mod access;
mod broker;
mod decision_log;
mod limits;
mod listen;
mod lockout;
mod policy;
mod state;
mod tenant;
mod tls;
mod tracing;

pub use access::AccessConfig;
pub(crate) use access::{ADMIN_TOKEN, BROKER_SECRET};
pub use broker::{BrokerConfig, OnRevoke};
pub use decision_log::{ClientIdFormat, DecisionLogConfig, Record};
pub use limits::Limits;
pub use listen::{InvalidAddress, ListenAddresses, parse_address};
pub use lockout::{LockoutConfig, LockoutKey};
pub use policy::{Builtin, KEY_SETTING, KEY_VARIABLE, PolicyChain, PolicyConfig, PolicyLimitsConfig, PolicyMode};
pub use state::StateConfig;
pub use tenant::{TenantAccess, TenantConfig, TenantLimits, Tenants};
pub use tls::TlsConfig;
pub use tracing::TracesConfig;

/// More threads than any machine that we tried has processors.
const MAX_WORKERS: usize = 256;

/// The configuration file. Flags of the command line override it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses for brokers.
    pub listen: ListenAddresses,
    /// Address for operators. Do not expose it to the Internet.
    #[serde(deserialize_with = "listen::deserialize_address")]
    pub admin_listen: SocketAddr,
    /// Certificate of the listener for brokers. Absent: plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Certificate of the listener for operators. Absent: plain HTTP.
    pub admin_tls: Option<TlsConfig>,
    /// The kinds of brokers that ask. None: brokers of every kind may.
    pub broker: Vec<BrokerConfig>,
    /// Clients that keep failing. Absent: no client is locked out.
    pub lockout: Option<LockoutConfig>,
    /// Secrets of brokers and operators.
    pub access: AccessConfig,
    /// Threads that serve brokers, each with its own share of the connections. Absent: one for each processor.
    pub workers: NonZero<usize>,
    /// The policies and their settings.
    pub policy: PolicyChain,
    /// Tenants with policies of their own.
    pub tenant: Tenants,
    /// Files that the gate keeps on disk.
    pub state: StateConfig,
    /// Limits of requests, connections and policies.
    pub limits: Limits,
    /// The decision log.
    pub decision_log: DecisionLogConfig,
    /// Traces for OpenTelemetry.
    pub traces: TracesConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([0, 0, 0, 0], 8003).into(),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8004)),
            tls: None,
            admin_tls: None,
            broker: Vec::new(),
            lockout: None,
            access: AccessConfig::default(),
            workers: thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
            policy: PolicyChain::default(),
            tenant: Tenants::default(),
            state: StateConfig::default(),
            limits: Limits::default(),
            decision_log: DecisionLogConfig::default(),
            traces: TracesConfig::default(),
        }
    }
}

/// Why the configuration cannot be used. Never contains a value, which may be a secret in the wrong place.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not valid.
    #[error("{}:{line}: {problem}", path.display())]
    Parse {
        /// Path of the file.
        path: PathBuf,
        /// Line of the problem, from 1.
        line: usize,
        /// The problem, on one line.
        problem: String,
    },
    /// The default configuration takes the signing key from the environment, and there is none.
    #[error(
        "no signing key: set {KEY_VARIABLE} to the key that signs the passwords of devices (`openssl rand -hex 32` \
         generates one), or {KEY_VARIABLE}_FILE to the path of a file with it, or try the gate with `mqtt-gate serve --demo`"
    )]
    NoKey,
    /// A setting or a secret has no value.
    #[error(transparent)]
    Setting(#[from] SettingsError),
    /// A setting of one of several policies has no value.
    #[error("policy `{policy}`")]
    PolicySetting {
        /// Name of the policy.
        policy: Name,
        /// The problem.
        source: SettingsError,
    },
    /// A value that cannot work, or is almost certainly a mistake.
    #[error("{key}: {problem}")]
    Value {
        /// Key of the value, with its table.
        key: Cow<'static, str>,
        /// The problem.
        problem: String,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or the first problem in it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &read_text(path)?)
    }

    /// As [`Self::read`], of a text that was read from `path`.
    ///
    /// # Errors
    /// The first problem in the text.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_at(text, span.start)),
            problem: redact_values(error.message()),
        })?;
        config.check()?;
        Ok(config)
    }

    /// Takes the only policy from this file.
    ///
    /// # Errors
    /// There are several policies.
    pub fn override_policy_file(&mut self, file: &Path) -> Result<(), ConfigError> {
        if !self.policy.others.is_empty() {
            return Err(invalid("policy", "--policy replaces the file of the only policy, and there are several"));
        }
        (self.policy.first.file, self.policy.first.builtin) = (Some(file.to_owned()), None);
        Ok(())
    }

    /// Replaces every reference to an environment variable by its value.
    ///
    /// # Errors
    /// A variable is not set.
    pub fn resolve_env(&mut self) -> Result<(), ConfigError> {
        self.resolve_settings_env()?;
        self.access.resolve_env(env_var)?;
        self.resolve_broker_env()?;
        self.state.resolve_env(env_var);
        Ok(())
    }

    /// Replaces references in `[[broker]]` only. Enough to call the API of a broker.
    ///
    /// # Errors
    /// A variable is not set.
    pub fn resolve_broker_env(&mut self) -> Result<(), ConfigError> {
        self.broker.iter_mut().try_for_each(|broker| broker.resolve_env(env_var))?;
        Ok(())
    }

    /// Replaces references in the settings of the policy only. Enough to load a policy without serving it.
    ///
    /// # Errors
    /// A variable is not set.
    pub fn resolve_settings_env(&mut self) -> Result<(), ConfigError> {
        self.policy.resolve_env(env_var)?;
        self.tenant.resolve_env(env_var)
    }

    /// The routes for the brokers that ask.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let kinds: Vec<_> = self.broker.iter().map(|broker| broker.kind).collect();
        let is_503 = self.broker.iter().any(|broker| broker.faults == FaultReply::Unavailable);
        let faults = if is_503 { FaultReply::Unavailable } else { FaultReply::Deny };
        let emqx = self.broker.iter().filter(|broker| broker.kind == BrokerKind::Emqx);
        Routes::for_kinds(&kinds).with_emqx_fault_reply(faults).with_emqx_versions(emqx.map(|broker| broker.version))
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_range("workers", self.workers.get(), 1..=MAX_WORKERS, ToString::to_string)?;
        // Port 0 asks the system for a free port, a different one each time.
        self.listen.check()?;
        if self.admin_listen.port() != 0 && self.listen.iter().any(|address| address == self.admin_listen) {
            return Err(invalid("admin_listen", "must differ from listen"));
        }
        self.check_paths()?;
        self.limits.check()?;
        self.policy.check(&self.limits)?;
        self.tenant.check(&self.limits, self.workers.get())?;
        self.access.check()?;
        self.broker.iter().try_for_each(|broker| broker.check(&self.tenant))?;
        broker::check_faults(&self.broker)?;
        self.state.check()?;
        self.lockout.iter().try_for_each(LockoutConfig::check)?;
        self.traces.check()
    }

    fn check_paths(&self) -> Result<(), ConfigError> {
        let tls = self.tls.iter().flat_map(TlsConfig::files).map(|path| ("tls", Some(path)));
        let admin_tls = self.admin_tls.iter().flat_map(TlsConfig::files).map(|path| ("admin_tls", Some(path)));
        let others = [
            ("state.directory", self.state.directory.as_ref()),
            ("decision_log.file", self.decision_log.file.as_ref()),
            ("decision_log.salt_file", self.decision_log.salt_file.as_ref()),
        ];
        let is_empty = |path: Option<&PathBuf>| path.is_some_and(|path| path.as_os_str().is_empty());
        let tenants = self.tenant.0.values().map(|tenant| &tenant.policy);
        let policies = std::iter::once(&self.policy).chain(tenants).flat_map(PolicyChain::iter);
        let policies = policies.map(|policy| ("policy.file", policy.file.as_ref()));
        match policies.chain(tls).chain(admin_tls).chain(others).find(|(_, path)| is_empty(*path)) {
            Some((key, _)) => Err(invalid(key, "a path is empty; set it or remove the key")),
            None => Ok(()),
        }
    }
}

/// Value of an environment variable; `None` if it is unset, empty or not UTF-8.
#[must_use]
pub fn env_var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads the text of a configuration file.
///
/// # Errors
/// The file cannot be read.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

fn invalid(key: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Value { key: key.into(), problem: problem.into() }
}

/// Rejects a value outside `range`. The text is made of the bounds that are checked.
fn check_range<T: PartialOrd>(
    key: &'static str,
    value: T,
    range: RangeInclusive<T>,
    show: impl Fn(&T) -> String,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(invalid(key, format!("must be from {} to {}", show(range.start()), show(range.end()))))
}

/// A message of the TOML parser on one line, without values.
fn redact_values(message: &str) -> String {
    let mut message = message.to_owned();
    // A value can contain quotes itself: remove everything from the first to the last quote.
    if let (Some(first), Some(last)) = (message.find('"'), message.rfind('"')) {
        message.replace_range(first..=last, "…");
    }
    // The end of a value in backquotes is the last such end: a value can contain backquotes too.
    for (kind, end) in [("integer `", "`"), ("floating point `", "`"), ("unknown variant `", "`, expected ")] {
        if let Some((before, after)) = message.split_once(kind) {
            let rest = after.rsplit_once(end).map_or("", |(_, rest)| rest);
            message = format!("{before}{kind}…{end}{rest}");
        }
    }
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("gate.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let config = parse("").unwrap();
        assert_eq!((config.listen.to_string().as_str(), config.admin_listen.port()), ("0.0.0.0:8003", 8004));
        assert_eq!(config.limits.policy_timeout, Duration::from_millis(200));
        assert!(config.policy.first.settings.contains(KEY_SETTING));
    }

    #[test]
    fn the_defaults_pass_the_checks() {
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn an_error_has_the_line_and_the_key_and_no_value() {
        for (text, line, named) in [
            ("listen = \"0.0.0.0:1\"\nlisten_to = \"s3cret\"", 2, "listen_to"),
            ("[policy.settings]\na = \"1\"\nsignature-keys = 53.1 # s3cret", 3, "a setting is a string"),
            ("[policy.settings]\nkey = { env = \"A\", file = \"s3cret\" }", 2, "a setting is a string"),
            ("[policy]\nsettings = \"s3cret\"", 2, "expected a map"),
            ("policy = \"s3cret\"", 1, "expected the table [policy]"),
            ("policy = 'abc\"s3cret'", 1, "expected the table [policy]"),
            ("policy = 's3\"cret'", 1, "expected the table [policy]"),
            ("tls = 's3cret'", 1, "`certificate`, `key` and `client_ca`"),
            ("[policy]\nfile = 53153153", 2, "expected path string"),
            ("[policy]\nfile = s3cret", 2, ""),
            ("[limits]\npolicy_timeout = \"s3cret\"", 2, ""),
            ("[limits]\nmax_memory = \"s3cret\"", 2, ""),
            ("[[broker]]\nkind = \"s3cret\"", 2, "unknown variant `…`, expected one of `emqx`, `rmqtt`"),
            ("[decision_log]\nrecord = \"s3cret\"", 2, "unknown variant `…`, expected `all` or `denied`"),
            ("[decision_log]\nrecord = \"s3`, expected cret\"", 2, "unknown variant `…`, expected `all` or `denied`"),
        ] {
            let error = parse(text).err().unwrap();
            assert!(error.starts_with(&format!("gate.toml:{line}: ")) && error.contains(named), "{text}: {error}");
            assert!(!["s3", "cret", "53153153"].iter().any(|part| error.contains(part)), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn values_out_of_range_are_rejected_with_the_range() {
        for (text, problem) in [
            ("workers = 257", "workers: must be from 1 to 256"),
            ("limits.policy_timeout = \"9ms\"", "limits.policy_timeout: must be from 10ms to 1m"),
            ("limits.policy_timeout = \"61s\"", "limits.policy_timeout: must be from 10ms to 1m"),
            ("limits.policy_wall_timeout = \"100ms\"", "limits.policy_wall_timeout: must be from 200ms to 1m"),
            ("limits.max_memory = \"63KiB\"", "limits.max_memory: must be from 64 KiB to 4 GiB"),
            (
                "limits.max_total_policy_memory = \"32MiB\"",
                "limits.max_total_policy_memory: must be from 64 MiB to 1 TiB",
            ),
            ("limits.max_policy_output = \"17MiB\"", "limits.max_policy_output: must be from 1 KiB to 16 MiB"),
            ("limits.max_body = 0", "limits.max_body: must be from 1 KiB to 16 MiB"),
            ("limits.max_connections = 1000001", "limits.max_connections: must be from 1 to 1000000"),
            ("limits.request_timeout = \"10ms\"", "limits.request_timeout: must be from 100ms to 1h"),
            ("limits.drain_timeout = \"2h\"", "limits.drain_timeout: must be from 1ms to 1h"),
            ("lockout.failures = 1", "lockout.failures: must be from 2 to 10000"),
            ("lockout.within = \"2days\"", "lockout.within: must be from 1s to 1day"),
            ("lockout.for = \"0s\"", "lockout.for: must be from 1s to 1day"),
            ("traces.sample_ratio = 1.5", "traces.sample_ratio: must be from 0 to 1"),
            ("traces.sample_ratio = nan", "traces.sample_ratio: must be from 0 to 1"),
        ] {
            assert_eq!(parse(text).err().as_deref(), Some(problem), "{text}");
        }
        for text in ["limits.max_calls_per_instance = 0", "limits.max_connections = 0", "workers = 0"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bounds_of_a_range_are_valid_and_can_be_written_as_the_error_shows_them() {
        for text in [
            "workers = 256",
            "limits = { policy_timeout = \"10ms\", max_memory = \"4 GiB\", max_body = \"1 KiB\" }",
            "limits = { policy_timeout = \"1m\", max_memory = \"64 KiB\", request_timeout = \"1h\" }",
            "traces.sample_ratio = 0.0",
        ] {
            assert_eq!(parse(text).err(), None, "{text}");
        }
    }

    #[test]
    fn obvious_mistakes_are_rejected() {
        for (text, key) in [
            ("listen = \"127.0.0.1:8004\"", "admin_listen: "),
            ("listen = [\"[::1]:8003\", \"127.0.0.1:8004\"]", "admin_listen: "),
            ("listen = [\"[::1]:8003\", \"[::1]:8003\"]", "listen: an address is in the list twice"),
            ("listen = []", "listen: must be an address, or a list of 1 to 16"),
            ("listen = \"localhost:8003\"", "gate.toml:1: not an IP address with a port"),
            ("admin_listen = \"localhost:8004\"", "gate.toml:1: not an IP address with a port"),
            ("listen = 8003", "gate.toml:1: not an IP address with a port"),
            ("policy.file = \"\"", "policy.file: "),
            ("tls = { certificate = \"\", key = \"k\" }", "tls: "),
            ("admin_tls = { certificate = \"c\", key = \"k\", client_ca = \"\" }", "admin_tls: "),
            ("state.directory = \"\"", "state.directory: "),
            ("state.gate_id = \"gate 1\"", "state.gate_id: "),
            ("access.admin_hosts = [\"http://gate.example.com\"]", "access.admin_hosts: "),
            ("access.admin_hosts = [\"gate.example.com:8004\"]", "access.admin_hosts: "),
            ("access.admin_hosts = [\"*.example.com\"]", "access.admin_hosts: "),
            ("decision_log.file = \"\"", "decision_log.file: "),
            ("[[broker]]\nkind = \"emqx\"\nversion = 5.8", "gate.toml:3: write the version as text"),
            ("[[broker]]\nkind = \"vernemq\"\nversion = \"5.8\"", "broker.version: is a version of EMQX"),
            ("[[broker]]\nkind = \"emqx\"\nversion = \"5.7.2\"", "broker.version: EMQX before 5.8.0 does not apply"),
            ("[[broker]]\nkind = \"emqx\"\nfaults = \"503\"", "broker.faults: \"503\" is a denial only for EMQX 6.2.2"),
            (
                "[[broker]]\nkind = \"emqx\"\nversion = \"6.2.1\"\nfaults = \"503\"",
                "broker.faults: \"503\" is a denial",
            ),
            (
                "[[broker]]\nkind = \"emqx\"\nversion = \"6.2.2\"\nfaults = \"503\"\n[[broker]]\nkind = \"rmqtt\"",
                "broker.faults: must be the same",
            ),
            ("[[broker]]\nkind = \"rabbitmq\"\napi = \"http://h\"", "broker.api: is an API of EMQX"),
            ("[[broker]]\nkind = \"emqx\"\napi = \"h:18083\"", "broker.api: must be a scheme and a host"),
            ("[[broker]]\nkind = \"emqx\"\napi = \"http://u:s3cret@h\"", "broker.api: must be a scheme and a host"),
            ("[[broker]]\nkind = \"emqx\"\napi = \"http://h/api/v5\"", "broker.api: must be a scheme and a host"),
            ("[[broker]]\nkind = \"emqx\"\napi = \"https://h\"", "broker.api_ca: "),
            ("[[broker]]\nkind = \"emqx\"\napi = \"http://h\"\napi_key = \"k\"", "broker.api_secret: is missing"),
            ("[[broker]]\nkind = \"emqx\"\napi_key = \"s3cret\"", "broker.api: is missing"),
            ("[[broker]]\nkind = \"emqx\"\non_revoke = \"kick\"", "broker.on_revoke: calls the API of EMQX"),
            ("[[broker]]\nkind = \"emqx\"\ntenant = \"acme\"", "broker.tenant: belongs to on_revoke"),
            (
                "[[broker]]\nkind = \"emqx\"\napi = \"http://h\"\napi_key = \"k\"\napi_secret = \"s\"\non_revoke = \"kick\"\n\
                 tenant = \"acme\"",
                "broker.tenant: there is no [tenant.acme]",
            ),
            (
                "[[broker]]\nkind = \"emqx\"\napi = \"http://h\"\napi_key = \"k\"\napi_secret = \"s\"\non_revoke = \"kick\"\n\
                 revoke_ban = \"1h\"",
                "broker.revoke_ban: belongs to on_revoke = \"ban\"",
            ),
            (
                "[[broker]]\nkind = \"emqx\"\napi = \"http://h\"\napi_key = \"k\"\napi_secret = \"s\"\non_revoke = \"ban\"\n\
                 revoke_ban = \"59s\"",
                "broker.revoke_ban: must be from 1m to 30days",
            ),
            ("decision_log.salt_file = \"\"", "decision_log.salt_file: "),
        ] {
            let error = parse(text).err().unwrap();
            assert!(error.starts_with(key) && !error.contains("s3cret"), "{text}: {error}");
        }
    }

    #[test]
    fn the_state_directory_of_systemd_is_the_default() {
        let directory = |configured: Option<&str>, variable: &'static str| {
            let mut state = StateConfig { directory: configured.map(PathBuf::from), ..StateConfig::default() };
            state.resolve_env(|name| (name == "STATE_DIRECTORY").then(|| variable.to_owned()));
            state.directory.unwrap()
        };
        assert_eq!(directory(None, "/var/lib/a:/var/lib/b"), Path::new("/var/lib/a"));
        assert_eq!(directory(Some("/srv"), "/var/lib/a"), Path::new("/srv"));
    }
}
