//! Instances where there is room for fewer than threads want.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mqtt_gate_engine::chain::{ChainMembers, ChainReloader, ChainSource, MemberSetup, MemberSource};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{InstanceGroup, Limits, PolicySource, Sandbox, SettingSources, Verdict};

use crate::support::engine::credentials;
use crate::support::in_process::REVOKED;

#[test]
fn threads_pass_on_the_only_instance_of_a_policy() {
    let limits = Limits { policy_timeout: Duration::from_secs(20), ..Limits::default() };
    let sandbox = Arc::new(Sandbox::new(limits).unwrap());
    let mut settings = SettingSources::default();
    settings.set("revoked", "c".to_owned());
    let source = PolicySource::file(REVOKED.into(), settings).in_group(Arc::new(InstanceGroup::new(Some(1))));
    let member = MemberSource {
        name: Name::new("revoked").unwrap(),
        mode: Default::default(),
        when: Default::default(),
        source,
    };
    let setup = |_: &MemberSource| Ok(MemberSetup { observer: Box::new(|_| {}), last_known_good: None });
    let loaded = ChainMembers::default().load(&ChainSource { members: vec![member] }, &sandbox, setup).unwrap();
    let chain = ChainReloader::start(loaded).active().get();
    let credentials = credentials("c");
    let login = || chain.authenticate_within(&credentials, Duration::from_secs(20)).unwrap().result.unwrap();
    assert!(matches!(login(), Verdict::Deny(_)));
    let created = || sandbox.instance_counter().counts().0;
    let before = created();
    for _ in 0..3 {
        thread::scope(|scope| scope.spawn(|| assert!(matches!(login(), Verdict::Deny(_)))).join().unwrap());
        assert!(matches!(login(), Verdict::Deny(_)));
    }
    assert_eq!(created(), before, "no thread creates an instance of its own");
}
