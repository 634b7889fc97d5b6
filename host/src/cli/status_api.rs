//! The state of a gate, as its `/status` tells it. Of the members of a gate that is older or newer, those that are known.

use mqtt_gate::policy::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a gate says of itself.
pub(crate) struct State {
    /// Every word of it, as it was told.
    pub(crate) whole: Box<RawValue>,
    pub(crate) told: Told,
}

#[derive(Deserialize)]
pub(crate) struct Told {
    #[serde(default)]
    pub(crate) version: String,
    pub(crate) policy: Serving,
    #[serde(default, flatten)]
    pub(crate) logins: Counts,
    #[serde(default)]
    pub(crate) actions: Counts,
    #[serde(default)]
    pub(crate) refused_unasked: u64,
    #[serde(default)]
    pub(crate) malformed: u64,
    #[serde(default)]
    pub(crate) connections: Connections,
    #[serde(default)]
    pub(crate) misconfigured: Vec<Finding>,
    #[serde(default)]
    pub(crate) rejected: Rejected,
    #[serde(default)]
    pub(crate) safeguards: Vec<Safeguard>,
}

/// The policy in service.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) struct Serving {
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) generation: u64,
    #[serde(default)]
    pub(crate) since: String,
    #[serde(default, skip_serializing)]
    pub(crate) answers_for_actions: bool,
    #[serde(default, skip_serializing)]
    pub(crate) settings_not_read: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) verdicts: Verdicts,
    pub(crate) no_verdict: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Verdicts {
    pub(crate) allow: u64,
    pub(crate) deny: u64,
    pub(crate) ignore: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Connections {
    pub(crate) open: u64,
    pub(crate) most: u64,
    pub(crate) waits: u64,
}

/// What looks wrong in the configuration of a broker.
#[derive(Deserialize)]
pub(crate) struct Finding {
    pub(crate) route: String,
    #[serde(default)]
    pub(crate) member: Option<String>,
    #[serde(default)]
    pub(crate) count: u64,
    #[serde(default)]
    pub(crate) last: String,
    #[serde(default)]
    pub(crate) problem: String,
    #[serde(default)]
    pub(crate) remedy: String,
}

/// Candidates that were not put in service.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Rejected {
    pub(crate) count: u64,
    pub(crate) last: Option<Rejection>,
}

#[derive(Deserialize)]
pub(crate) struct Rejection {
    /// `None`: it could not even be read.
    pub(crate) sha256: Option<String>,
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) at: String,
}

/// A certificate or a secret that stands before an address.
#[derive(Deserialize)]
pub(crate) struct Safeguard {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) expires: Option<String>,
    #[serde(default)]
    pub(crate) refused: Option<Unfit>,
}

/// Files that hold what is of no use.
#[derive(Deserialize)]
pub(crate) struct Unfit {
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) at: String,
}

impl State {
    pub(crate) fn read(json: &[u8]) -> serde_json::Result<Self> {
        Ok(Self { told: serde_json::from_slice(json)?, whole: serde_json::from_slice(json)? })
    }

    /// Why this component was refused, if it was the last one that was.
    pub(crate) fn refusal_of(&self, component: Digest) -> Option<&Rejection> {
        self.told.rejected.last.as_ref().filter(|last| last.is_of(component))
    }
}

impl Serving {
    /// Whether this component serves.
    pub(crate) fn is(&self, component: Digest) -> bool {
        self.sha256 == component.to_string()
    }
}

impl Rejection {
    /// Whether it is about this component.
    pub(crate) fn is_of(&self, component: Digest) -> bool {
        self.sha256.as_deref() == Some(&component.to_string())
    }
}
