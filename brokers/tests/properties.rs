//! For any request and any verdict, no broker reads a reply as more than the verdict.

use std::collections::BTreeSet;

use brokers::{Access, AuthRequest, Authorizer, Grant, Method, Outcome, Reply, RequestError, Route};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::broker_models::{self as models, Profile, Reading, Seen};
use crate::generators::{Sent, VALID, Verdict, any_grant, any_request, any_verdict};
use crate::parse;

/// How many requests and verdicts are tried on every route.
const CASES: u32 = 20_000;

pub(crate) const NOW: u64 = 1_760_000_000;

/// Tries the same cases each time, unless `PROPTEST_RNG_SEED` is set.
fn config() -> ProptestConfig {
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(2026);
    let rng_seed = RngSeed::Fixed(seed);
    ProptestConfig { cases: CASES, rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

/// How every broker that uses this route reads a reply.
fn readings(route: Route, seen: &Seen) -> Vec<(&'static str, Reading)> {
    match route {
        Route::EmqxAuth => {
            vec![
                ("EMQX", models::emqx_authentication(seen, NOW).reading),
                ("EMQX hardened", models::emqx_6_authentication(seen, NOW, Profile::Hardened)),
                ("rmqtt", models::rmqtt(seen)),
            ]
        }
        Route::EmqxAcl => vec![
            ("EMQX", models::emqx_authorization(seen)),
            ("EMQX hardened", models::emqx_6_authorization(seen, Profile::Hardened)),
            ("rmqtt", models::rmqtt(seen)),
        ],
        Route::MqttAuth | Route::MqttAcl => {
            vec![("NanoMQ, Envoy", models::nanomq(seen)), ("amqtt", models::amqtt(seen))]
        }
        Route::RabbitmqUser => vec![("RabbitMQ", models::rabbitmq_user(seen))],
        Route::RabbitmqVhost | Route::RabbitmqResource | Route::RabbitmqTopic => {
            vec![("RabbitMQ", models::rabbitmq(seen))]
        }
        Route::MosquittoUser | Route::MosquittoSuperuser | Route::MosquittoAcl => vec![
            ("mosquitto-go-auth by status", models::mosquitto(seen, "status")),
            ("mosquitto-go-auth by json", models::mosquitto(seen, "json")),
        ],
        Route::Vernemq => vec![("VerneMQ", models::vernemq(seen))],
    }
}

/// The reply to a request, and the verdict that brokers must read in it.
fn answer(route: Route, sent: &Sent, verdict: Verdict) -> (Reply, Verdict) {
    let headers: Vec<_> = sent.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let parsed = match parse(route, sent.method, sent.query.as_deref(), &headers, &sent.body) {
        Ok(parsed) => parsed,
        Err(error) => return (route.render(Outcome::Malformed(&error)), Verdict::Fault),
    };
    match (parsed.request, verdict) {
        (AuthRequest::AlwaysDeny, _) | (_, Verdict::Deny) => (route.render(Outcome::Deny), Verdict::Deny),
        (_, Verdict::Ignore) => (route.render(Outcome::Ignore), Verdict::Ignore),
        (_, Verdict::Fault) => (route.render(Outcome::Error), Verdict::Fault),
        (AuthRequest::Authenticate(_), Verdict::Allow(grant)) => {
            match route.allow_login(&grant, Authorizer::Present, NOW) {
                Ok(admission) => (route.render(Outcome::Allow(admission)), Verdict::Allow(grant)),
                Err(_) => (route.render(Outcome::Error), Verdict::Fault),
            }
        }
        (AuthRequest::Authorize(_), Verdict::Allow(grant)) => {
            (route.render(Outcome::Allow(route.allow_action())), Verdict::Allow(grant))
        }
    }
}

fn assert_read_as(route: Route, reply: &Reply, verdict: &Verdict) -> Result<(), TestCaseError> {
    let seen = Seen { status: reply.status, content_type: Some(reply.content_type), body: &reply.body };
    for (broker, reading) in readings(route, &seen) {
        let meant = match verdict {
            Verdict::Allow(_) => reading == Reading::Allowed,
            Verdict::Ignore if route.supports_ignore() => reading == Reading::PassedOn,
            Verdict::Ignore | Verdict::Deny | Verdict::Fault => reading == Reading::Refused,
        };
        prop_assert!(meant, "{broker} on {route:?} reads {seen:?} as {reading:?}, but the verdict was {verdict:?}");
    }
    // In its mode text, mosquitto-go-auth reads every reply as a denial.
    prop_assert!(models::mosquitto(&seen, "text") == Reading::Refused);
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_broker_reads_a_reply_as_more_than_its_verdict(sent in any_request(), verdict in any_verdict()) {
        for route in Route::ALL {
            let (reply, meant) = answer(route, &sent, verdict.clone());
            assert_read_as(route, &reply, &meant)?;
        }
    }

    /// In EMQX, a grant allows the topics that its filters match by MQTT's rules, and no others.
    #[test]
    fn emqx_allows_exactly_the_topics_of_the_grant(
        grant in any_grant(),
        topics in vec("([a-c]{1,2}|\\$SYS|\\$x|)(/([a-c]{1,2}|)){0,3}", 1..20),
        filters in vec("([a-c]{1,2}|\\$SYS|\\+|)(/([a-c]{1,2}|\\+|)){0,3}(/#)?", 1..20),
    ) {
        let Ok(admission) = Route::EmqxAuth.allow_login(&grant, Authorizer::Present, NOW) else { return Ok(()) };
        let reply = Route::EmqxAuth.render(Outcome::Allow(admission));
        let seen = Seen { status: reply.status, content_type: Some(reply.content_type), body: &reply.body };
        let admitted = models::emqx_authentication(&seen, NOW);
        prop_assert_eq!(admitted.is_superuser, grant.access == Access::Everything);
        prop_assert_eq!(admitted.expires_at, grant.expires_at);
        let mut granted_attributes = grant.attributes.clone();
        let mut kept = admitted.attributes.clone();
        granted_attributes.sort();
        kept.sort();
        prop_assert_eq!(kept, granted_attributes);
        let Access::Only { publish, subscribe } = &grant.access else {
            prop_assert!(admitted.rules.is_none());
            return Ok(());
        };
        for topic in topics.iter().filter(|topic| !topic.is_empty()) {
            for (action, filters) in [("publish", publish), ("subscribe", subscribe)] {
                let granted = filters.iter().any(|filter| mqtt_matches(filter, topic));
                let allowed = admitted.permits(action, topic, false) == Some(true);
                prop_assert_eq!(allowed, granted, "{} {} in {:?}", action, topic, &grant.access);
            }
        }
        // A filter of the grant matches every topic that an allowed subscription matches.
        for filter in filters.iter().filter(|filter| admitted.permits("subscribe", filter, false) == Some(true)) {
            for topic in names_like(filter) {
                let granted = subscribe.iter().any(|one| mqtt_matches(one, &topic));
                prop_assert!(granted, "{} has {}, which is not in {:?}", filter, topic, &grant.access);
            }
        }
    }
}

/// Some topics that a filter matches. Names that no generator makes replace the wildcards.
fn names_like(filter: &str) -> Vec<String> {
    let named = filter.replace('+', "zz");
    match named.strip_suffix("/#") {
        Some(parent) => vec![parent.to_owned(), format!("{parent}/zz"), format!("{parent}/zz/zz")],
        None => vec![named],
    }
}

/// Whether a filter matches a topic (MQTT 5.0, section 4.7). Works on characters, unlike the code under test.
fn mqtt_matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    match filter.split_once('/') {
        _ if filter == "#" => true,
        None => filter == topic || filter == "+" && !topic.contains('/'),
        Some((level, rest)) => match topic.split_once('/') {
            Some((first, topic)) => (level == "+" || level == first) && inner_matches(rest, topic),
            None => (level == "+" || level == topic) && rest == "#",
        },
    }
}

/// As [`mqtt_matches`], below the first level, where `$` has no special meaning.
fn inner_matches(filter: &str, topic: &str) -> bool {
    match (filter.split_once('/'), topic.split_once('/')) {
        _ if filter == "#" => true,
        (None, None) => filter == topic || filter == "+",
        (None, Some(_)) => false,
        (Some((level, rest)), None) => (level == "+" || level == topic) && rest == "#",
        (Some((level, rest)), Some((first, topic))) => (level == "+" || level == first) && inner_matches(rest, topic),
    }
}

#[test]
fn every_request_error_is_a_denial_on_every_route() {
    let errors = [
        RequestError::Method,
        RequestError::Route,
        RequestError::NoSecret,
        RequestError::WrongSecret,
        RequestError::InvalidHttp,
        RequestError::HeadTooLong,
        RequestError::Host,
        RequestError::TooLarge { limit: 1 },
        RequestError::TooManyFields { limit: 1 },
        RequestError::TooSlow,
        RequestError::Truncated,
        RequestError::ContentType,
        RequestError::JsonAsForm,
        RequestError::NotJson,
        RequestError::NotAnObject,
        RequestError::Empty,
        RequestError::Missing("client_id"),
        RequestError::NotText("password"),
        RequestError::NotAnArray("topics"),
        RequestError::NotUtf8("username"),
        RequestError::Duplicate("client_id"),
        RequestError::InvalidValue("action"),
        RequestError::UnresolvedPlaceholder("topic"),
    ];
    let kinds: BTreeSet<_> = errors.iter().map(RequestError::kind).collect();
    assert_eq!(kinds.len(), errors.len(), "each error has its own kind");
    for route in Route::ALL {
        for error in &errors {
            assert_read_as(route, &route.render(Outcome::Malformed(error)), &Verdict::Fault).unwrap();
        }
    }
}

/// The properties would also hold if every reply were a denial.
#[test]
fn every_route_can_allow() {
    for (route, body) in VALID {
        if route == Route::MosquittoSuperuser {
            continue;
        }
        let content_type = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
        let hook = if body.contains("topics") { "auth_on_subscribe" } else { "auth_on_register" };
        let headers = vec![("content-type", content_type.to_owned()), ("vernemq-hook", hook.to_owned())];
        let sent = Sent { method: Method::Post, query: None, headers, body: body.as_bytes().to_vec() };
        let (reply, meant) = answer(route, &sent, Verdict::Allow(Grant::default()));
        assert!(matches!(meant, Verdict::Allow(_)), "{route:?}");
        assert_read_as(route, &reply, &meant).unwrap();
    }
}
