//! RabbitMQ requests are parsed as RabbitMQ means them, and concern only what belongs to the device.

use brokers::{Action, AuthRequest, ConfigWarning, RequestError, Route};

use crate::parsing::access;
use crate::{authorize_request_of, error_of, parse_form, request_of};

const RABBITMQ: &str = "username=u&vhost=%2F&client_id=c&tags=&ip=10.0.0.1";

/// A client can name a virtual host before a colon in its user name.
#[test]
fn rabbitmq_denies_other_virtual_hosts() {
    let more = "&resource=topic&name=amq.topic&permission=write&routing_key=a";
    for route in [Route::RabbitmqUser, Route::RabbitmqVhost, Route::RabbitmqResource, Route::RabbitmqTopic] {
        let parsed = parse_form(route, &format!("{}{more}", RABBITMQ.replace("vhost=%2F", "vhost=other")));
        let parsed = parsed.unwrap_or_else(|error| panic!("{route:?}: {error}"));
        assert_eq!(parsed.warnings, [ConfigWarning::WrongVhostOrExchange("vhost")], "{route:?}");
        assert!(matches!(parsed.request, AuthRequest::AlwaysDeny), "{route:?}");
        let nowhere = parse_form(route, &format!("{}{more}", RABBITMQ.replace("vhost=%2F&", "")));
        if route == Route::RabbitmqUser {
            continue;
        }
        assert_eq!(error_of(nowhere), RequestError::Missing("vhost"), "{route:?}");
    }
}

#[test]
fn rabbitmq_allows_only_the_device_exchange_and_own_queue() {
    let probe = vec![access(Action::ConnectWithoutProof, "")];
    assert_eq!(authorize_request_of(parse_form(Route::RabbitmqVhost, RABBITMQ)).accesses, probe);
    for (resource, is_own) in [
        ("resource=exchange&name=amq.topic&permission=write", true),
        ("resource=exchange&name=amq.topic&permission=read", true),
        ("resource=exchange&name=amq.topic&permission=configure", false),
        ("resource=exchange&name=&permission=write", false),
        ("resource=exchange&name=amq.direct&permission=write", false),
        ("resource=queue&name=mqtt-subscription-cqos0&permission=configure", true),
        ("resource=queue&name=mqtt-subscription-cqos1&permission=read", true),
        ("resource=queue&name=mqtt-subscription-cqos1&permission=write", true),
        ("resource=queue&name=mqtt-will-c&permission=configure", true),
        ("resource=queue&name=mqtt-will-c&permission=write", true),
        ("resource=queue&name=mqtt-will-d&permission=write", false),
        ("resource=queue&name=mqtt-will-&permission=write", false),
        ("resource=queue&name=mqtt-will-c&permission=delete", false),
        ("resource=queue&name=mqtt-subscription-cqos2&permission=read", false),
        ("resource=queue&name=mqtt-subscription-dqos1&permission=read", false),
        ("resource=queue&name=mqtt-subscription-ccqos1&permission=read", false),
        ("resource=queue&name=mqtt-subscription-c&permission=read", false),
        ("resource=queue&name=orders&permission=read", false),
        ("resource=queue&name=mqtt-subscription-cqos1&permission=delete", false),
        ("resource=vhost&name=amq.topic&permission=write", false),
    ] {
        match request_of(parse_form(Route::RabbitmqResource, &format!("{RABBITMQ}&{resource}"))) {
            AuthRequest::Authorize(request) => assert!(is_own && request.accesses == probe, "{resource}"),
            AuthRequest::AlwaysDeny => assert!(!is_own, "{resource}"),
            AuthRequest::Authenticate(_) => panic!("{resource} is no login"),
        }
    }
    let without_client_id =
        "username=u&vhost=%2F&client_id=&resource=queue&name=mqtt-subscription-qos1&permission=read";
    assert!(matches!(request_of(parse_form(Route::RabbitmqResource, without_client_id)), AuthRequest::AlwaysDeny));
}

#[test]
fn rabbitmq_routing_keys_become_topics() {
    for (key, permission, expected) in [
        ("devices.p2p.aa_bb", "write", Some(access(Action::Publish, "devices/p2p/aa_bb"))),
        ("devices.p2p.%2A", "read", Some(access(Action::Subscribe, "devices/p2p/+"))),
        ("devices.%23", "read", Some(access(Action::Subscribe, "devices/#"))),
        (".a..", "write", Some(access(Action::Publish, "/a//"))),
        ("a", "configure", None),
    ] {
        let body = format!("{RABBITMQ}&resource=topic&name=amq.topic&permission={permission}&routing_key={key}");
        match request_of(parse_form(Route::RabbitmqTopic, &body)) {
            AuthRequest::Authorize(request) => assert_eq!(request.accesses.first(), expected.as_ref(), "{key}"),
            AuthRequest::AlwaysDeny => assert!(expected.is_none(), "{key}"),
            AuthRequest::Authenticate(_) => panic!("{key} is no login"),
        }
    }
    let other = format!("{RABBITMQ}&resource=topic&name=amq.headers&permission=write&routing_key=a");
    assert!(matches!(request_of(parse_form(Route::RabbitmqTopic, &other)), AuthRequest::AlwaysDeny));
    let empty = format!("{RABBITMQ}&resource=topic&name=amq.topic&permission=write&routing_key=");
    assert!(matches!(request_of(parse_form(Route::RabbitmqTopic, &empty)), AuthRequest::AlwaysDeny));
}

#[test]
fn rabbitmq_client_id_is_read_from_either_place_and_must_be_unique() {
    let parse_as = |client: &str| {
        let body =
            format!("username=u&vhost=%2F&{client}&resource=topic&name=amq.topic&permission=write&routing_key=a");
        parse_form(Route::RabbitmqTopic, &body)
    };
    let once =
        authorize_request_of(parse_as("variable_map.client_id=c&variable_map.username=u&variable_map.vhost=%2F"));
    assert_eq!((once.client_id.as_str(), once.attributes.len()), ("c", 0));
    assert_eq!(
        error_of(parse_as("client_id=c&variable_map.client_id=d")),
        RequestError::Duplicate("variable_map.client_id")
    );
    assert_eq!(error_of(parse_as("x=y")), RequestError::Missing("client_id"));
    for route in [Route::RabbitmqVhost, Route::RabbitmqResource, Route::RabbitmqTopic] {
        let unnamed = "vhost=%2F&client_id=c&username=&resource=topic&name=amq.topic&permission=write&routing_key=a";
        assert_eq!(error_of(parse_form(route, unnamed)), RequestError::Missing("username"), "{route:?}");
    }
}
