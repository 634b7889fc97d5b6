//! A chain is old or new as a whole, also for a policy that both have with different settings.

use std::sync::Arc;
use std::time::Duration;

use mqtt_gate_engine::chain::{ChainReloader, ChainSource, MemberSetup, MemberSource};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{Chain, Limits, PolicySource, Sandbox, SettingSources, Verdict};

use crate::support::engine::credentials;
use crate::support::in_process::REVOKED;

fn source(revoked: &str) -> ChainSource {
    let mut settings = SettingSources::default();
    settings.set("revoked", revoked.to_owned());
    let (name, source) = (Name::new("revoked").unwrap(), PolicySource::file(REVOKED.into(), settings));
    ChainSource { members: vec![MemberSource { name, mode: Default::default(), when: Default::default(), source }] }
}

fn is_denied(chain: &Chain) -> bool {
    let client = credentials("c");
    let evaluation = chain.authenticate_within(&client, Duration::from_secs(20)).unwrap();
    matches!(evaluation.result.unwrap(), Verdict::Deny(_))
}

#[test]
fn a_request_that_began_with_a_chain_gets_no_policy_of_the_next_one() {
    let limits = Limits { policy_timeout: Duration::from_secs(20), ..Limits::default() };
    let sandbox = Arc::new(Sandbox::new(limits).unwrap());
    let setup = |_: &MemberSource| Ok(MemberSetup { observer: Box::new(|_| {}), last_known_good: None });
    let first = Default::default();
    let load = |members: mqtt_gate_engine::chain::ChainMembers, revoked| {
        members.load(&source(revoked), &sandbox, setup).unwrap()
    };
    let mut reloader = ChainReloader::start(load(first, ""));
    let before = reloader.active().get();
    reloader.apply(load(reloader.members(), "c"));
    let after = reloader.active().get();
    assert!(!is_denied(&before) && is_denied(&after));
    let generation = |chain: &Chain| chain.members()[0].active.get().generation;
    assert_eq!((generation(&before), generation(&after)), (1, 2));
}
