//! A load runs while the policy is swapped back and forth, and not one login is lost or misjudged.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::support::device::Device;
use crate::support::http::{Connection, post};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, OPERATOR};

const SWAPS: u64 = 50;
pub(crate) const CONNECTIONS: usize = 8;
/// More than a server takes in one go.
const DEPTH: usize = 48;

/// How far the swaps have come. `2n`: policy n serves and nothing else can. `2n + 1`: policy n or the next one serves.
pub(crate) type Phase = Arc<AtomicU64>;

/// A request, and the status each of the two policies answers it with.
struct Question {
    request: Vec<u8>,
    by_auth_core: u16,
    by_lockdown: u16,
}

/// Three that take turns, so that an answer in another's place is seen.
fn questions() -> [Question; 3] {
    [
        Question { request: Device::genuine().request(), by_auth_core: 200, by_lockdown: 401 },
        Question { request: post("/mqtt/auth", "application/json", b"{"), by_auth_core: 400, by_lockdown: 400 },
        Question { request: Device::named(OPERATOR).request(), by_auth_core: 401, by_lockdown: 200 },
    ]
}

impl Question {
    fn answer_in(&self, policy: u64) -> u16 {
        if policy.is_multiple_of(2) { self.by_auth_core } else { self.by_lockdown }
    }

    /// Whether a policy that could serve between the two phases answers so.
    fn may_be_answered(&self, status: u16, sent_in: u64, answered_in: u64) -> bool {
        (sent_in / 2..=answered_in.div_ceil(2)).any(|policy| self.answer_in(policy) == status)
    }
}

/// Asks in bursts until so many swaps are done; the number of answers.
pub(crate) async fn storm(mut connection: Connection, phase: Phase, swaps: u64) -> u64 {
    let questions = questions();
    let burst: Vec<u8> = (0..DEPTH).flat_map(|at| questions[at % questions.len()].request.iter().copied()).collect();
    let mut answers = 0;
    while phase.load(SeqCst) < 2 * swaps {
        let sent_in = phase.load(SeqCst);
        connection.send(&burst).await;
        for at in 0..DEPTH {
            let status = connection.answer().await.status;
            let answered_in = phase.load(SeqCst);
            let question = &questions[at % questions.len()];
            assert!(
                question.may_be_answered(status, sent_in, answered_in),
                "{status} to question {at}, sent in phase {sent_in} and answered in phase {answered_in}"
            );
            answers += 1;
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_swaps_under_load_lose_and_misjudge_nothing() {
    let gate = Gate::start(AUTH_CORE).await;
    let policies = [fs::read(AUTH_CORE).unwrap(), fs::read(LOCKDOWN).unwrap()];
    let phase = Phase::default();
    let mut storms = Vec::new();
    for _ in 0..CONNECTIONS {
        storms.push(tokio::spawn(storm(Connection::open(gate.logins).await, Arc::clone(&phase), SWAPS)));
    }
    for swap in 1..=SWAPS {
        phase.fetch_add(1, SeqCst);
        gate.rename_policy(&policies[usize::try_from(swap % 2).unwrap()]);
        gate.until_generation(swap + 1).await;
        phase.fetch_add(1, SeqCst);
    }
    let mut answers = 0;
    for storm in storms {
        answers += storm.await.unwrap();
    }
    let status = gate.status().await;
    assert_eq!(status["calls"].as_u64().unwrap() + status["malformed"].as_u64().unwrap(), answers);
    assert_eq!((&status["no_verdict"], &status["rejected"]["count"]), (&0.into(), &0.into()));
    gate.stop().await;
}
