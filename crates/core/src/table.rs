//! Tables whose rows have numbers of their own kind: a number is not taken for one of another table, and names nothing
//! once its row is gone, whatever takes the row's place.

use std::fmt::Debug;
use std::ops::Range;

/// What a table's rows are named by: a place in the table, and how often that was used before.
pub(crate) trait Number: Copy + Eq + Debug {
    fn new(place: u32, uses: u32) -> Self;
    fn place(self) -> u32;
    fn uses(self) -> u32;
}

/// A row, which knows its own number.
pub(crate) trait Row {
    type Number: Number;

    fn number(&self) -> Self::Number;
}

/// Rows that come and go.
#[derive(Debug)]
pub(crate) struct Table<R> {
    rows: slab::Slab<R>,
    /// How often each place was used before.
    uses: Vec<u32>,
}

impl<R> Default for Table<R> {
    fn default() -> Table<R> {
        Table {
            rows: slab::Slab::new(),
            uses: Vec::new(),
        }
    }
}

impl<R: Row> Table<R> {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Puts in the row that `make` makes for its number.
    pub(crate) fn insert(&mut self, make: impl FnOnce(R::Number) -> R) -> R::Number {
        let entry = self.rows.vacant_entry();
        let place = entry.key();
        if self.uses.len() <= place {
            self.uses.resize(place + 1, 0);
        }
        let number = R::Number::new(place as u32, self.uses.get(place).copied().unwrap_or(0));
        entry.insert(make(number));
        number
    }

    pub(crate) fn get(&self, number: R::Number) -> Option<&R> {
        let row = self.rows.get(number.place() as usize)?;
        (row.number() == number).then_some(row)
    }

    pub(crate) fn get_mut(&mut self, number: R::Number) -> Option<&mut R> {
        let row = self.rows.get_mut(number.place() as usize)?;
        (row.number() == number).then_some(row)
    }

    /// Takes a row out. From here on its number names nothing.
    pub(crate) fn remove(&mut self, number: R::Number) -> Option<R> {
        self.get(number)?;
        let place = number.place() as usize;
        if let Some(uses) = self.uses.get_mut(place) {
            *uses = uses.wrapping_add(1);
        }
        self.rows.try_remove(place)
    }

    /// The row at a place: for lists that keep places alone to be small, and drop one together with its row.
    pub(crate) fn at(&self, place: u32) -> Option<&R> {
        self.rows.get(place as usize)
    }

    /// All rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &R> {
        self.rows.iter().map(|(_, row)| row)
    }

    /// Places that have ever been used: rows are at those below it.
    pub(crate) fn places(&self) -> usize {
        self.uses.len()
    }

    /// The rows at these places.
    pub(crate) fn rows_at(&self, places: Range<usize>) -> impl Iterator<Item = &R> {
        places.filter_map(|place| self.rows.get(place))
    }

    /// The same, to change them.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut R> {
        self.rows.iter_mut().map(|(_, row)| row)
    }

    /// The numbers of all rows.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = R::Number> {
        self.rows.iter().map(|(_, row)| row.number())
    }
}

/// Makes a kind of numbers.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name {
            place: u32,
            uses: u32,
        }

        impl $name {
            /// Names nothing.
            pub(crate) const NONE: $name = $name {
                place: u32::MAX,
                uses: u32::MAX,
            };
        }

        impl $crate::table::Number for $name {
            fn new(place: u32, uses: u32) -> $name {
                $name { place, uses }
            }

            fn place(self) -> u32 {
                self.place
            }

            fn uses(self) -> u32 {
                self.uses
            }
        }
    };
}
pub(crate) use number;

#[cfg(test)]
mod tests {
    use super::*;

    number! {
        /// Names a row of these tests.
        TestNumber
    }

    #[derive(Debug)]
    struct TestRow(TestNumber, &'static str);

    impl Row for TestRow {
        type Number = TestNumber;

        fn number(&self) -> TestNumber {
            self.0
        }
    }

    #[test]
    fn a_number_names_nothing_once_its_row_is_gone() {
        let mut table = Table::default();
        let first = table.insert(|number| TestRow(number, "first"));
        let other = table.insert(|number| TestRow(number, "other"));
        assert_eq!(table.remove(first).map(|row| row.1), Some("first"));
        let second = table.insert(|number| TestRow(number, "second"));
        assert_eq!(first.place(), second.place());
        assert!(table.get(first).is_none() && table.get_mut(first).is_none());
        assert!(table.remove(first).is_none(), "another is there now");
        assert_eq!(table.get(second).map(|row| row.1), Some("second"));
        assert_eq!(table.at(first.place()).map(|row| row.1), Some("second"));
        assert!(table.get(TestNumber::NONE).is_none());
        assert_eq!(table.numbers().collect::<Vec<_>>(), [second, other]);
        assert_eq!(table.len(), 2);
    }
}
