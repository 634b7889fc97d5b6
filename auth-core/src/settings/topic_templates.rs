//! The settings `publish-topics` and `subscribe-topics`: topic filters with placeholders.
//!
//! The resulting filters go into a grant, for brokers that enforce it themselves. They also answer brokers that check
//! each topic, so both kinds of brokers get the same permissions.

use super::template::Template;
use super::value::{SettingError, list_items};
use crate::filter::is_filter;
use crate::identity::DeviceId;
use crate::types::Topics;

/// The templates of both settings. Each yields a valid topic filter for every device.
pub(crate) struct TopicTemplates {
    publish: Vec<TopicTemplate>,
    subscribe: Vec<TopicTemplate>,
}

impl TopicTemplates {
    /// Parses both settings; `None` if neither is set. Then the broker's own rules decide about topics.
    pub(crate) fn parse(publish: Option<String>, subscribe: Option<String>) -> Result<Option<Self>, SettingError> {
        if publish.is_none() && subscribe.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            publish: TopicTemplate::parse_list("publish-topics", publish, |_| Ok(()))?,
            subscribe: TopicTemplate::parse_list("subscribe-topics", subscribe, emqx_can_enforce)?,
        }))
    }

    /// Returns the topics of one device. The inserted values contain no `+`, `#` or `/`, because no field of a
    /// [`DeviceId`] does.
    pub(crate) fn fill(&self, device: &DeviceId) -> Topics {
        let fill = |templates: &[TopicTemplate]| templates.iter().map(|template| template.fill(device)).collect();
        Topics { publish: fill(&self.publish), subscribe: fill(&self.subscribe) }
    }
}

/// Checks that EMQX can enforce a subscribe filter.
///
/// EMQX compares filters level by level, so a granted `+` at the end also allows a subscription to `#` at that level.
/// The gate adds a rule that denies that `#` filter by name. It cannot write such a rule if an earlier level is `+`.
fn emqx_can_enforce(filter: &str) -> Result<(), &'static str> {
    let before = filter.strip_suffix('+').or_else(|| filter.strip_suffix("+/#"));
    if before.is_some_and(|before| before.contains('+')) {
        return Err(
            "a filter ends with `+` and has another `+` before it, so EMQX would also allow levels below the last one; \
                    end the filter with `#`, or write the earlier levels without wildcards",
        );
    }
    Ok(())
}

/// Prefixes that change the meaning of a topic filter in EMQX.
const EMQX_RESERVED_PREFIXES: [&str; 4] = ["eq ", "$share/", "$queue/", "$exclusive/"];

/// A template that yields a topic filter for every device.
struct TopicTemplate(Template);

impl TopicTemplate {
    fn parse_list(
        name: &'static str,
        text: Option<String>,
        check: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Result<Vec<Self>, SettingError> {
        let to_error = |problem: &'static str| SettingError { name, problem: problem.into() };
        let parse = |item| check(item).and_then(|()| Self::parse(item)).map_err(to_error);
        list_items(&text.unwrap_or_default()).map(parse).collect()
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains("${") || EMQX_RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            return Err("a filter begins with `eq `, $share/, $queue/ or $exclusive/, or contains `${`, which have \
                        a special meaning in EMQX; write placeholders as {mac}, and leave out $share/GROUP/");
        }
        let template = Self(Template::parse(text)?);
        let example = DeviceId { client_id: "x", group: "x", mac: "x", suffix: "x" };
        if is_filter(&template.fill(&example)) {
            Ok(template)
        } else {
            Err("not an MQTT topic filter; `+` and `#` must be whole levels, `#` the last one, and `}` needs a `{`")
        }
    }

    fn fill(&self, device: &DeviceId) -> String {
        self.0.fill(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Option<String> {
        let device = DeviceId::parse("GID_test@@@AA_BB_CC_DD_EE_FF@@@uuid").unwrap();
        TopicTemplate::parse(text).ok().map(|template| template.fill(&device))
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
