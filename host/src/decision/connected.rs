//! Whether a client that is connected may stay, for brokers with `on_revoke`.

use mqtt_gate_engine::chain::Facts;
use mqtt_gate_engine::{AuthorizeRequest, CallError, Permission};

use super::ChainEvaluator;

impl ChainEvaluator {
    /// Asks the chain about a client of the broker's list. A monitor is not asked.
    ///
    /// The list tells less than a login. So a denial counts only if the policy that denies is surely meant for the client:
    /// a policy with `when.listener` must not disconnect the clients of another listener.
    pub(crate) fn may_stay_connected(&self, mut request: AuthorizeRequest) -> Result<Permission, CallError> {
        self.with_tenant(&mut request.attributes);
        let chain = self.chain().load();
        let evaluation = chain.authorize_within(&request, chain.wall_timeout()).ok_or(CallError::HostPanic)?;
        let permission = evaluation.result?.first().copied().unwrap_or(Permission::Ignore);
        let by = chain.members().get(evaluation.by.index);
        let is_certain = by.is_some_and(|member| member.when.surely_includes(&Facts::from(&request)));
        Ok(if permission == Permission::Deny && !is_certain { Permission::Ignore } else { permission })
    }
}
