//! The right answers to logins, which change with each action.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};

/// The right answer to a login with valid credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Expected {
    /// Something changes now: the answer before and the one after are both right.
    Either,
    Allow,
    Deny,
}

/// The right answers for clients of the first and of the second key. Written by one thread.
pub(crate) struct Expectations {
    by_key: [AtomicU8; 2],
    is_over: AtomicBool,
}

impl Default for Expectations {
    fn default() -> Self {
        Self { by_key: [const { AtomicU8::new(Expected::Either as u8) }; 2], is_over: AtomicBool::new(false) }
    }
}

impl Expectations {
    pub(crate) fn set(&self, expected: [Expected; 2]) {
        for (current, expected) in self.by_key.iter().zip(expected) {
            current.store(expected as u8, SeqCst);
        }
    }

    pub(crate) fn get(&self, key: usize) -> Expected {
        match self.by_key.get(key).map(|expected| expected.load(SeqCst)) {
            Some(allow) if allow == Expected::Allow as u8 => Expected::Allow,
            Some(deny) if deny == Expected::Deny as u8 => Expected::Deny,
            _ => Expected::Either,
        }
    }

    /// Ends all clients.
    pub(crate) fn end(&self) {
        self.is_over.store(true, SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }
}
