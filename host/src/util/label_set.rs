//! A bounded set of label values, so that labels that clients choose cannot fill the memory.

use std::sync::OnceLock;

/// Assigns an index to each of the first N distinct values. All further values share the index N.
///
/// Looking up a known value writes nothing, so threads do not contend for it.
pub(crate) struct LabelSet<T, const N: usize>([OnceLock<T>; N]);

impl<T, const N: usize> Default for LabelSet<T, N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| OnceLock::new()))
    }
}

impl<T, const N: usize> LabelSet<T, N> {
    /// The index of a value, from 0 to N.
    pub(crate) fn index_of<Q>(&self, value: &Q) -> usize
    where
        T: PartialEq<Q>,
        Q: ToOwned<Owned = T> + ?Sized,
    {
        self.0.iter().position(|slot| slot.get_or_init(|| value.to_owned()) == value).unwrap_or(N)
    }

    /// The first N values, in the order of the indices.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map_while(OnceLock::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_bound_share_an_index() {
        let labels = LabelSet::<String, 2>::default();
        for (value, index) in [("a", 0), ("b", 1), ("a", 0), ("c", 2), ("d", 2), ("b", 1)] {
            assert_eq!(labels.index_of(value), index, "{value}");
        }
        assert_eq!(labels.iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
