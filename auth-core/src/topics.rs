//! Checks of publishes and subscribes against the topics of a device.

use crate::filter::{covers, is_filter, unshared};
use crate::types::{Action, Topics};

impl Topics {
    /// Whether a device with these topics may do this.
    #[must_use]
    pub fn allow(&self, action: Action) -> bool {
        match action {
            Action::ConnectWithoutProof => true,
            Action::Publish(topic) => {
                !topic.contains(['+', '#'])
                    && is_filter(topic)
                    && self.publish.iter().any(|granted| covers(granted, topic))
            }
            Action::Subscribe(filter) => {
                let filter = unshared(filter).filter(|filter| is_filter(filter));
                filter.is_some_and(|filter| self.subscribe.iter().any(|granted| covers(granted, filter)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        let list = |filters: &[&str]| filters.iter().map(|&filter| filter.to_owned()).collect();
        Topics { publish: list(&["up/aa", "log/aa/#", "$own/aa"]), subscribe: list(&["down/aa/#", "all/+", "news"]) }
    }

    #[test]
    fn allows_exactly_what_the_device_filters_cover() {
        for (action, allowed) in [
            (Action::Publish("up/aa"), true),
            (Action::Publish("log/aa"), true),
            (Action::Publish("log/aa/x/y"), true),
            (Action::Publish("$own/aa"), true),
            (Action::Publish("up/bb"), false),
            (Action::Publish("up/aa/"), false),
            (Action::Publish("up/aa/x"), false),
            (Action::Publish("log/+/x"), false),
            (Action::Publish("log/aa/#"), false),
            (Action::Publish("log/aa/\0"), false),
            (Action::Publish("down/aa/x"), false),
            (Action::Publish(""), false),
            (Action::Subscribe("down/aa/#"), true),
            (Action::Subscribe("down/aa"), true),
            (Action::Subscribe("down/aa/+/x"), true),
            (Action::Subscribe("$share/g/down/aa/#"), true),
            (Action::Subscribe("all/+"), true),
            (Action::Subscribe("all/x"), true),
            (Action::Subscribe("news"), true),
            (Action::Subscribe("#"), false),
            (Action::Subscribe("+"), false),
            (Action::Subscribe("down/#"), false),
            (Action::Subscribe("down/+/x"), false),
            (Action::Subscribe("all/#"), false),
            (Action::Subscribe("all/x/y"), false),
            (Action::Subscribe("all"), false),
            (Action::Subscribe("down/aa/x#"), false),
            (Action::Subscribe("$share/g"), false),
            (Action::Subscribe("$share//news"), false),
            (Action::Subscribe("$share/+/news"), false),
            (Action::Subscribe("$share/g/$share/g/news"), false),
            (Action::Subscribe("up/aa"), false),
            (Action::Subscribe(""), false),
        ] {
            assert_eq!(topics().allow(action), allowed, "{action:?}");
        }
    }

    #[test]
    fn leading_wildcard_excludes_dollar_topics() {
        let everything = Topics { publish: vec!["#".into()], subscribe: vec!["#".into(), "+/x".into()] };
        assert!(everything.allow(Action::Publish("a/b")) && everything.allow(Action::Subscribe("#")));
        for own in ["$SYS/brokers", "$SYS/#", "$delayed/1/a", "$x/x"] {
            assert!(!everything.allow(Action::Publish(own)) && !everything.allow(Action::Subscribe(own)), "{own}");
        }
    }
}
