//! Text with placeholders for the fields of a client id.

use crate::identity::DeviceId;

/// Text with the placeholders `{group}`, `{mac}`, `{suffix}` and `{client-id}`.
pub(super) struct Template(Vec<Segment>);

enum Segment {
    Text(String),
    Group,
    Mac,
    Suffix,
    ClientId,
}

impl Template {
    /// Parses a template.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut segments = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a `{` has no matching `}`; add it, or remove the `{`")?;
            segments.push(Segment::Text(before.to_owned()));
            segments.push(
                Segment::placeholder(name).ok_or("unknown placeholder; use {group}, {mac}, {suffix} or {client-id}")?,
            );
            rest = after;
        }
        segments.push(Segment::Text(rest.to_owned()));
        Ok(Self(segments))
    }

    /// Inserts the fields of a device.
    pub(super) fn fill(&self, device: &DeviceId) -> String {
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
