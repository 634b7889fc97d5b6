//! Grants of rules and extensions: what EMQX is told of them, and what no broker would apply.

use brokers::{
    Access, Authorizer, BrokerKind, Effect, Grant, Outcome, QosLevels, Route, Routes, Rule, RuleAction,
    UnsupportedGrant,
};
use serde_json::{Value, json};

const NOW: u64 = 1_760_000_000;

fn rule(effect: Effect, action: RuleAction, filter: &str) -> Rule {
    Rule { effect, action, filter: filter.to_owned(), qos: None, retain: None }
}

fn allow(action: RuleAction, filter: &str) -> Rule {
    rule(Effect::Allow, action, filter)
}

fn deny(action: RuleAction, filter: &str) -> Rule {
    rule(Effect::Deny, action, filter)
}

fn grant(rules: Vec<Rule>) -> Grant {
    Grant { access: Access::Rules(rules), ..Grant::default() }
}

/// The reply on `/emqx/auth`.
fn body(routes: &Routes, grant: &Grant) -> Result<Value, UnsupportedGrant> {
    let reply = routes.allow_login(Route::EmqxAuth, grant, Authorizer::Absent, NOW)?;
    let reply = Route::EmqxAuth.render(Outcome::Allow(reply));
    Ok(serde_json::from_str(&reply.body).unwrap())
}

/// The rules that EMQX is told, without the end that denies everything.
fn acl(rules: Vec<Rule>) -> Result<Vec<Value>, UnsupportedGrant> {
    let mut body = body(&Routes::default(), &grant(rules))?;
    let mut acl: Vec<Value> = serde_json::from_value(body["acl"].take()).unwrap();
    let end = json!({ "permission": "deny", "action": "all", "topics": ["#", "$SYS/#", "$delayed/#", "$file/#"] });
    assert_eq!(acl.pop(), Some(end));
    Ok(acl)
}

fn acl_rule(permission: &str, action: &str, topic: &str) -> Value {
    json!({ "permission": permission, "action": action, "topics": [topic] })
}

#[test]
fn rules_keep_their_order() {
    use RuleAction::{Both, Publish, Subscribe};
    let rules = vec![
        deny(Both, "a/x"),
        allow(Publish, "a/#"),
        allow(Both, "b"),
        deny(Subscribe, "c/x"),
        allow(Subscribe, "c/#"),
    ];
    let expected = [
        acl_rule("deny", "all", "a/x"),
        acl_rule("allow", "publish", "a/#"),
        acl_rule("allow", "all", "b"),
        acl_rule("deny", "subscribe", "c/x"),
        acl_rule("allow", "subscribe", "c/#"),
    ];
    assert_eq!(acl(rules).unwrap(), expected);
    assert_eq!(acl(Vec::new()).unwrap(), [] as [Value; 0], "no rule allows nothing");
}

#[test]
fn levels_and_retained_messages_are_told() {
    let with = |action, qos, retain| Rule { qos: Some(QosLevels(qos)), retain, ..allow(action, "a") };
    for (rule, expected) in [
        (
            with(RuleAction::Publish, [true, true, false], Some(false)),
            vec![
                json!({ "permission": "allow", "action": "publish", "topics": ["a"], "qos": [0, 1], "retain": false }),
            ],
        ),
        (with(RuleAction::Subscribe, [true, true, true], None), vec![acl_rule("allow", "subscribe", "a")]),
        (
            with(RuleAction::Both, [false, false, true], None),
            vec![json!({ "permission": "allow", "action": "all", "topics": ["a"], "qos": [2] })],
        ),
        (
            Rule { retain: Some(true), ..allow(RuleAction::Both, "a") },
            vec![
                json!({ "permission": "allow", "action": "publish", "topics": ["a"], "retain": true }),
                acl_rule("allow", "subscribe", "a"),
            ],
        ),
    ] {
        assert_eq!(acl(vec![rule]).unwrap(), expected);
    }
}

/// EMQX compares the `+` of a rule with the `#` of a subscription, and would allow it.
#[test]
fn a_subscription_that_emqx_would_allow_along_is_denied_unless_a_rule_allows_it() {
    use RuleAction::{Publish, Subscribe};
    let wider = acl_rule("deny", "subscribe", "eq a/#");
    let narrow = acl_rule("allow", "subscribe", "a/+");
    let wide = acl_rule("allow", "subscribe", "a/#");
    for (rules, expected) in [
        (vec![allow(Subscribe, "a/+")], vec![wider.clone(), narrow.clone()]),
        (vec![allow(Subscribe, "a/+"), allow(Subscribe, "a/#")], vec![narrow.clone(), wide]),
        (vec![allow(Subscribe, "a/+"), deny(Subscribe, "#")], vec![wider, narrow, acl_rule("deny", "subscribe", "#")]),
        (vec![allow(Publish, "a/+")], vec![acl_rule("allow", "publish", "a/+")]),
    ] {
        assert_eq!(acl(rules).unwrap(), expected);
    }
    assert_eq!(acl(vec![allow(Subscribe, "+/+")]), Err(UnsupportedGrant::FilterTooWide));
}

/// Some versions of EMQX let a leading wildcard match topics that begin with `$`.
#[test]
fn system_topics_are_denied_before_a_leading_wildcard_unless_a_rule_names_them() {
    let system = json!({ "permission": "deny", "action": "all", "topics": ["$SYS/#", "$delayed/#", "$file/#"] });
    let rules = vec![allow(RuleAction::Publish, "#"), allow(RuleAction::Both, "$SYS/brokers")];
    let expected = [acl_rule("allow", "all", "$SYS/brokers"), system, acl_rule("allow", "publish", "#")];
    assert_eq!(acl(rules).unwrap(), expected);
}

#[test]
fn rules_that_a_broker_would_read_in_another_way_are_refused() {
    let no_qos = Rule { qos: Some(QosLevels::default()), ..allow(RuleAction::Publish, "a") };
    let retain = Rule { retain: Some(true), ..allow(RuleAction::Subscribe, "a") };
    for (rule, error) in [
        (no_qos.clone(), UnsupportedGrant::NoQos),
        (retain, UnsupportedGrant::RetainOfSubscribe),
        (allow(RuleAction::Publish, "a/#/b"), UnsupportedGrant::InvalidFilter),
        (deny(RuleAction::Publish, ""), UnsupportedGrant::InvalidFilter),
        (deny(RuleAction::Both, "eq a"), UnsupportedGrant::ReservedFilter),
        (deny(RuleAction::Both, "a/${clientid}"), UnsupportedGrant::ReservedFilter),
        (allow(RuleAction::Subscribe, "$share/g/a"), UnsupportedGrant::ReservedFilter),
    ] {
        assert_eq!(acl(vec![rule]), Err(error));
    }
    for route in [Route::MqttAuth, Route::RabbitmqUser, Route::MosquittoUser, Route::Vernemq] {
        let error = route.allow_login(&grant(vec![no_qos.clone()]), Authorizer::Present, NOW);
        assert_eq!(error.err(), Some(UnsupportedGrant::NoQos), "{route:?}");
    }
}

#[test]
fn brokers_that_ask_about_each_topic_need_an_authorizer() {
    let grant = grant(vec![allow(RuleAction::Publish, "a")]);
    for route in [Route::RabbitmqUser, Route::MosquittoUser, Route::Vernemq] {
        let refused = route.allow_login(&grant, Authorizer::Absent, NOW);
        assert_eq!(refused.err(), Some(UnsupportedGrant::NoAuthorizer), "{route:?}");
        assert!(route.allow_login(&grant, Authorizer::Present, NOW).is_ok());
    }
}

fn extended(extensions: &[(&str, &str)]) -> Grant {
    let pair = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    Grant { extensions: extensions.iter().map(pair).collect(), ..Grant::default() }
}

fn emqx(versions: &[Option<&str>]) -> Routes {
    let versions = versions.iter().map(|version| version.map(|version| version.parse().unwrap()));
    Routes::for_kinds(&[BrokerKind::Emqx]).with_emqx_versions(versions)
}

#[test]
fn overrides_are_told_only_to_versions_that_apply_them() {
    let (client_id, zone) = (("emqx/clientid-override", "other"), ("emqx/zone-override", "slow"));
    for (versions, extension, is_told) in [
        (&[Some("6.0")][..], client_id, true),
        (&[Some("6.2.2"), Some("6.1")], client_id, true),
        (&[Some("6.2.2"), Some("5.10.3")], client_id, false),
        (&[Some("6.2.2"), None], client_id, false),
        (&[Some("5.8")], client_id, false),
        (&[None], client_id, false),
        (&[], client_id, false),
        (&[Some("6.1")], zone, true),
        (&[Some("6.0")], zone, false),
    ] {
        let body = body(&emqx(versions), &extended(&[extension]));
        let member = extension.0.trim_start_matches("emqx/").replace('-', "_");
        let expected = if is_told {
            Ok(json!({ "result": "allow", member: extension.1 }))
        } else {
            Err(UnsupportedGrant::UnsupportedExtension)
        };
        assert_eq!(body, expected, "{versions:?}");
    }
    let beside_rmqtt = Routes::for_kinds(&[BrokerKind::Emqx, BrokerKind::Rmqtt]);
    let beside_rmqtt = beside_rmqtt.with_emqx_versions([Some("6.2".parse().unwrap())]);
    assert_eq!(body(&beside_rmqtt, &extended(&[client_id])), Err(UnsupportedGrant::UnsupportedExtension));
}

#[test]
fn extensions_that_emqx_would_not_apply_are_refused() {
    for extensions in [
        &[("emqx/unknown", "x")][..],
        &[("emqx/", "x")],
        &[("emqx/clientid-override", "")],
        &[("emqx/clientid-override", "a"), ("emqx/clientid-override", "b")],
    ] {
        let refused = body(&emqx(&[Some("6.2")]), &extended(extensions));
        assert_eq!(refused, Err(UnsupportedGrant::UnsupportedExtension), "{extensions:?}");
    }
}

#[test]
fn each_broker_ignores_the_extensions_of_others_and_refuses_its_own() {
    let prefixes = ["http/", "emqx/", "rabbitmq/", "mosquitto/", "vernemq/"];
    let routes = [Route::MqttAuth, Route::EmqxAuth, Route::RabbitmqUser, Route::MosquittoUser, Route::Vernemq];
    for (own, route) in prefixes.into_iter().zip(routes) {
        for prefix in prefixes {
            let grant = extended(&[(&format!("{prefix}x"), "y"), ("other-broker/x", "y")]);
            let reply = route.allow_login(&grant, Authorizer::Present, NOW);
            assert_eq!(reply.is_ok(), prefix != own, "{route:?} {prefix}");
            if let Ok(reply) = reply {
                assert!(!route.render(Outcome::Allow(reply)).body.contains('y'), "{route:?} {prefix}");
            }
        }
    }
}
