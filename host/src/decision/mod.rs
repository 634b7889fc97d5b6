//! One question that has been answered: what is counted and written down of it.

use std::time::{Duration, SystemTime};

use brokers::Route;

use crate::decision::evaluate::By;
use crate::decision::code::Ruling;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// May a client connect?
    Login,
    /// May a connected client do something?
    Action,
}

impl Asked {
    pub(crate) const ALL: [Self; 2] = [Self::Login, Self::Action];

    /// Its place in [`Self::ALL`].
    pub(crate) const fn number(self) -> usize {
        self as usize
    }

    /// In a word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Action => "action",
        }
    }
}

/// A question that has been answered. Holds no password and no user name.
pub(crate) struct Decision<'a> {
    pub(crate) asked: Asked,
    pub(crate) route: Route,
    pub(crate) client_id: &'a str,
    pub(crate) ruling: Ruling,
    /// The policy that was asked.
    pub(crate) by: By,
    /// The key that vouched for the client, if the policy names one.
    pub(crate) key_id: Option<&'a str>,
    /// When it was asked.
    pub(crate) at: SystemTime,
    /// From when it was read to when its answer was known.
    pub(crate) took: Duration,
}
