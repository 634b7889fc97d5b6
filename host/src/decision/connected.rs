//! Whether a client that is connected may stay, for brokers with `on_revoke`.

use mqtt_gate_engine::chain::Facts;
use mqtt_gate_engine::{AuthorizeRequest, CallError, Chain, Permission};

use super::ChainEvaluator;

impl ChainEvaluator {
    /// Asks the chain about a client of the broker's list. A monitor is not asked. Only a certain denial is one.
    pub(crate) fn may_stay_connected(&self, mut request: AuthorizeRequest) -> Result<Permission, CallError> {
        self.with_tenant(&mut request.attributes);
        let chain = self.chain().load();
        let evaluation = chain.authorize_within(&request, chain.wall_timeout()).ok_or(CallError::HostPanic)?;
        let permission = evaluation.result?.first().copied().unwrap_or(Permission::Ignore);
        let is_certain = is_certain(&chain, evaluation.by.index, &Facts::from(&request));
        Ok(if permission == Permission::Deny && !is_certain { Permission::Ignore } else { permission })
    }
}

/// Whether the denial of the policy at `index` would have denied the login too.
///
/// The list of clients tells less than a login: a policy with `when.listener` must not disconnect the clients of another
/// listener. And a policy without an authorizer may have admitted the client before the one that denies was reached.
fn is_certain(chain: &Chain, index: usize, facts: &Facts) -> bool {
    let denies = chain.members().get(index);
    let mut before = chain.enforced().take_while(|(at, _)| *at < index).map(|(_, member)| member);
    denies.is_some_and(|member| member.when.surely_includes(facts))
        && before.all(|member| member.active.load().policy.has_authorizer() || !member.when.includes(facts))
}
