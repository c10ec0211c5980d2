//! Numbers with units: `64KiB`, `30s`.

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Time, kept in milliseconds.
    Millis,
    /// Time, kept in microseconds.
    Micros,
}

const SIZES: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
const TIMES: &[(&str, u64)] = &[
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl Unit {
    /// The units that may be written, the largest first, each in what is kept.
    fn names(self) -> &'static [(&'static str, u64)] {
        match self {
            Unit::Count => &[],
            Unit::Bytes => SIZES,
            Unit::Millis => TIMES.split_at(TIMES.len() - 1).0,
            Unit::Micros => TIMES,
        }
    }

    /// What one of what is kept is in terms of [`Unit::names`].
    fn scale(self) -> u64 {
        if self == Unit::Millis { 1_000 } else { 1 }
    }

    /// What it is, for people.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Unit::Count => "number",
            Unit::Bytes => "size",
            Unit::Millis | Unit::Micros => "time",
        }
    }

    /// Reads a number with its unit; only 0, bytes and counts go without one.
    ///
    /// # Errors
    /// What is wrong, to be put behind "is" or "has".
    pub(crate) fn parse(self, text: &str) -> Result<u64, String> {
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '_')
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let digits: String = digits.chars().filter(|&c| c != '_').collect();
        if text.starts_with('-') {
            return Err("is negative".to_owned());
        }
        if unit.starts_with(['.', ',']) && !digits.is_empty() {
            return Err("is not a whole number".to_owned());
        }
        if digits.is_empty() {
            return Err(format!("is not a {}", self.noun()));
        }
        let too_large = || "is too large".to_owned();
        let number: u64 = digits.parse().map_err(|_| too_large())?;
        let factor = match (self, unit.trim()) {
            (Unit::Count | Unit::Bytes, "") => 1,
            (_, "") if number == 0 => 1,
            (_, "") => return Err("has no unit".to_owned()),
            (Unit::Count, _) => return Err("is not a number".to_owned()),
            (_, unit) => {
                let known = self.names().iter().find(|(name, _)| *name == unit);
                known.ok_or_else(|| format!("has the unit {unit:?}"))?.1
            }
        };
        let scaled = number.checked_mul(factor).ok_or_else(too_large)?;
        Ok(scaled / self.scale())
    }

    /// Writes a number with the largest unit that divides it.
    pub(crate) fn show(self, number: u64) -> String {
        let whole = number.saturating_mul(self.scale());
        match self
            .names()
            .iter()
            .find(|(_, factor)| number != 0 && whole.is_multiple_of(*factor))
        {
            Some((name, factor)) => format!("{}{name}", whole / factor),
            None => number.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_read() {
        assert_eq!(Unit::Bytes.parse("64KiB"), Ok(65_536));
        assert_eq!(Unit::Bytes.parse("65_536"), Ok(65_536));
        assert_eq!(Unit::Bytes.parse("2 GiB"), Ok(2 << 30));
        assert_eq!(Unit::Millis.parse("5m"), Ok(300_000));
        assert_eq!(Unit::Millis.parse("0"), Ok(0));
        assert_eq!(Unit::Micros.parse("100ms"), Ok(100_000));
        assert_eq!(Unit::Count.parse("1_000"), Ok(1_000));
    }

    #[test]
    fn what_is_wrong_with_a_number_is_said() {
        let wrong = |unit: Unit, text| unit.parse(text).unwrap_err();
        assert_eq!(wrong(Unit::Bytes, "64KB"), "has the unit \"KB\"");
        assert_eq!(wrong(Unit::Millis, "30"), "has no unit");
        assert_eq!(wrong(Unit::Millis, "30us"), "has the unit \"us\"");
        assert_eq!(wrong(Unit::Millis, "1.5s"), "is not a whole number");
        assert_eq!(wrong(Unit::Millis, "soon"), "is not a time");
        assert_eq!(wrong(Unit::Bytes, "-1"), "is negative");
        assert_eq!(wrong(Unit::Bytes, "99999999999GiB"), "is too large");
        assert_eq!(wrong(Unit::Count, "many"), "is not a number");
        assert_eq!(wrong(Unit::Count, "99999999999999999999"), "is too large");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(number in 0..u64::MAX / 1_000, unit in 0..4usize) {
            let unit = [Unit::Count, Unit::Bytes, Unit::Millis, Unit::Micros][unit];
            prop_assert_eq!(unit.parse(&unit.show(number)), Ok(number));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            for unit in [Unit::Count, Unit::Bytes, Unit::Millis, Unit::Micros] {
                let _ = unit.parse(&text);
            }
        }
    }
}
