//! What a device may publish and subscribe to, from the operator's templates.

use crate::identity::DeviceId;
use crate::settings::{SettingError, items};

/// Topic filters with places to fill in, each checked to be a filter whatever is filled in.
pub(crate) struct Templates {
    publish: Vec<Template>,
    subscribe: Vec<Template>,
}

impl Templates {
    /// Parses both settings; `None` if neither is set, which leaves topics to the broker's own rules.
    pub(crate) fn parse(publish: Option<String>, subscribe: Option<String>) -> Result<Option<Self>, SettingError> {
        if publish.is_none() && subscribe.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            publish: Template::parse_list("publish-topics", publish)?,
            subscribe: Template::parse_list("subscribe-topics", subscribe)?,
        }))
    }
}

/// The topics of one device, as MQTT topic filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// What it may publish to.
    pub publish: Vec<String>,
    /// What it may subscribe to.
    pub subscribe: Vec<String>,
}

impl Topics {
    /// Fills in the templates. What is filled in holds no `+`, `#` or `/`: a [`DeviceId`] has none.
    pub(crate) fn of(templates: &Templates, device: &DeviceId) -> Self {
        let fill = |templates: &[Template]| templates.iter().map(|template| template.fill(device)).collect();
        Self { publish: fill(&templates.publish), subscribe: fill(&templates.subscribe) }
    }
}

struct Template(Vec<Part>);

enum Part {
    Text(String),
    Group,
    Mac,
    Third,
    ClientId,
}

impl Template {
    fn parse_list(name: &'static str, text: Option<String>) -> Result<Vec<Self>, SettingError> {
        let fails = |problem| SettingError { name, problem };
        items(&text.unwrap_or_default()).map(|item| Self::parse(item).map_err(fails)).collect()
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a `{` without its `}`")?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::named(name).ok_or("only {group}, {mac}, {id} and {client-id} can be filled in")?);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = Self(parts);
        let example = DeviceId { client_id: "x", group: "x", mac: "x", third: "x" };
        if is_filter(&template.fill(&example)) {
            Ok(template)
        } else {
            Err("not an MQTT topic filter: `+` and `#` are whole levels, `#` is the last one, there is no `}` alone")
        }
    }

    fn fill(&self, device: &DeviceId) -> String {
        self.0.iter().map(|part| part.text(device)).collect()
    }
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "group" => Self::Group,
            "mac" => Self::Mac,
            "id" => Self::Third,
            "client-id" => Self::ClientId,
            _ => return None,
        })
    }

    fn text<'a>(&'a self, device: &DeviceId<'a>) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Group => device.group,
            Self::Mac => device.mac,
            Self::Third => device.third,
            Self::ClientId => device.client_id,
        }
    }
}

/// Whether this is a topic filter (MQTT 5.0, section 4.7), and no brace is left over from a template.
fn is_filter(text: &str) -> bool {
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        let wildcard = level.contains(['+', '#']);
        if wildcard && level.len() > 1 || level == "#" && levels.peek().is_some() {
            return false;
        }
    }
    !text.is_empty() && text.len() <= 65_535 && !text.contains(['\0', '{', '}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Option<String> {
        let device = DeviceId::parse("GID_test@@@AA_BB_CC_DD_EE_FF@@@uuid").unwrap();
        Template::parse(text).ok().map(|template| template.fill(&device))
    }

    #[test]
    fn every_place_is_filled_in() {
        for (template, filter) in [
            ("devices/{mac}/up", "devices/AA_BB_CC_DD_EE_FF/up"),
            ("{group}/{id}/+/#", "GID_test/uuid/+/#"),
            ("c/{client-id}", "c/GID_test@@@AA_BB_CC_DD_EE_FF@@@uuid"),
            ("pre-{mac}-post", "pre-AA_BB_CC_DD_EE_FF-post"),
            ("#", "#"),
            ("/", "/"),
        ] {
            assert_eq!(filled(template).as_deref(), Some(filter));
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for bad in ["a/#/b", "a+", "a/+{mac}", "{mac}#", "##", "{mac", "mac}", "{}", "{MAC}", "{{mac}}", "a\0b"] {
            assert_eq!(filled(bad), None, "{bad}");
        }
    }
}
