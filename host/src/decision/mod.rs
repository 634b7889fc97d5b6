//! From the evaluation of a request to the gate's decision.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use brokers::{Authorizer, ConfigWarning, Outcome, Permission, Route, Routes, UnsupportedGrant, is_key_id};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::util::sanitize;
use mqtt_gate_engine::{CallError, Denial, Verdict};

mod code;
mod connected;
pub mod convert;
mod evaluate;
mod lockout;
pub(crate) mod monitor;
pub(crate) mod quota;
pub(crate) mod refusals;

pub(crate) use code::DecisionCode;
pub(crate) use evaluate::ChainEvaluator;
pub(crate) use evaluate::MAX_BLOCKING_THREADS;
pub use evaluate::{CallCost, Evaluation, Evaluator, PolicyRef};

/// The two functions of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// May this client connect?
    Authenticate,
    /// May this client publish or subscribe?
    Authorize,
}

impl Operation {
    /// Both operations, each at its [`Self::index`].
    pub(crate) const ALL: [Self; 2] = [Self::Authenticate, Self::Authorize];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Label `operation`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Authorize => "authorize",
        }
    }
}

/// A request on its way to a decision. Holds no password and no user name.
pub(crate) struct RequestContext {
    pub(crate) route: Route,
    /// What the operator says of the brokers that ask.
    pub(crate) routes: Routes,
    /// The tenant whose policies judge; `None`: those of the gate.
    pub(crate) tenant: Option<Name>,
    pub(crate) client_id: String,
    /// When the request had been read.
    pub(crate) at: SystemTime,
    pub(crate) started: Instant,
    /// The header `traceparent`, if traces are exported.
    pub(crate) trace_parent: Option<String>,
}

/// The gate's decision about one request. Holds no password and no user name.
pub(crate) struct Decision {
    pub(crate) operation: Operation,
    pub(crate) route: Route,
    /// The tenant whose policies judged; `None`: those of the gate.
    pub(crate) tenant: Option<Name>,
    pub(crate) client_id: String,
    /// The policy that decided.
    pub(crate) policy: PolicyRef,
    pub(crate) code: DecisionCode,
    /// The policy's own code for a denial.
    pub(crate) detail: Option<String>,
    /// The key that verified the credentials, if the policy names one.
    pub(crate) key_id: Option<String>,
    /// Why there is no verdict, on one line.
    pub(crate) error: Option<String>,
    /// When the request had been read.
    pub(crate) at: SystemTime,
    /// From then until the decision.
    pub(crate) duration: Duration,
    /// The header `traceparent` of the request, if traces are exported.
    pub(crate) trace_parent: Option<String>,
    /// The outcome that the broker is told.
    pub(crate) outcome: Outcome<'static>,
    /// What this decision shows to be wrong in the configuration.
    pub(crate) warning: Option<ConfigWarning>,
}

/// Why there is no verdict that the broker can be told.
#[derive(Debug, thiserror::Error)]
enum DecisionError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the broker's dialect cannot express the grant")]
    UnsupportedGrant(#[from] UnsupportedGrant),
}

/// Outcome and code of one evaluation.
struct Judgement {
    outcome: Outcome<'static>,
    code: DecisionCode,
    detail: Option<String>,
    key_id: Option<String>,
    error: Option<String>,
    warning: Option<ConfigWarning>,
}

impl Decision {
    /// Decides about a login.
    pub(crate) fn authenticate(context: RequestContext, evaluation: Evaluation<Verdict>) -> Self {
        let Evaluation { policy, result } = evaluation;
        let judged = result
            .map_err(DecisionError::from)
            .and_then(|verdict| Judgement::login(&context, verdict, policy.authorizer));
        Self::new(Operation::Authenticate, context, policy, judged)
    }

    /// Decides about a publish or subscribe check.
    pub(crate) fn authorize(context: RequestContext, evaluation: Evaluation<Permission>) -> Self {
        let Evaluation { policy, result } = evaluation;
        let (route, authorizer) = (context.route, policy.authorizer);
        let judge = |permission| Judgement::action(route, permission, authorizer);
        let judged = result.map_err(DecisionError::from).map(judge);
        Self::new(Operation::Authorize, context, policy, judged)
    }

    /// Decides about a login without a call of a policy. `policy` is the one that refused it before, or the first one.
    pub(crate) fn refuse(context: RequestContext, policy: PolicyRef, code: DecisionCode) -> Self {
        Self::new(Operation::Authenticate, context, policy, Ok(Judgement::new(Outcome::Deny, code)))
    }

    fn new(
        operation: Operation,
        context: RequestContext,
        policy: PolicyRef,
        judged: Result<Judgement, DecisionError>,
    ) -> Self {
        // Fail closed: the one place where an error becomes a denial.
        let judgement = judged.unwrap_or_else(|error| Judgement::fail_closed(&error));
        let Judgement { outcome, code, detail, key_id, error, warning } = judgement;
        let RequestContext { route, routes: _, tenant, client_id, at, started, trace_parent } = context;
        let duration = started.elapsed();
        Self {
            operation,
            route,
            tenant,
            client_id,
            policy,
            code,
            detail,
            key_id,
            error,
            at,
            duration,
            trace_parent,
            outcome,
            warning,
        }
    }
}

impl Judgement {
    fn new(outcome: Outcome<'static>, code: DecisionCode) -> Self {
        Self { outcome, code, detail: None, key_id: None, error: None, warning: None }
    }

    /// # Errors
    /// The broker would take the grant for another one.
    fn login(context: &RequestContext, verdict: Verdict, authorizer: Authorizer) -> Result<Self, DecisionError> {
        Ok(match verdict {
            Verdict::Allow(mut grant) => {
                let key_id = grant.key_id.take().filter(|id| is_key_id(id));
                let (grant, now) = (convert::grant(grant), unix_seconds(context.at));
                let reply = context.routes.allow_login(context.route, &grant, authorizer, now)?;
                Self { key_id, ..Self::new(Outcome::Allow(reply), DecisionCode::Allow) }
            }
            Verdict::Deny(Denial { reason, detail }) => {
                // The engine has removed what is not a code. Other evaluators may not.
                let detail = detail.filter(|detail| Denial::is_detail(detail));
                Self { detail, ..Self::new(Outcome::Deny, reason.into()) }
            }
            // No policy of the chain decides about the client.
            Verdict::Ignore => Self::new(Outcome::Deny, DecisionCode::Ignore),
        })
    }

    fn action(route: Route, permission: Permission, authorizer: Authorizer) -> Self {
        let code = match permission {
            Permission::Allow => DecisionCode::Allow,
            Permission::Deny => DecisionCode::ActionDenied,
            Permission::Ignore => DecisionCode::Ignore,
        };
        let warning = route.fallback_warning(permission, authorizer);
        Self { warning, ..Self::new(route.authorize_outcome(permission), code) }
    }

    fn fail_closed(error: &DecisionError) -> Self {
        let code = match error {
            DecisionError::Call(error) => {
                if let Some(text) = error.policy_text() {
                    tracing::debug!(text, "policy returned error");
                }
                error.into()
            }
            DecisionError::UnsupportedGrant(_) => DecisionCode::UnsupportedGrant,
        };
        let warning = matches!(error, DecisionError::UnsupportedGrant(UnsupportedGrant::NoAuthorizer))
            .then_some(ConfigWarning::NoAuthorizer);
        Self { error: Some(sanitize::error_chain(error)), warning, ..Self::new(Outcome::Error, code) }
    }
}

/// Seconds since 1970. A clock before 1970 reads 0, which makes every expiry look like milliseconds and so be refused.
fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use mqtt_gate_engine::{Access, DenyReason, Digest, Grant};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn context(route: Route) -> RequestContext {
        let at = UNIX_EPOCH + Duration::from_secs(NOW);
        RequestContext {
            route,
            routes: Routes::default(),
            tenant: None,
            client_id: "c".to_owned(),
            at,
            started: Instant::now(),
            trace_parent: None,
        }
    }

    fn policy_ref() -> PolicyRef {
        let (name, digest) = (Name::new("policy").unwrap(), Digest::of(b"policy"));
        PolicyRef { name, digest, generation: 1, activations: 1, authorizer: Authorizer::Absent }
    }

    fn evaluation<T>(result: Result<T, CallError>) -> Evaluation<T> {
        Evaluation { policy: policy_ref(), result }
    }

    fn login(route: Route, result: Result<Verdict, CallError>) -> Decision {
        Decision::authenticate(context(route), evaluation(result))
    }

    fn grant(expires_at: Option<u64>, key_id: &str) -> Grant {
        let (attributes, extensions) = (Vec::new(), Vec::new());
        Grant { access: Access::Everything, expires_at, key_id: Some(key_id.to_owned()), attributes, extensions }
    }

    fn denial(detail: &str) -> Verdict {
        Verdict::Deny(Denial { reason: DenyReason::Banned, detail: Some(detail.to_owned()) })
    }

    #[test]
    fn every_error_denies_on_every_route() {
        for route in Route::ALL {
            for error in [CallError::Deadline, CallError::Overloaded, CallError::PoolExhausted, CallError::HostPanic] {
                let code = error.code();
                let decision = login(route, Err(error));
                assert_eq!((&decision.outcome, decision.code.reason()), (&Outcome::Error, code));
                assert!(decision.error.is_some());
            }
            let decision = Decision::authorize(context(route), evaluation(Err(CallError::NoVerdict("e".to_owned()))));
            assert_eq!((decision.outcome, decision.code), (Outcome::Error, DecisionCode::NoVerdict));
        }
    }

    #[test]
    fn a_grant_that_a_broker_cannot_be_told_denies() {
        for route in Route::ALL {
            // Milliseconds instead of seconds.
            let decision = login(route, Ok(Verdict::Allow(grant(Some(NOW * 1000), "k"))));
            assert_eq!(
                (decision.outcome, decision.code),
                (Outcome::Error, DecisionCode::UnsupportedGrant),
                "{route:?}"
            );
        }
    }

    #[test]
    fn topics_that_a_broker_will_not_ask_the_policy_about_are_denied_with_a_warning() {
        let topics = Access::Only(mqtt_gate_engine::Topics { publish: vec!["a".to_owned()], subscribe: Vec::new() });
        let grant = Grant { access: topics, ..grant(None, "k") };
        for route in [Route::RabbitmqUser, Route::MosquittoUser, Route::Vernemq] {
            let decision = login(route, Ok(Verdict::Allow(grant.clone())));
            assert_eq!((decision.outcome, decision.code), (Outcome::Error, DecisionCode::UnsupportedGrant));
            assert_eq!(decision.warning, Some(ConfigWarning::NoAuthorizer), "{route:?}");
        }
        assert_eq!(login(Route::EmqxAuth, Ok(Verdict::Allow(grant))).warning, None);
    }

    #[test]
    fn verdicts_become_outcomes() {
        let route = Route::MqttAuth;
        let allowed = login(route, Ok(Verdict::Allow(grant(None, "2026-11"))));
        assert!(matches!(allowed.outcome, Outcome::Allow(_)));
        assert_eq!((allowed.code, allowed.key_id.as_deref()), (DecisionCode::Allow, Some("2026-11")));
        let denied = login(route, Ok(denial("stolen-device")));
        assert_eq!((denied.outcome, denied.code), (Outcome::Deny, DecisionCode::Banned));
        assert_eq!(denied.detail.as_deref(), Some("stolen-device"));
        assert_eq!(login(route, Ok(denial("not a code"))).detail, None);
        let ignored = login(route, Ok(Verdict::Ignore));
        assert_eq!((ignored.outcome, ignored.code), (Outcome::Deny, DecisionCode::Ignore), "no policy is left");
        let action = |permission| Decision::authorize(context(route), evaluation(Ok(permission)));
        assert_eq!(action(Permission::Ignore).warning, Some(ConfigWarning::NoAuthorizer));
        assert_eq!(
            (action(Permission::Deny).code, action(Permission::Deny).warning),
            (DecisionCode::ActionDenied, None)
        );
        assert!(matches!(action(Permission::Allow).outcome, Outcome::Allow(_)));
    }

    #[test]
    fn key_ids_that_could_be_anything_are_not_shown() {
        for odd in ["", "a key", "k\n", &"k".repeat(65)] {
            assert_eq!(login(Route::MqttAuth, Ok(Verdict::Allow(grant(None, odd)))).key_id, None);
        }
    }
}
