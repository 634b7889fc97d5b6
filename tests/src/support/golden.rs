//! The golden components: policies as they were built against each version of the contract.

use mqtt_gate_engine::ContractVersion;

/// A policy of one version of the contract.
pub(crate) struct Golden {
    pub(crate) contract: ContractVersion,
    /// The default policy, with an authorizer.
    pub(crate) auth_core: &'static str,
    /// A policy without an authorizer.
    pub(crate) lockdown: &'static str,
}

macro_rules! golden {
    ($contract:expr, $directory:literal) => {
        Golden {
            contract: $contract,
            auth_core: concat!(env!("CARGO_MANIFEST_DIR"), "/golden/", $directory, "/auth_core.wasm"),
            lockdown: concat!(env!("CARGO_MANIFEST_DIR"), "/golden/", $directory, "/lockdown.wasm"),
        }
    };
}

/// Those of every version that the gate serves.
pub(crate) const GOLDEN: [Golden; 2] = [golden!(ContractVersion::V0_1, "0.1"), golden!(ContractVersion::V0_2, "0.2")];
