//! What RabbitMQ asks is read right, and a device is let near nothing but its own.

use brokers::{Action, AuthRequest, ConfigWarning, RequestError, Route};

use crate::parsing::accesses;
use crate::{actions, problem, question, read_form};

const RABBITMQ: &str = "username=u&vhost=%2F&client_id=c&tags=&ip=10.0.0.1";

/// A client names a virtual host by a colon in its user name.
#[test]
fn rabbitmq_lets_devices_into_one_virtual_host_alone() {
    let more = "&resource=topic&name=amq.topic&permission=write&routing_key=a";
    for route in [Route::RabbitmqUser, Route::RabbitmqVhost, Route::RabbitmqResource, Route::RabbitmqTopic] {
        let asked = read_form(route, &format!("{}{more}", RABBITMQ.replace("vhost=%2F", "vhost=other")));
        let asked = asked.unwrap_or_else(|problem| panic!("{route:?}: {problem}"));
        assert_eq!(asked.warnings, [ConfigWarning::WrongVhostOrExchange("vhost")], "{route:?}");
        assert!(matches!(asked.request, AuthRequest::AlwaysDeny), "{route:?}");
        let nowhere = read_form(route, &format!("{}{more}", RABBITMQ.replace("vhost=%2F&", "")));
        if route == Route::RabbitmqUser {
            continue;
        }
        assert_eq!(problem(nowhere), RequestError::Missing("vhost"), "{route:?}");
    }
}

#[test]
fn rabbitmq_asks_about_hosts_queues_and_exchanges_of_a_client_alone() {
    let presence = vec![accesses(Action::Subscribe, "")];
    assert_eq!(actions(read_form(Route::RabbitmqVhost, RABBITMQ)).accesses, presence);
    for (resource, may_ask) in [
        ("resource=exchange&name=amq.topic&permission=write", true),
        ("resource=exchange&name=amq.topic&permission=read", true),
        ("resource=exchange&name=amq.topic&permission=configure", false),
        ("resource=exchange&name=&permission=write", false),
        ("resource=exchange&name=amq.direct&permission=write", false),
        ("resource=queue&name=mqtt-subscription-cqos0&permission=configure", true),
        ("resource=queue&name=mqtt-subscription-cqos1&permission=read", true),
        ("resource=queue&name=mqtt-subscription-cqos1&permission=write", true),
        ("resource=queue&name=mqtt-subscription-cqos2&permission=read", false),
        ("resource=queue&name=mqtt-subscription-dqos1&permission=read", false),
        ("resource=queue&name=mqtt-subscription-ccqos1&permission=read", false),
        ("resource=queue&name=mqtt-subscription-c&permission=read", false),
        ("resource=queue&name=orders&permission=read", false),
        ("resource=queue&name=mqtt-subscription-cqos1&permission=delete", false),
        ("resource=vhost&name=amq.topic&permission=write", false),
    ] {
        match question(read_form(Route::RabbitmqResource, &format!("{RABBITMQ}&{resource}"))) {
            AuthRequest::Authorize(what) => assert!(may_ask && what.accesses == presence, "{resource}"),
            AuthRequest::AlwaysDeny => assert!(!may_ask, "{resource}"),
            AuthRequest::Authenticate(_) => panic!("{resource} is no login"),
        }
    }
    let nobody = "username=u&vhost=%2F&client_id=&resource=queue&name=mqtt-subscription-qos1&permission=read";
    assert!(matches!(question(read_form(Route::RabbitmqResource, nobody)), AuthRequest::AlwaysDeny));
}

#[test]
fn rabbitmq_asks_in_routing_keys() {
    for (key, permission, expected) in [
        ("devices.p2p.aa_bb", "write", Some(accesses(Action::Publish, "devices/p2p/aa_bb"))),
        ("devices.p2p.%2A", "read", Some(accesses(Action::Subscribe, "devices/p2p/+"))),
        ("devices.%23", "read", Some(accesses(Action::Subscribe, "devices/#"))),
        (".a..", "write", Some(accesses(Action::Publish, "/a//"))),
        ("a", "configure", None),
    ] {
        let body = format!("{RABBITMQ}&resource=topic&name=amq.topic&permission={permission}&routing_key={key}");
        match question(read_form(Route::RabbitmqTopic, &body)) {
            AuthRequest::Authorize(what) => assert_eq!(what.accesses.first(), expected.as_ref(), "{key}"),
            AuthRequest::AlwaysDeny => assert!(expected.is_none(), "{key}"),
            AuthRequest::Authenticate(_) => panic!("{key} is no login"),
        }
    }
    let other = format!("{RABBITMQ}&resource=topic&name=amq.headers&permission=write&routing_key=a");
    assert!(matches!(question(read_form(Route::RabbitmqTopic, &other)), AuthRequest::AlwaysDeny));
    let empty = format!("{RABBITMQ}&resource=topic&name=amq.topic&permission=write&routing_key=");
    assert!(matches!(question(read_form(Route::RabbitmqTopic, &empty)), AuthRequest::AlwaysDeny));
}

#[test]
fn rabbitmq_says_who_it_is_in_one_of_two_places() {
    let said = |client: &str| {
        let body =
            format!("username=u&vhost=%2F&{client}&resource=topic&name=amq.topic&permission=write&routing_key=a");
        read_form(Route::RabbitmqTopic, &body)
    };
    let once = actions(said("variable_map.client_id=c&variable_map.username=u&variable_map.vhost=%2F"));
    assert_eq!((once.client_id.as_str(), once.attributes.len()), ("c", 0));
    assert_eq!(
        problem(said("client_id=c&variable_map.client_id=d")),
        RequestError::Duplicate("variable_map.client_id")
    );
    assert_eq!(problem(said("x=y")), RequestError::Missing("client_id"));
    for route in [Route::RabbitmqVhost, Route::RabbitmqResource, Route::RabbitmqTopic] {
        let unnamed = "vhost=%2F&client_id=c&username=&resource=topic&name=amq.topic&permission=write&routing_key=a";
        assert_eq!(problem(read_form(route, unnamed)), RequestError::Missing("username"), "{route:?}");
    }
}
