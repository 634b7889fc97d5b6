//! What a policy says of one login, for people and for scripts.

use std::time::Duration;

use mqtt_gate::one_line;
use mqtt_gate::policy::{Access, CallError, Grant, Policy, Verdict};
use serde::Serialize;

use super::ask::Took;
use super::exit::Exit;
use super::show;

/// The most characters that are shown of a name or a value that a policy chose.
const MOST_SHOWN: usize = 256;

/// The answer to `ask`. It holds nothing of the credentials.
#[derive(Serialize)]
pub(crate) struct Answer {
    /// `allow`, `deny`, `ignore`, or `none`: the gate refuses then.
    verdict: &'static str,
    reason: Option<&'static str>,
    fault: Option<Fault>,
    grant: Option<Granted>,
    policy: Asked,
    microseconds: Microseconds,
    #[serde(skip)]
    exit: Exit,
}

#[derive(Serialize)]
struct Fault {
    kind: &'static str,
    error: String,
}

#[derive(Serialize)]
struct Granted {
    /// `everything`, `only` the topics, or what `broker-rules` say.
    access: &'static str,
    publish: Vec<String>,
    subscribe: Vec<String>,
    /// In seconds since 1970.
    expires_at: Option<u64>,
    key_id: Option<String>,
    attributes: Vec<Attribute>,
}

#[derive(Serialize)]
struct Attribute {
    name: String,
    value: String,
}

#[derive(Serialize)]
struct Asked {
    name: String,
    sha256: String,
}

#[derive(Serialize)]
struct Microseconds {
    first: f64,
    again: Option<f64>,
}

impl Answer {
    pub(crate) fn of(policy: &Policy, verdict: Result<Verdict, CallError>, took: &Took) -> Self {
        let mut answer = Self {
            verdict: "none",
            reason: None,
            fault: None,
            grant: None,
            policy: Asked { name: policy.name().to_owned(), sha256: policy.digest().to_string() },
            microseconds: Microseconds { first: microseconds(took.first), again: took.again.map(microseconds) },
            exit: Exit::No,
        };
        match verdict {
            Ok(Verdict::Allow(grant)) => {
                (answer.verdict, answer.exit) = ("allow", Exit::Yes);
                answer.grant = Some(grant.into());
            }
            Ok(Verdict::Deny(reason)) => (answer.verdict, answer.reason) = ("deny", Some(reason.name())),
            Ok(Verdict::Ignore) => answer.verdict = "ignore",
            Err(error) => {
                answer.exit = Exit::Fault;
                answer.fault = Some(Fault { kind: error.kind(), error: sanitize::chain(&error) });
            }
        }
        answer
    }

    /// What the verdict comes to for a script.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn lines(&self) -> String {
        let mut lines = vec![self.headline()];
        if let Some(grant) = &self.grant {
            lines.extend(grant.lines());
        }
        lines.push(format!("policy     {}, sha256 {}", self.policy.name, self.policy.sha256));
        let again = self.microseconds.again.map(|again| format!(", asked again {again} µs")).unwrap_or_default();
        lines.push(format!("took       {} µs{again}", self.microseconds.first));
        lines.join("\n")
    }

    fn headline(&self) -> String {
        match (self.reason, &self.fault) {
            (_, Some(fault)) => format!("no verdict, so it is refused: {} ({})", fault.error, fault.kind),
            (Some(reason), _) => format!("deny: {reason}"),
            (None, None) if self.exit == Exit::Yes => "allow".to_owned(),
            (None, None) => "ignore: refused, unless another authenticator lets it in".to_owned(),
        }
    }
}

impl Granted {
    fn lines(&self) -> Vec<String> {
        let mut lines = match self.access {
            "everything" => vec!["topics     every one".to_owned()],
            "broker-rules" => vec!["topics     as the broker's own rules say".to_owned()],
            _ => {
                vec![format!("publish    {}", listed(&self.publish)), format!("subscribe  {}", listed(&self.subscribe))]
            }
        };
        if let Some(end) = self.expires_at {
            lines.push(format!("ends       {}", show::moment(end)));
        }
        if let Some(key) = &self.key_id {
            lines.push(format!("key        {}", shown(key)));
        }
        for Attribute { name, value } in &self.attributes {
            lines.push(format!("attribute  {}={}", shown(name), shown(value)));
        }
        lines
    }
}

impl From<Grant> for Granted {
    fn from(grant: Grant) -> Self {
        let (access, publish, subscribe) = match grant.access {
            Access::Everything => ("everything", Vec::new(), Vec::new()),
            Access::Only(topics) => ("only", topics.publish, topics.subscribe),
            Access::BrokerRules => ("broker-rules", Vec::new(), Vec::new()),
        };
        let attributes = grant.attributes.into_iter().map(|(name, value)| Attribute { name, value }).collect();
        Self { access, publish, subscribe, expires_at: grant.expires_at, key_id: grant.key_id, attributes }
    }
}

fn listed(topics: &[String]) -> String {
    if topics.is_empty() {
        return "nothing".to_owned();
    }
    topics.iter().map(|topic| shown(topic)).collect::<Vec<_>>().join("  ")
}

fn shown(text: &str) -> String {
    sanitize::escaped(text, MOST_SHOWN)
}

/// To a tenth: the clock tells no more.
fn microseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}
