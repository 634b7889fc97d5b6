//! Tells a wrong body template of a broker from a client that sends the text of a placeholder.
//!
//! A client can log in with the user name `${foo}`. A template is wrong for every request of its broker, so a placeholder
//! in a field that a client can fill counts only if every request of the connection has it.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use brokers::Route;

/// Requests of one connection that are evidence. EMQX spreads logins over 8 connections, so that a wrong template is
/// noticed after some 15 logins.
const MIN_REQUESTS: u32 = 4;

/// Placeholders in the requests of one connection.
#[derive(Default)]
pub(super) struct TemplateEvidence {
    /// Requests of each route, by its place in [`Route::ALL`].
    requests: [AtomicU32; Route::ALL.len()],
    /// Fields that held a placeholder in every request so far.
    fields: Mutex<Vec<Suspect>>,
}

struct Suspect {
    route: Route,
    field: String,
    requests: u32,
}

impl TemplateEvidence {
    /// Takes note of a request, in which these fields hold a placeholder. Returns whether each of them held one in every
    /// request of the route so far, and the requests are enough.
    pub(super) fn observe(&self, route: Route, fields: &[&str]) -> Vec<bool> {
        let Some(requests) = self.requests.get(route as usize) else { return vec![false; fields.len()] };
        // Requests of a connection are answered one after the other, so no other thread counts meanwhile.
        let before = requests.load(Relaxed);
        requests.store(before.saturating_add(1), Relaxed);
        fields.iter().map(|field| self.add(route, field, before)).collect()
    }

    /// Adds a field. `before` is the number of earlier requests of the route.
    fn add(&self, route: Route, field: &str, before: u32) -> bool {
        let mut suspects = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        // A field whose placeholder was absent once is not a suspect again.
        suspects.retain(|suspect| suspect.route != route || suspect.requests >= before);
        let found = suspects.iter_mut().find(|suspect| suspect.route == route && suspect.field == field);
        match found {
            Some(suspect) => {
                suspect.requests = before.saturating_add(1);
                suspect.requests >= MIN_REQUESTS
            }
            None if before == 0 => {
                suspects.push(Suspect { route, field: field.to_owned(), requests: 1 });
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: Route = Route::EmqxAuth;

    #[test]
    fn a_placeholder_in_every_request_is_evidence_after_some_of_them() {
        let evidence = TemplateEvidence::default();
        let seen: Vec<_> = (0..6).map(|_| evidence.observe(ROUTE, &["username"])).collect();
        assert_eq!(seen, [[false], [false], [false], [true], [true], [true]]);
    }

    #[test]
    fn one_right_request_refutes_it_for_good() {
        for right_at in 0..4 {
            let evidence = TemplateEvidence::default();
            for request in 0..20 {
                let fields: &[&str] = if request == right_at { &[] } else { &["username"] };
                assert!(!evidence.observe(ROUTE, fields).contains(&true) || request < right_at, "{right_at} {request}");
            }
        }
    }

    #[test]
    fn fields_and_routes_are_told_apart() {
        let evidence = TemplateEvidence::default();
        for request in 0..8 {
            let fields: &[&str] = if request == 5 { &["proto", "username"] } else { &["proto"] };
            let seen = evidence.observe(ROUTE, fields);
            assert_eq!((seen[0], seen.get(1)), (request >= 3, (request == 5).then_some(&false)));
            assert_eq!(evidence.observe(Route::EmqxAcl, &[]), [false; 0]);
        }
        assert_eq!(evidence.observe(Route::EmqxAcl, &["proto"]), [false]);
    }
}
