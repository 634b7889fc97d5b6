//! What a device may publish and subscribe to, from the operator's templates.
//!
//! The same filters go into a grant, for brokers that keep to it by themselves, and answer brokers that ask topic by
//! topic, so that both ways give the same permission.

use super::value::{SettingError, list_items};
use crate::filter::is_filter;
use crate::identity::DeviceId;
use crate::types::Topics;

/// Topic filters with places to fill in, each checked to be a filter whatever is filled in.
pub(crate) struct TopicTemplates {
    publish: Vec<Template>,
    subscribe: Vec<Template>,
}

impl TopicTemplates {
    /// Parses both settings; `None` if neither is set, which leaves topics to the broker's own rules.
    pub(crate) fn parse(publish: Option<String>, subscribe: Option<String>) -> Result<Option<Self>, SettingError> {
        if publish.is_none() && subscribe.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            publish: Template::parse_list("publish-topics", publish, |_| Ok(()))?,
            subscribe: Template::parse_list("subscribe-topics", subscribe, emqx_can_enforce)?,
        }))
    }

    /// Fills in the templates. What is filled in holds no `+`, `#` or `/`: a [`DeviceId`] has none.
    pub(crate) fn fill(&self, device: &DeviceId) -> Topics {
        let fill = |templates: &[Template]| templates.iter().map(|template| template.fill(device)).collect();
        Topics { publish: fill(&self.publish), subscribe: fill(&self.subscribe) }
    }
}

/// Whether EMQX keeps subscriptions to this filter. It compares level by level, so that a `+` at the end allows to
/// subscribe to `#` in its place; the gate denies that by name, which it cannot when a name stands for an earlier `+`.
fn emqx_can_enforce(filter: &str) -> Result<(), &'static str> {
    let before = filter.strip_suffix('+').or_else(|| filter.strip_suffix("+/#"));
    if before.is_some_and(|before| before.contains('+')) {
        return Err(
            "a `+` before a last level that is `+` too: EMQX lets such a subscription reach below that level; \
                    end the filter with `#`, or name the earlier levels",
        );
    }
    Ok(())
}

/// With these a topic filter means something else to EMQX.
const EMQX_RESERVED_PREFIXES: [&str; 4] = ["eq ", "$share/", "$queue/", "$exclusive/"];

struct Template(Vec<Segment>);

enum Segment {
    Text(String),
    Group,
    Mac,
    Suffix,
    ClientId,
}

impl Template {
    fn parse_list(
        name: &'static str,
        text: Option<String>,
        check: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Result<Vec<Self>, SettingError> {
        let error = |problem| SettingError { name, problem };
        let parse = |item| check(item).and_then(|()| Self::parse(item)).map_err(error);
        list_items(&text.unwrap_or_default()).map(parse).collect()
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains("${") || EMQX_RESERVED_PREFIXES.iter().any(|begin| text.starts_with(begin)) {
            return Err(
                "EMQX reads more than a filter into one that begins with `eq `, $share/, $queue/ or $exclusive/, \
                        or holds `${`; write {mac} for the mac, and the filter alone for a shared subscription",
            );
        }
        let mut segments = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a `{` without its `}`")?;
            segments.push(Segment::Text(before.to_owned()));
            segments.push(
                Segment::placeholder(name).ok_or("only {group}, {mac}, {suffix} and {client-id} can be filled in")?,
            );
            rest = after;
        }
        segments.push(Segment::Text(rest.to_owned()));
        let template = Self(segments);
        let example = DeviceId { client_id: "x", group: "x", mac: "x", suffix: "x" };
        if is_filter(&template.fill(&example)) {
            Ok(template)
        } else {
            Err("not an MQTT topic filter: `+` and `#` are whole levels, `#` is the last one, there is no `}` alone")
        }
    }

    fn fill(&self, device: &DeviceId) -> String {
        self.0.iter().map(|segment| segment.text(device)).collect()
    }
}

impl Segment {
    fn placeholder(name: &str) -> Option<Self> {
        Some(match name {
            "group" => Self::Group,
            "mac" => Self::Mac,
            "suffix" => Self::Suffix,
            "client-id" => Self::ClientId,
            _ => return None,
        })
    }

    fn text<'a>(&'a self, device: &DeviceId<'a>) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Group => device.group,
            Self::Mac => device.mac,
            Self::Suffix => device.suffix,
            Self::ClientId => device.client_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Option<String> {
        let device = DeviceId::parse("GID_test@@@AA_BB_CC_DD_EE_FF@@@uuid").unwrap();
        Template::parse(text).ok().map(|template| template.fill(&device))
    }

    #[test]
    fn fills_every_placeholder() {
        for (template, filter) in [
            ("devices/{mac}/up", "devices/AA_BB_CC_DD_EE_FF/up"),
            ("{group}/{suffix}/+/#", "GID_test/uuid/+/#"),
            ("c/{client-id}", "c/GID_test@@@AA_BB_CC_DD_EE_FF@@@uuid"),
            ("pre-{mac}-post", "pre-AA_BB_CC_DD_EE_FF-post"),
            ("#", "#"),
            ("/", "/"),
        ] {
            assert_eq!(filled(template).as_deref(), Some(filter));
        }
    }

    #[test]
    fn rejects_templates_that_are_not_topic_filters() {
        for bad in [
            "a/#/b",
            "a+",
            "a/+{mac}",
            "{mac}#",
            "##",
            "{mac",
            "mac}",
            "{}",
            "{MAC}",
            "{{mac}}",
            "a\0b",
            "${mac}",
            "eq a",
            "$share/g/a",
        ] {
            assert_eq!(filled(bad), None, "{bad}");
        }
    }
}
