//! One login judged in process: by the checks compiled in, by a component whose instances are used again, and by a fresh
//! instance.

#![expect(clippy::expect_used, reason = "a bench that cannot begin has nothing to tell")]

use std::hint::black_box;
use std::num::NonZero;
use std::sync::Arc;

use auth_core::{Settings, UnixTime, authenticate};
use brokers::Credentials;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mqtt_gate::Gate;
use mqtt_gate::active::ActivePolicy;
use mqtt_gate::config::Config;
use mqtt_gate::policy::Verdict;

const KEY: &str = "a key of the bench, of 32 bytes.";
const CLIENT_ID: &str = "GID_test@@@AA_BB_CC_DD_EE_FF@@@6e7d3c2a";
const USERNAME: &str = "eyJpcCI6IjEyNy4wLjAuMSJ9";

fn settings() -> Settings {
    Settings::read(|name| (name == "signature-keys").then(|| KEY.to_owned())).expect("a good key")
}

fn credentials() -> Credentials {
    Credentials {
        client_id: CLIENT_ID.to_owned(),
        username: Some(USERNAME.to_owned()),
        password: Some(settings().sign(CLIENT_ID, USERNAME).into_bytes()),
        ..Credentials::default()
    }
}

/// The default policy, in a gate that is not open.
fn policy(calls_per_instance: u32) -> ActivePolicy {
    let mut config: Config =
        toml::from_str(&format!("policy.settings.signature-keys = {KEY:?}")).expect("good settings");
    config.limits.calls_per_instance = NonZero::new(calls_per_instance).expect("a call at least");
    Gate::prepare(config).expect("a gate").active()
}

fn one_call(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one call");
    let (settings, who) = (Arc::new(settings()), credentials());
    group.bench_function("native", |bencher| {
        bencher.iter_batched(
            credentials,
            |who| {
                let who = auth_core::Credentials {
                    client_id: &who.client_id,
                    username: who.username.as_deref(),
                    password: who.password.as_deref(),
                };
                assert!(matches!(
                    authenticate(black_box(&who), &settings, || UnixTime(0)),
                    auth_core::Verdict::Allow(_)
                ));
            },
            BatchSize::SmallInput,
        );
    });
    for (name, calls) in [("reused", 10_000), ("fresh", 1)] {
        let active = policy(calls);
        let serving = active.get();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || who.clone(),
                |who| assert!(matches!(serving.policy.authenticate(who), Ok(Verdict::Allow(_)))),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, one_call);
criterion_main!(benches);
