//! Verdicts by HTTP status, with the same word in the body for people and for brokers that read both.

use crate::{ALLOW, DENY, IGNORE, Malformed, Outcome, Reply};

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow => Reply::fixed(200, ALLOW),
        Outcome::Deny => Reply::fixed(401, DENY),
        Outcome::Ignore => Reply::fixed(401, IGNORE),
        Outcome::NoVerdict => Reply::fixed(503, DENY),
        Outcome::Malformed(problem) => Reply::complaint(status(problem), problem),
    }
}

fn status(problem: &Malformed) -> u16 {
    match problem {
        Malformed::Method => 405,
        Malformed::TooLarge { .. } => 413,
        Malformed::TooSlow => 408,
        _ => 400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allow_has_a_status_that_lets_in() {
        for (outcome, expected) in [
            (Outcome::Allow, 200),
            (Outcome::Deny, 401),
            (Outcome::Ignore, 401),
            (Outcome::NoVerdict, 503),
            (Outcome::Malformed(&Malformed::NotJson), 400),
            (Outcome::Malformed(&Malformed::Method), 405),
            (Outcome::Malformed(&Malformed::TooLarge { limit: 1 }), 413),
            (Outcome::Malformed(&Malformed::TooSlow), 408),
        ] {
            let reply = render(outcome);
            assert_eq!(reply.status, expected);
            assert_eq!(reply.body.contains("allow"), outcome == Outcome::Allow);
        }
    }
}
