//! `make bench-call`: one call of `authenticate` in process, in native code, in a reused instance of the component and
//! in a fresh instance.

#![expect(clippy::expect_used, reason = "setup errors abort the benchmark")]

use std::hint::black_box;
use std::num::NonZero;
use std::sync::Arc;

use auth_core::{Settings, UnixTime, authenticate};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mqtt_gate::builtin;
use mqtt_gate_engine::{
    ActivePolicy, Credentials, Limits, PolicyReloader, PolicySource, Sandbox, SettingSources, Verdict,
};

const KEY: &str = "a key of the bench, of 32 bytes.";
const CLIENT_ID: &str = "GID_test@@@AA_BB_CC_DD_EE_FF@@@6e7d3c2a";
const USERNAME: &str = "eyJpcCI6IjEyNy4wLjAuMSJ9";

fn settings() -> Settings {
    Settings::read(|name| (name == "signature-keys").then(|| KEY.to_owned())).expect("a valid key")
}

fn credentials() -> Credentials {
    Credentials {
        client_id: CLIENT_ID.to_owned(),
        username: Some(USERNAME.to_owned()),
        password: Some(settings().sign(CLIENT_ID, USERNAME).into_bytes()),
        authentication_method: None,
        authentication_data: None,
        peer_host: None,
        attributes: Vec::new(),
    }
}

/// Loads the default policy.
fn policy(calls_per_instance: u32) -> ActivePolicy {
    let mut settings = SettingSources::default();
    settings.set("signature-keys", KEY.to_owned());
    let max_calls_per_instance = NonZero::new(calls_per_instance).expect("at least one call");
    let sandbox = Sandbox::new(Limits { max_calls_per_instance, ..Limits::default() }).expect("a sandbox");
    let source = PolicySource::embedded(builtin::AUTH_CORE, settings);
    PolicyReloader::start(source, Arc::new(sandbox), None, Box::new(|_| {})).expect("a policy").active()
}

fn authenticate_once(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("authenticate");
    let (settings, credentials) = (settings(), credentials());
    group.bench_function("native", |bencher| {
        bencher.iter_batched(
            || credentials.clone(),
            |credentials| {
                let credentials = auth_core::Credentials {
                    client_id: &credentials.client_id,
                    username: credentials.username.as_deref(),
                    password: credentials.password.as_deref(),
                };
                assert!(matches!(
                    authenticate(black_box(&credentials), &settings, || UnixTime(0)),
                    auth_core::Verdict::Allow(_)
                ));
            },
            BatchSize::SmallInput,
        );
    });
    for (name, calls) in [("reused", 10_000), ("fresh", 1)] {
        let active = policy(calls);
        let version = active.get();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let verdict = version.policy.authenticate(black_box(&credentials));
                assert!(matches!(verdict, Ok(Verdict::Allow(_))));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, authenticate_once);
criterion_main!(benches);
