//! The JSON of `/status`: written by the gate, read by the command line.
//!
//! The reader may be older or newer than the gate, so every field but the active policy has a default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The response of `/status`. It never contains a credential, a key or the value of a setting.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StatusResponse {
    /// Version of the gate.
    #[serde(default)]
    pub version: String,
    /// Name of the machine.
    #[serde(default)]
    pub host: String,
    /// Time of this response, as all times here in RFC 3339, UTC.
    #[serde(default)]
    pub now: String,
    /// The active version of the first policy.
    pub policy: PolicyStatus,
    /// Every policy, in the order in which they are asked.
    #[serde(default)]
    pub chain: Vec<MemberStatus>,
    /// The tenants.
    #[serde(default)]
    pub tenants: TenantsStatus,
    /// The configuration file; `null` if the gate has none.
    #[serde(default)]
    pub config_file: Option<ConfigFileStatus>,
    /// Calls of the policy for logins.
    #[serde(default)]
    pub authenticate: CallCounts,
    /// Calls of the policy for publish and subscribe checks.
    #[serde(default)]
    pub authorize: CallCounts,
    /// Denied and failed logins by reason.
    #[serde(default)]
    pub reasons: BTreeMap<String, u64>,
    /// Denied logins by the policy's own code; `others` for the codes beyond the limit of labels.
    #[serde(default)]
    pub details: BTreeMap<String, u64>,
    /// Allowed logins by signing key.
    #[serde(default)]
    pub keys: Vec<KeyCount>,
    /// Durations of decisions.
    #[serde(default)]
    pub durations: Durations,
    /// Requests that are always denied, without a call of the policy.
    #[serde(default)]
    pub denied_without_policy: u64,
    /// Requests that could not be parsed.
    #[serde(default)]
    pub malformed_requests: u64,
    /// Grants that the broker's dialect cannot express; the client was denied.
    #[serde(default)]
    pub unsupported_grants: u64,
    /// Connections of brokers.
    #[serde(default)]
    pub connections: ConnectionStatus,
    /// Instances of all loaded policies.
    #[serde(default)]
    pub instances: InstanceStatus,
    /// Probable mistakes in the configuration of the brokers.
    #[serde(default)]
    pub config_warnings: Vec<ConfigWarningStatus>,
    /// The version of the first policy that is being compiled and checked; `null` if there is none.
    #[serde(default)]
    pub compiling: Option<CompilingStatus>,
    /// Files of all policies that were replaced where they are mounted from: no change of them is seen.
    #[serde(default)]
    pub detached_files: Vec<String>,
    /// Versions of the first policy that were rejected.
    #[serde(default)]
    pub rejected: RejectedStatus,
    /// Caches of the brokers whose API the gate calls.
    #[serde(default)]
    pub broker_caches: Vec<BrokerCacheStatus>,
    /// Sweeps over the connected clients of the brokers with `on_revoke`.
    #[serde(default)]
    pub revocation: Vec<RevocationStatus>,
    /// Certificates and secrets of both listeners.
    #[serde(default)]
    pub credentials: Vec<CredentialStatus>,
    /// TLS handshakes that failed, by listener and cause.
    #[serde(default)]
    pub handshake_failures: Vec<HandshakeFailureStatus>,
    /// Activations and rejections of all policies, the newest first.
    #[serde(default)]
    pub history: Vec<HistoryEvent>,
}

/// A policy of a chain.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MemberStatus {
    /// The operator's name for it.
    pub name: String,
    /// `enforce` or `monitor`.
    pub mode: String,
    /// The clients that it is asked about, as text; `null`: all of them.
    pub when: Option<String>,
    /// Its active version.
    pub policy: PolicyStatus,
    /// The version that is being compiled and checked.
    pub compiling: Option<CompilingStatus>,
    /// Versions that were rejected.
    pub rejected: RejectedStatus,
    /// Whether it fails every call, so that the gate is not ready.
    pub fails_every_call: bool,
    /// How its verdicts differ from the decisions, if it is a monitor.
    pub monitor: Option<MonitorStatus>,
}

/// How the verdicts of a monitor differ from the decisions, since its version was activated.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MonitorStatus {
    /// Requests that were compared.
    pub compared: u64,
    /// Requests that were not compared, because the monitor is too slow for their number.
    pub dropped: u64,
    /// Calls of the monitor that failed.
    pub errors: u64,
    /// Differences by kind: `would-deny`, `would-allow`, `would-fail`, `other-grant`.
    pub differences: BTreeMap<String, u64>,
    /// The newest differences, the newest first.
    pub examples: Vec<MonitorExample>,
}

/// A request about which a monitor differs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MonitorExample {
    /// Time of the request.
    pub at: String,
    /// The client id, escaped and cut.
    pub client_id: String,
    /// Kind of the difference.
    pub kind: String,
    /// The reason that the monitor gives; empty if it gives none.
    pub reason: String,
}

/// The tenants of a gate. `/status?tenant=NAME` has each of them in full.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TenantsStatus {
    /// Number of tenants.
    pub count: usize,
    /// Those with a problem first, at most 100.
    pub list: Vec<TenantSummary>,
}

/// A tenant in short.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TenantSummary {
    /// Name of the tenant.
    pub name: String,
    /// Number of its policies.
    pub policies: usize,
    /// Logins of its clients.
    pub authenticate: VerdictCounts,
    /// Logins and checks without a verdict. The gate denied all of them.
    pub errors: u64,
    /// Instances of its policies.
    pub instances: u32,
    /// Its problem; `null`: it has none.
    pub problem: Option<String>,
}

/// A tenant in full.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TenantStatus {
    /// The tenant in short.
    pub tenant: TenantSummary,
    /// Its policies, in the order in which they are asked.
    pub chain: Vec<MemberStatus>,
    /// Publish and subscribe checks of its clients.
    pub authorize: VerdictCounts,
    /// Activations and rejections of its policies, the newest first.
    pub history: Vec<HistoryEvent>,
}

/// The configuration file of a gate.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ConfigFileStatus {
    /// When the active configuration was read.
    pub since: String,
    /// Times that the file changed and its contents became active.
    pub reloads: u64,
    /// Why the contents of the file are not active.
    pub error: Option<ReloadErrorStatus>,
    /// Keys that have changed in the file and need a restart.
    pub needs_restart: Vec<String>,
}

/// The last sweep over the connected clients of one broker.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RevocationStatus {
    /// Base URL of the broker's API.
    pub api: String,
    /// The tenant whose policies are asked; `null`: those of the gate.
    pub tenant: Option<String>,
    /// The treatment of revoked clients: `report`, `kick` or `ban`.
    pub action: String,
    /// Number of activations before the sweep, as in the caches of brokers; 0 before the first sweep.
    pub generation: u64,
    /// Whether the sweep is not finished.
    pub running: bool,
    /// Start of the sweep; `null` before the first one.
    pub since: Option<String>,
    /// Whether no policy has an authorizer, so that no client is disconnected.
    pub lacks_authorizer: bool,
    /// Policies without an authorizer. Their denials disconnect no client.
    pub without_authorizer: Vec<String>,
    /// Clients that the policies were asked about.
    pub examined: u64,
    /// Clients that they deny.
    pub denied: u64,
    /// Clients that were disconnected or banned.
    pub kicked: u64,
    /// Clients about whom the policies failed. They stay connected.
    pub failed: u64,
    /// Why the last call of the API failed, and since when; `null` if it succeeded.
    pub error: Option<ReloadErrorStatus>,
}

/// The active version of a policy.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct PolicyStatus {
    /// Name in the component's name section.
    pub name: String,
    /// SHA-256 of the component, in hexadecimal.
    pub sha256: String,
    /// 1 for the first policy of this process, one more after each swap.
    pub generation: u64,
    /// Time of its activation.
    #[serde(default)]
    pub since: String,
    /// `embedded`, `file` or `last-known-good`.
    #[serde(default)]
    pub origin: String,
    /// Version of the contract that the policy is called by, such as `0.2`.
    #[serde(default)]
    pub contract: String,
    /// Version of the policy, from its own description.
    #[serde(default)]
    pub version: Option<String>,
    /// Summary of the policy, from its own description.
    #[serde(default)]
    pub summary: Option<String>,
    /// Whether the policy exports the authorizer interface.
    #[serde(default)]
    pub has_authorizer: bool,
    /// Names of settings that the policy's `check()` did not read.
    #[serde(default)]
    pub unused_settings: Vec<String>,
}

/// Calls of the policy for one operation.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct CallCounts {
    /// All calls.
    pub calls: u64,
    /// Calls that returned a verdict.
    pub verdicts: VerdictCounts,
    /// Calls without a verdict. The gate denied all of them.
    pub errors: u64,
}

/// Verdicts of the policy.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct VerdictCounts {
    /// Allowed.
    pub allow: u64,
    /// Denied.
    pub deny: u64,
    /// Left to the broker's next authenticator or to its own rules.
    pub ignore: u64,
}

/// Allowed logins of one signing key.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct KeyCount {
    /// `null` for the keys beyond the limit of labels.
    pub id: Option<String>,
    /// Logins that this key verified.
    pub logins: u64,
}

/// Histogram of durations.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Durations {
    /// Upper bounds of the buckets in microseconds. One more bucket follows the last bound.
    pub bucket_upper_bounds_us: Vec<u64>,
    /// Logins in each bucket.
    pub authenticate: Vec<u64>,
}

/// Connections of brokers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ConnectionStatus {
    /// Open now.
    pub open: usize,
    /// `limits.max_connections`.
    pub limit: usize,
    /// Connections that had to wait because the limit was reached.
    pub queued: u64,
    /// Bytes that unfinished requests take now.
    pub buffered: u64,
    /// `limits.max_buffered`, in bytes.
    pub buffered_limit: u64,
    /// Connections that were closed because unfinished requests reached `limits.max_buffered`.
    pub evicted: u64,
}

/// Instances of all loaded policies.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct InstanceStatus {
    /// Alive now.
    pub alive: u64,
    /// Created since the gate started.
    pub created: u64,
    /// Bytes of memory that they have.
    pub memory: u64,
    /// `limits.max_total_policy_memory`, in bytes.
    pub memory_limit: u64,
}

/// A probable mistake in the configuration of a broker.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ConfigWarningStatus {
    /// Route of the requests.
    pub route: String,
    /// Kind of the warning.
    pub kind: String,
    /// Name of the request field, if the warning is about one.
    pub field: Option<String>,
    /// Requests that showed it.
    pub count: u64,
    /// Time of the last one.
    pub last: String,
    /// Whether requests have not been right since then.
    #[serde(default = "is_current_by_default")]
    pub is_current: bool,
    /// The problem.
    pub problem: String,
    /// The remedy.
    pub hint: String,
}

/// A gate before this field never ended a warning.
fn is_current_by_default() -> bool {
    true
}

/// A policy that is being compiled and checked.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct CompilingStatus {
    /// SHA-256 of the component.
    pub sha256: String,
    /// When it began.
    pub since: String,
}

/// Policies that failed preflight, or every call.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RejectedStatus {
    /// Rejections since the gate started.
    pub count: u64,
    /// The last one.
    pub last: Option<RejectionStatus>,
    /// The part of the files that is not active because of it: `component`, `settings` or `component-or-settings`.
    /// `null` if the active policy is the one in the files.
    pub on_hold: Option<String>,
}

/// A policy that failed preflight, or every call.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RejectionStatus {
    /// SHA-256 of the component; `null` if the file could not be read.
    pub sha256: Option<String>,
    /// The error, on one line.
    pub reason: String,
    /// Time of the rejection.
    pub at: String,
}

/// The caches of a broker, which keep responses of the gate.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct BrokerCacheStatus {
    /// Base URL of the broker's API.
    pub api: String,
    /// Generation of the policy for which the caches were last reset; 0 before the first reset.
    pub generation: u64,
    /// Whether that is the active policy. Until then, the broker may answer by a policy that was replaced.
    pub is_current: bool,
    /// Caches that keep responses also between two resets: `authentication`, `authorization`.
    pub enabled: Vec<String>,
    /// Why the last reset failed.
    pub error: Option<ReloadErrorStatus>,
}

/// A certificate or a secret of a listener.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct CredentialStatus {
    /// Name in the configuration.
    pub name: String,
    /// `certificate` or `secret`.
    pub kind: String,
    /// When a certificate expires, if that can be read.
    pub expires: Option<String>,
    /// Why the last reload failed. The previous version stays in use.
    pub reload_error: Option<ReloadErrorStatus>,
}

/// TLS handshakes that failed for one cause.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct HandshakeFailureStatus {
    /// `tls` for brokers, `admin_tls` for operators.
    pub listener: String,
    /// Name of the cause.
    pub cause: String,
    /// Handshakes that failed.
    pub count: u64,
    /// Time of the last one.
    pub last: String,
    /// Whether the last one is less than five minutes ago.
    pub is_current: bool,
    /// The cause as a sentence.
    pub problem: String,
    /// The remedy.
    pub hint: String,
}

/// A reload of a credential or a reset of caches that failed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ReloadErrorStatus {
    /// The error, on one line.
    pub reason: String,
    /// Time of the first failure: for a credential, of the first one with this reason.
    pub at: String,
}

/// An event of the policy.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum HistoryEvent {
    /// A policy became the active one.
    Activated {
        /// The operator's name for the policy.
        #[serde(default)]
        policy: String,
        /// Time of the event.
        at: String,
        /// Name in the component's name section.
        name: String,
        /// SHA-256 of the component.
        sha256: String,
        /// Its generation.
        generation: u64,
        /// Whether the settings differ from those of the policy before.
        settings_changed: bool,
    },
    /// A policy failed preflight and the active policy stayed, or the active policy failed every call and was replaced.
    Rejected {
        /// The operator's name for the policy.
        #[serde(default)]
        policy: String,
        /// The rejection.
        #[serde(flatten)]
        rejection: RejectionStatus,
    },
    /// The file holds the active policy again.
    Restored {
        /// The operator's name for the policy.
        #[serde(default)]
        policy: String,
        /// Time of the event.
        at: String,
    },
    /// An event that this version does not know.
    #[serde(other)]
    Unknown,
}
