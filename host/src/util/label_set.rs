//! A few names that are told apart, and no more, whoever makes them up.

use std::sync::OnceLock;

/// The first N different values that are seen, each with a place of its own. All further ones share the place N.
///
/// Looking a value up writes nothing that other threads read.
pub(crate) struct Slots<T, const N: usize>([OnceLock<T>; N]);

impl<T, const N: usize> Default for Slots<T, N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| OnceLock::new()))
    }
}

impl<T, const N: usize> Slots<T, N> {
    /// The place of a value.
    pub(crate) fn place<Q>(&self, value: &Q) -> usize
    where
        T: PartialEq<Q>,
        Q: ToOwned<Owned = T> + ?Sized,
    {
        self.0.iter().position(|slot| slot.get_or_init(|| value.to_owned()) == value).unwrap_or(N)
    }

    /// The values that have a place.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map_while(OnceLock::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_have_places_and_the_others_share_one() {
        let slots = Slots::<String, 2>::default();
        for (value, place) in [("a", 0), ("b", 1), ("a", 0), ("c", 2), ("d", 2), ("b", 1)] {
            assert_eq!(slots.place(value), place, "{value}");
        }
        assert_eq!(slots.all().collect::<Vec<_>>(), ["a", "b"]);
    }
}
