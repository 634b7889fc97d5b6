//! The policy's answer to an authorize request.

/// Whether a connected client may publish or subscribe, in order of strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// The policy allows it.
    Allow,
    /// The policy leaves it to the broker's own rules.
    Ignore,
    /// The policy denies it.
    Deny,
}

impl Permission {
    /// The strictest of several permissions, for a request with several accesses. Of none: [`Permission::Deny`].
    #[must_use]
    pub fn combine(permissions: impl IntoIterator<Item = Self>) -> Self {
        permissions.into_iter().max().unwrap_or(Self::Deny)
    }

    /// The strictest of several permissions, as [`Permission::combine`]. Stops at the first call without a permission.
    ///
    /// # Errors
    /// The first error.
    pub fn try_combine<E>(permissions: impl IntoIterator<Item = Result<Self, E>>) -> Result<Self, E> {
        let strictest = permissions
            .into_iter()
            .try_fold(None, |strictest, permission| permission.map(|permission| strictest.max(Some(permission))))?;
        Ok(strictest.unwrap_or(Self::Deny))
    }
}

#[cfg(test)]
mod tests {
    use super::Permission::{self, Allow, Deny, Ignore};

    #[test]
    fn strictest_permission_counts() {
        for (permissions, expected) in [
            (&[][..], Deny),
            (&[Allow], Allow),
            (&[Ignore], Ignore),
            (&[Allow, Allow], Allow),
            (&[Allow, Ignore], Ignore),
            (&[Ignore, Allow], Ignore),
            (&[Ignore, Deny], Deny),
            (&[Deny, Allow], Deny),
            (&[Allow, Ignore, Deny, Allow], Deny),
        ] {
            assert_eq!(Permission::combine(permissions.iter().copied()), expected, "{permissions:?}");
            let results = permissions.iter().map(|permission| Ok::<_, ()>(*permission));
            assert_eq!(Permission::try_combine(results), Ok(expected), "{permissions:?}");
        }
    }

    #[test]
    fn first_error_ends_the_calls() {
        let mut calls = 0;
        let permissions = [Ok(Deny), Err("first"), Err("second")].into_iter().inspect(|_| calls += 1);
        assert_eq!(Permission::try_combine(permissions), Err("first"));
        assert_eq!(calls, 2);
    }
}
