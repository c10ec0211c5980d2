//! Values by numbers that are given in ascending order: the players of a room.

/// Values in the order of their numbers.
///
/// What comes has the highest number mostly, and is appended. A B-tree would be half empty then: its leaves are split
/// when they are full, and nothing comes to the lower halves any more.
#[derive(Debug)]
pub(crate) struct Numbered<T> {
    /// In the order of their numbers. Without a value: it was taken out. That are at most as many as those with one.
    entries: Vec<(u32, Option<T>)>,
    /// Entries with a value.
    len: usize,
}

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered {
            entries: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Numbered<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn get(&self, number: &u32) -> Option<&T> {
        let at = self.find(*number).ok()?;
        self.entries.get(at)?.1.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: &u32) -> Option<&mut T> {
        let at = self.find(*number).ok()?;
        self.entries.get_mut(at)?.1.as_mut()
    }

    /// The value of this number, made if there is none.
    pub(crate) fn get_or_default(&mut self, number: u32) -> &mut T
    where
        T: Default,
    {
        let at = self.place(number);
        let value = &mut self.entries[at].1;
        self.len += usize::from(value.is_none());
        value.get_or_insert_default()
    }

    pub(crate) fn insert(&mut self, number: u32, value: T) {
        let at = self.place(number);
        let before = self.entries[at].1.replace(value);
        self.len += usize::from(before.is_none());
    }

    pub(crate) fn remove(&mut self, number: &u32) -> Option<T> {
        let at = self.find(*number).ok()?;
        let value = self.entries.get_mut(at)?.1.take()?;
        self.len -= 1;
        while self.entries.pop_if(|(_, value)| value.is_none()).is_some() {}
        if self.entries.len() > 2 * self.len {
            self.entries.retain(|(_, value)| value.is_some());
        }
        if self.entries.capacity() > 4 * self.entries.len() {
            self.entries.shrink_to(2 * self.entries.len());
        }
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&u32, &T)> {
        some(&self.entries)
    }

    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&u32, &mut T)> {
        let entries = self.entries.iter_mut();
        entries.filter_map(|(number, value)| Some((&*number, value.as_mut()?)))
    }

    /// Those with higher numbers than `after`, up to `to` if that is given.
    pub(crate) fn between(
        &self,
        after: u32,
        to: Option<u32>,
    ) -> impl DoubleEndedIterator<Item = (&u32, &T)> {
        let end = |last: u32| self.entries.partition_point(|(number, _)| *number <= last);
        let (start, end) = (end(after), to.map_or(self.entries.len(), end));
        some(self.entries.get(start..end).unwrap_or_default())
    }

    /// Where this number is, or would be.
    fn find(&self, number: u32) -> Result<usize, usize> {
        // Where nobody has left, each is as far from the first as its number is.
        let first = self.entries.first().map_or(0, |(first, _)| *first);
        let guess = number.wrapping_sub(first) as usize;
        if self.entries.get(guess).is_some_and(|it| it.0 == number) {
            return Ok(guess);
        }
        self.entries.binary_search_by_key(&number, |it| it.0)
    }

    /// Where this number is, perhaps without a value.
    fn place(&mut self, number: u32) -> usize {
        self.find(number).unwrap_or_else(|at| {
            // By a quarter, not by doubling: there is one of these in each of many rooms.
            if self.entries.len() == self.entries.capacity() {
                self.entries.reserve_exact((self.entries.len() / 4).max(2));
            }
            self.entries.insert(at, (number, None));
            at
        })
    }
}

fn some<T>(entries: &[(u32, Option<T>)]) -> impl DoubleEndedIterator<Item = (&u32, &T)> {
    let entries = entries.iter();
    entries.filter_map(|(number, value)| Some((number, value.as_ref()?)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Come,
        Go(u32),
        Put(u32),
        Make(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Come),
            2 => (0..80_u32).prop_map(Step::Go),
            1 => (0..80_u32).prop_map(Step::Put),
            1 => (0..80_u32).prop_map(Step::Make),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map_in_the_order_of_numbers(
            steps in prop::collection::vec(step(), 0..300),
            (after, to) in (0..90_u32, prop::option::of(0..90_u32)),
        ) {
            let (mut numbered, mut model) = (Numbered::<String>::default(), BTreeMap::new());
            let mut next = 1;
            for (n, step) in steps.into_iter().enumerate() {
                let value = n.to_string();
                match step {
                    Step::Come => {
                        numbered.insert(next, value.clone());
                        model.insert(next, value);
                        next += 1;
                    }
                    Step::Put(number) => {
                        numbered.insert(number, value.clone());
                        model.insert(number, value);
                    }
                    Step::Go(number) => prop_assert_eq!(numbered.remove(&number), model.remove(&number)),
                    Step::Make(number) => {
                        numbered.get_or_default(number).push('x');
                        model.entry(number).or_default().push('x');
                    }
                }
                prop_assert_eq!((numbered.len(), numbered.is_empty()), (model.len(), model.is_empty()));
                prop_assert!(numbered.iter().eq(model.iter()) && numbered.iter().rev().eq(model.iter().rev()));
                prop_assert!(numbered.iter_mut().rev().eq(model.iter_mut().rev()));
                prop_assert!((0..90).all(|number| numbered.get(&number) == model.get(&number)));
                prop_assert!((0..90).all(|number| numbered.get_mut(&number) == model.get_mut(&number)));
                prop_assert!(numbered.entries.len() <= 2 * numbered.len());
                prop_assert!(numbered.entries.capacity() <= 4 + 8 * numbered.len());
            }
            let range = (Bound::Excluded(after), Bound::Included(to.unwrap_or(u32::MAX).max(after)));
            let expected: Vec<_> = model.range(range).filter(|(number, _)| to.is_none_or(|to| **number <= to)).collect();
            prop_assert_eq!(numbered.between(after, to).collect::<Vec<_>>(), expected);
            prop_assert!(numbered.iter().map(|(_, it)| it).eq(model.values()));
        }
    }

    #[test]
    fn those_who_come_take_little_more_than_their_own() {
        let mut numbered = Numbered::default();
        for number in 1..=1_000 {
            numbered.insert(number, [0_u64; 16]);
            let spare = numbered.entries.capacity() - numbered.len();
            assert!(spare <= 2 + numbered.len() / 4, "{spare} at {number}");
        }
        for number in 1..1_000 {
            numbered.remove(&number);
        }
        assert!(numbered.entries.capacity() <= 4);
        assert!(numbered.between(u32::MAX, None).next().is_none());
    }
}
