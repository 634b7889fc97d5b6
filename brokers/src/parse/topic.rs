//! The topic and the action, out of the fields of a request.

use super::fields::Fields;
use crate::auth_request::{Action, TopicAccess};
use crate::error::RequestError;

/// Takes out the topic, which must not be empty.
pub(crate) fn topic(fields: &mut Fields) -> Result<String, RequestError> {
    fields.text(&["topic"])?.filter(|topic| !topic.is_empty()).ok_or(RequestError::Missing("topic"))
}

/// Takes out a topic and an action, where the operator's template names the fields (EMQX, rmqtt, amqtt, NanoMQ).
///
/// EMQX fills `action`; `access` is its older field, which rmqtt and NanoMQ have too; `acc` is amqtt's, with
/// mosquitto's numbers. If several are present they must agree. A topic with `${` is an error: it is an unresolved
/// placeholder, or has a special meaning in EMQX's own rules.
pub(crate) fn template_accesses(fields: &mut Fields) -> Result<Vec<TopicAccess>, RequestError> {
    let topic = topic(fields)?;
    if topic.contains("${") {
        return Err(RequestError::UnresolvedPlaceholder("topic"));
    }
    let by_action = fields.scalar("action")?.map(|word| match word.as_str() {
        "publish" => Ok(&[Action::Publish][..]),
        "subscribe" => Ok(&[Action::Subscribe][..]),
        _ => Err(RequestError::InvalidValue("action")),
    });
    let by_access = fields.scalar("access")?.map(|number| match number.as_str() {
        "1" => Ok(&[Action::Subscribe][..]),
        "2" => Ok(&[Action::Publish][..]),
        _ => Err(RequestError::InvalidValue("access")),
    });
    let by_acc = fields.scalar("acc")?.map(|number| acc_actions(&number));
    let mut present = [by_action, by_access, by_acc].into_iter().flatten();
    let actions = present.next().ok_or(RequestError::Missing("action"))??;
    for other in present {
        if other? != actions {
            return Err(RequestError::Duplicate("action"));
        }
    }
    let (qos, retain) = (qos(fields), retain(fields));
    let with_options = |access: TopicAccess| match access.action {
        Action::Publish => TopicAccess { qos, retain, ..access },
        Action::ConnectWithoutProof | Action::Subscribe => TopicAccess { qos, ..access },
    };
    Ok(accesses(actions, &topic).into_iter().map(with_options).collect())
}

/// The quality of service, if the broker reports it. It stays an attribute too, as it was in contract 0.1.
pub(crate) fn qos(fields: &Fields) -> Option<u8> {
    fields.peek("qos", |text| text.parse().ok().filter(|qos| *qos <= 2))
}

/// Whether the message is retained, if the broker reports it. It stays an attribute too.
pub(crate) fn retain(fields: &Fields) -> Option<bool> {
    fields.peek("retain", |text| match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    })
}

/// Takes out a topic and mosquitto's `acc`.
pub(crate) fn acc_accesses(fields: &mut Fields) -> Result<Vec<TopicAccess>, RequestError> {
    let topic = topic(fields)?;
    let acc = fields.scalar("acc")?.ok_or(RequestError::Missing("acc"))?;
    Ok(accesses(acc_actions(&acc)?, &topic))
}

/// The actions of mosquitto's access number: 1 receive a message, 2 publish, 3 both, 4 subscribe.
fn acc_actions(acc: &str) -> Result<&'static [Action], RequestError> {
    match acc {
        "1" | "4" => Ok(&[Action::Subscribe]),
        "2" => Ok(&[Action::Publish]),
        "3" => Ok(&[Action::Subscribe, Action::Publish]),
        _ => Err(RequestError::InvalidValue("acc")),
    }
}

fn accesses(actions: &[Action], topic: &str) -> Vec<TopicAccess> {
    actions.iter().map(|&action| TopicAccess::new(action, topic)).collect()
}
