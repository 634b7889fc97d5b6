//! `[[broker]]`: a broker that asks the gate.

use brokers::BrokerKind;
use serde::Deserialize;

/// A broker that asks the gate.
///
/// The gate has routes for the kinds that are named. If all of them read replies in the same way, the gate refuses every
/// request in that way, also one that it cannot read.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [[broker]]")]
pub struct BrokerConfig {
    /// The kind of broker.
    pub kind: BrokerKind,
}
