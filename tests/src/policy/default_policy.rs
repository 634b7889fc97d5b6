//! The default policy gives every recorded credential its expected verdict, as a library and as a component in the
//! gate.

use auth_core::Settings;
use bytesize::ByteSize;

use crate::support::credential_cases::{self, GROUPS, cases, cases_by_key};
use crate::support::device::KEY;
use crate::support::http::Connection;
use crate::support::in_process::{AUTH_CORE, Gate};

#[test]
fn library_gives_every_case_its_verdict() {
    let cases = cases();
    assert!(cases.len() >= 76);
    for groups in GROUPS {
        for case in &cases {
            let expected = case.expected(groups);
            match case.evaluate_in_library(groups) {
                Some(verdict) => assert!(verdict.starts_with(expected), "{}: {verdict}, not {expected}", case.id),
                None => assert_eq!(expected, "malformed-request", "{}", case.id),
            }
        }
    }
}

/// Asserts the verdict of a component that is the default policy on every recorded credential.
pub(super) async fn assert_component_gives_every_case_its_verdict(component: &str, groups: &str) {
    for (key, cases) in &cases_by_key() {
        let gate = Gate::start_with(component, |config| {
            for (name, value) in credential_cases::settings(key, groups) {
                config.policy.first.settings.set(name, value.to_owned());
            }
            // Some user names are longer than any broker can send.
            config.limits.max_body = ByteSize::mib(1);
        })
        .await;
        let mut connection = Connection::open(gate.auth).await;
        for case in cases {
            case.assert_responses(&mut connection, groups, 1 << 20).await;
        }
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn component_gives_every_case_its_verdict_for_the_default_groups() {
    assert_component_gives_every_case_its_verdict(AUTH_CORE, GROUPS[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn component_gives_every_case_its_verdict_for_any_group() {
    assert_component_gives_every_case_its_verdict(AUTH_CORE, GROUPS[1]).await;
}

/// Two crates validate topic filters: the settings of the default policy, and the reply to EMQX.
#[test]
fn emqx_can_express_every_topic_template_of_the_default_policy() {
    for template in [
        "a/{mac}/#",
        "a",
        "/",
        "+",
        "#",
        "+/x",
        "a/+",
        "a/+/#",
        "+/+",
        "a/+/+/#",
        "+/x/+",
        "a/#/b",
        "a+",
        "##",
        "eq a",
        "eq",
        "$share/g/a",
        "$queue/a",
        "$exclusive/a",
        "$SYS/#",
        "a//b",
        "ü",
    ] {
        let settings = Settings::read(|name| match name {
            "signature-keys" => Some(KEY.to_owned()),
            "subscribe-topics" => Some(template.to_owned()),
            _ => None,
        });
        let subscribe = vec![template.replace("{mac}", "aa")];
        let grant = brokers::Grant {
            access: brokers::Access::Only { publish: Vec::new(), subscribe },
            ..brokers::Grant::default()
        };
        let reply = brokers::Route::EmqxAuth.allow_login(&grant, brokers::Authorizer::Present, 0);
        assert_eq!(settings.is_ok(), reply.is_ok(), "{template}");
    }
}
