//! Verdicts by the body of a 200, as EMQX 5 reads them.
//!
//! EMQX 5.8 takes every other status, a reply that is not JSON and a reply without `result` for *ignore*: its next
//! authenticator decides, and without one the client is refused. So a fault is a plain `deny` here, which is final.

use crate::{ALLOW, DENY, IGNORE, Malformed, Outcome, Reply};

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow => Reply::fixed(200, ALLOW),
        Outcome::Deny | Outcome::NoVerdict => Reply::fixed(200, DENY),
        Outcome::Ignore => Reply::fixed(200, IGNORE),
        // EMQX asks by POST or GET. Whatever asks otherwise is not EMQX.
        Outcome::Malformed(Malformed::Method) => Reply::complaint(405, &Malformed::Method),
        Outcome::Malformed(problem) => Reply::complaint(200, problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_final_refusal() {
        for outcome in [
            Outcome::Deny,
            Outcome::NoVerdict,
            Outcome::Malformed(&Malformed::NotJson),
            Outcome::Malformed(&Malformed::TooLarge { limit: 1 }),
        ] {
            let reply = render(outcome);
            let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
            assert_eq!((reply.status, &body["result"]), (200, &"deny".into()), "{outcome:?}");
        }
    }

    #[test]
    fn verdicts_are_words() {
        assert_eq!(render(Outcome::Allow), Reply::fixed(200, r#"{"result":"allow"}"#));
        assert_eq!(render(Outcome::Ignore), Reply::fixed(200, r#"{"result":"ignore"}"#));
    }
}
