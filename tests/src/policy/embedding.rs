//! The engine without the gate, as a proxy module or a broker plugin embeds it.

use std::fs;
use std::hint::spin_loop;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use mqtt_gate_engine::watch::WatchThread;
use mqtt_gate_engine::{
    CallError, Credentials, Denial, DenyReason, Limits, Policy, PolicyEvent, PolicyReloader, PolicySource, Sandbox,
    SettingSources, Verdict,
};

use crate::support::TEST_TIMEOUT;
use crate::support::device::{Device, KEY};
use crate::support::in_process::{AUTH_CORE, LOCKDOWN, MISBEHAVING};

fn settings() -> SettingSources {
    let mut settings = SettingSources::default();
    settings.set("signature-keys", KEY.to_owned());
    settings.set("clients", "operator".to_owned());
    settings
}

fn credentials(client_id: &str, username: Option<&str>, password: Option<&str>) -> Credentials {
    Credentials {
        client_id: client_id.to_owned(),
        username: username.map(str::to_owned),
        password: password.map(|password| password.as_bytes().to_vec()),
        authentication_method: None,
        authentication_data: None,
        peer_host: None,
        attributes: Vec::new(),
    }
}

#[test]
fn loads_a_policy_judges_a_client_and_swaps() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.wasm");
    fs::copy(AUTH_CORE, &file).unwrap();
    let limits = Limits { policy_timeout: Duration::from_secs(20), ..Limits::default() };
    let sandbox = Arc::new(Sandbox::new(limits).unwrap());
    let (events, activated) = std::sync::mpsc::channel();
    let observer = move |event: &PolicyEvent| {
        if let PolicyEvent::Activated { active, .. } = event {
            events.send(active.generation).unwrap();
        }
    };
    let source = PolicySource::file(file.clone(), settings());
    let reloader = PolicyReloader::start(source, Arc::clone(&sandbox), None, Box::new(observer)).unwrap();
    let active = reloader.active();
    let interval = Duration::from_millis(100);
    let watch = WatchThread::spawn(vec![reloader.into_watched()], interval, |error| panic!("{error}")).unwrap();

    let device = Device::valid();
    let device = credentials(&device.client_id, Some(&device.username), Some(&device.password));
    let authenticate = |credentials: &Credentials| active.get().authenticate(credentials);
    assert!(matches!(authenticate(&device), Ok(Verdict::Allow(_))));
    let stranger = credentials("stranger", None, None);
    assert!(matches!(
        authenticate(&stranger),
        Ok(Verdict::Deny(Denial { reason: DenyReason::ClientIdentifierNotValid, .. }))
    ));

    fs::copy(LOCKDOWN, &file).unwrap();
    assert_eq!(activated.recv_timeout(TEST_TIMEOUT), Ok(2));
    assert!(!matches!(authenticate(&device), Ok(Verdict::Allow(_))));
    assert!(matches!(authenticate(&credentials("operator", None, None)), Ok(Verdict::Allow(_))));

    drop(watch);
    let (created, destroyed) = sandbox.instance_counter().counts();
    assert!(created > destroyed, "the active policy keeps a warm instance: {created}, {destroyed}");
}

#[test]
fn a_call_that_never_returns_ends_at_the_timeout() {
    let (policy_timeout, policy_wall_timeout) = (Duration::from_millis(50), Duration::from_secs(60));
    let limits = Limits { policy_timeout, policy_wall_timeout, ..Limits::default() };
    let sandbox = Arc::new(Sandbox::new(limits).unwrap());
    let component = fs::read(MISBEHAVING).unwrap();
    let settings = Arc::new(settings().read().unwrap());
    let policy = Policy::load(sandbox, &component, settings).unwrap();
    assert!(!policy.is_slow());
    let started = Instant::now();
    assert!(matches!(policy.authenticate(&credentials("c", Some("loop"), None)), Err(CallError::Deadline)));
    assert!(started.elapsed() >= limits.policy_timeout);
    assert!(policy.is_slow(), "the next calls belong on another thread");
}

/// Threads of the normal priority that leave little of the machine to one of the lowest.
fn while_the_machine_is_busy<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let is_over = AtomicBool::new(false);
    let threads = thread::available_parallelism().map_or(1, NonZero::get) * 4;
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    spin_loop()
                }
            });
        }
        let working = scope.spawn(|| {
            rustix::process::nice(19).unwrap();
            work()
        });
        let result = working.join();
        is_over.store(true, Relaxed);
        result.unwrap()
    })
}

/// The call takes some milliseconds of processor time, and on a busy machine much more wall time than its timeout.
#[test]
fn a_busy_machine_does_not_use_up_the_timeout_of_a_call() {
    let (policy_timeout, policy_wall_timeout) = (Duration::from_millis(150), Duration::from_secs(120));
    let limits = Limits { policy_timeout, policy_wall_timeout, ..Limits::default() };
    let sandbox = Arc::new(Sandbox::new(limits).unwrap());
    let settings = Arc::new(settings().read().unwrap());
    let policy = Policy::load(sandbox, &fs::read(MISBEHAVING).unwrap(), settings).unwrap();
    let result = while_the_machine_is_busy(|| policy.authenticate(&credentials("c", Some("busy"), None)));
    assert!(matches!(result, Ok(Verdict::Allow(_))), "{result:?}");
}

#[test]
fn a_call_ends_when_its_wall_time_is_over() {
    let (policy_timeout, policy_wall_timeout) = (Duration::from_secs(3600), Duration::from_millis(1));
    let limits = Limits { policy_timeout, policy_wall_timeout, ..Limits::default() };
    let sandbox = Arc::new(Sandbox::new(limits).unwrap());
    let settings = Arc::new(settings().read().unwrap());
    let policy = Policy::load(sandbox, &fs::read(MISBEHAVING).unwrap(), settings).unwrap();
    let result = policy.authenticate(&credentials("c", Some("loop"), None));
    assert!(matches!(result, Err(CallError::Overloaded)), "{result:?}");
}

#[test]
fn instances_are_reused_until_their_last_call_and_dropped_after_a_failure() {
    let calls_per_instance = 3;
    let limits = Limits {
        policy_timeout: Duration::from_secs(20),
        max_calls_per_instance: NonZero::new(calls_per_instance).unwrap(),
        ..Limits::default()
    };
    let sandbox = Arc::new(Sandbox::new(limits).unwrap());
    let component = fs::read(MISBEHAVING).unwrap();
    let settings = Arc::new(settings().read().unwrap());
    let policy = Policy::load(Arc::clone(&sandbox), &component, settings).unwrap();
    let counts = || sandbox.instance_counter().counts();
    let call = |behaviour| policy.authenticate(&credentials("c", Some(behaviour), None));

    let (created, _) = counts();
    for _ in 0..30 {
        assert!(matches!(call("attributes"), Ok(Verdict::Allow(_))));
    }
    // Preflight may have left an instance that has calls left.
    let created = counts().0 - created;
    assert!((9..=10).contains(&created), "{created}");

    let (_, destroyed) = counts();
    assert!(matches!(call("trap"), Err(CallError::Trap(_))));
    let (created, destroyed_by_trap) = counts();
    assert_eq!((created, destroyed_by_trap > destroyed), (destroyed_by_trap, true), "no instance is left");
}
