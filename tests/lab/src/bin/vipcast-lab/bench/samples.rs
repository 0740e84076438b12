//! Measured values: the median and the range of a few rounds, in words.

/// Values of one quantity, one for each round that succeeded.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// Of an even number of values, the mean of the two in the middle.
    pub(crate) fn median(&self) -> Option<f64> {
        let middle = self.0.len() / 2;
        let upper = *self.0.get(middle)?;
        Some(if self.0.len() % 2 == 1 { upper } else { f64::midpoint(self.0[middle - 1], upper) })
    }

    /// The lowest and the highest.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        Some((*self.0.first()?, *self.0.last()?))
    }

    /// The median alone; a dash when nothing was measured.
    pub(crate) fn middle(&self) -> String {
        self.median().map_or_else(|| "–".to_owned(), |median| number(median, median))
    }

    /// `7.1 (6.8–7.3)`; a dash when nothing was measured, and no range when it would say nothing.
    pub(crate) fn words(&self) -> String {
        let (Some(median), Some((least, most))) = (self.median(), self.range()) else {
            return "–".to_owned();
        };
        let [median, least, most] = [median, least, most].map(|value| number(value, most));
        if least == most { median } else { format!("{median} ({least}–{most})") }
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut samples = Self::default();
        values.into_iter().for_each(|value| samples.add(value));
        samples
    }
}

/// Three digits that count, as far as the largest of its neighbours needs them.
pub(crate) fn number(value: f64, largest: f64) -> String {
    let decimals = match largest {
        largest if largest < 10.0 => 2,
        largest if largest < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(Samples::from_iter([3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(Samples::from_iter([4.0, 1.0, 2.0, 3.0]).median(), Some(2.5));
        assert_eq!(Samples::default().median(), None);
    }

    #[test]
    fn a_range_is_shown_where_there_is_one() {
        assert_eq!(Samples::from_iter([7.12, 6.84, 7.3]).words(), "7.12 (6.84–7.30)");
        assert_eq!(Samples::from_iter([16.3, 9.04]).words(), "12.7 (9.0–16.3)");
        assert_eq!(Samples::from_iter([112.0]).words(), "112");
        assert_eq!(Samples::default().words(), "–");
    }
}
