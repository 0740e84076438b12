//! The versions of the form, and the choice of one that both programs know.
//!
//! One number stands for the whole form. Its parts in other crates have numbers of their own, which change only with the
//! part: see `docs/adr/0020`.

/// A version of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// One document.
    V1,
    /// BFD is in a document of its own; failures that were told, and the numbers of results.
    V2,
}

impl Version {
    /// All, the oldest first. This program reads and writes each, and works with the last.
    pub(crate) const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// Its number.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The newest that a program can read which reads these. `None`: there is none in common.
    pub(crate) fn for_reader_of(numbers: &[u32]) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|version| numbers.contains(&version.number()))
    }

    /// What it means that the next program reads no later one, in words. `None`: this is the newest.
    pub(crate) const fn means(self) -> Option<&'static str> {
        match self {
            Self::V1 => Some(
                "BFD is silent until all of it is written and read, and failures of sessions are told once more",
            ),
            Self::V2 => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_the_other_program_reads_is_written() {
        for (numbers, version) in [
            (&[1][..], Some(Version::V1)),
            (&[1, 2], Some(Version::V2)),
            (&[2, 3], Some(Version::V2)),
            (&[3, 2, 1], Some(Version::V2)),
            (&[3], None),
            (&[], None),
        ] {
            assert_eq!(Version::for_reader_of(numbers), version, "{numbers:?}");
        }
    }

    #[test]
    fn an_older_version_says_what_it_means() {
        let (newest, older) = Version::ALL.split_last().unwrap();
        assert_eq!((*newest, newest.means()), (Version::V2, None));
        assert!(older.iter().all(|version| version.means().is_some()));
    }
}
