//! Reasons to drop a packet, each with a name and a counter.

use std::fmt;
use std::marker::PhantomData;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// A reason, as [`reasons!`](crate::reasons) declares it.
pub trait Reason: Copy + fmt::Display + 'static {
    /// Every reason.
    const LIST: &'static [Self];

    /// Its place in [`Self::LIST`].
    fn index(self) -> usize;

    /// The name of the variant, which is also the name of its counter.
    fn name(self) -> &'static str;
}

/// Declares an enum of reasons with the words of each, the list of its values, and its [`Counts`].
///
/// ```
/// vipcast_machine::reasons! {
///     /// Why a letter is not read.
///     pub enum Unread {
///         /// It has no stamp.
///         Stamp = "it has no stamp",
///     }
///     /// The number of letters for each reason.
///     pub type Letters;
/// }
///
/// let mut letters = Letters::default();
/// letters.count(Unread::Stamp);
/// assert_eq!(letters.to_string(), "it has no stamp (1)");
/// ```
#[macro_export]
macro_rules! reasons {
    (
        $(#[$of_reason:meta])+
        pub enum $reason:ident { $($(#[$doc:meta])+ $name:ident = $words:literal,)+ }
        $(#[$of_counts:meta])+
        pub type $counts:ident;
    ) => {
        $(#[$of_reason])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $reason {
            $($(#[$doc])+ $name,)+
        }

        impl $reason {
            /// Every reason.
            pub const ALL: [Self; [$($words),+].len()] = [$(Self::$name),+];

            /// The name of the variant, which is also the name of its counter.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }

        impl $crate::reason::Reason for $reason {
            const LIST: &'static [Self] = &Self::ALL;

            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                $reason::name(self)
            }
        }

        impl ::std::fmt::Display for $reason {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $words,)+
                })
            }
        }

        impl ::std::error::Error for $reason {}

        $(#[$of_counts])+
        pub type $counts = $crate::reason::Counts<$reason, { $reason::ALL.len() }>;
    };
}

/// A number for each reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts<R, const N: usize>([u64; N], PhantomData<R>);

impl<R, const N: usize> Default for Counts<R, N> {
    fn default() -> Self {
        Self([0; N], PhantomData)
    }
}

impl<R: Reason, const N: usize> Counts<R, N> {
    /// Counts one more.
    pub fn count(&mut self, reason: R) {
        if let Some(count) = self.0.get_mut(reason.index()) {
            *count += 1;
        }
    }

    /// Replaces the number for this reason.
    pub fn set(&mut self, reason: R, number: u64) {
        if let Some(count) = self.0.get_mut(reason.index()) {
            *count = number;
        }
    }

    /// The number for this reason.
    pub fn of(&self, reason: R) -> u64 {
        self.0.get(reason.index()).copied().unwrap_or_default()
    }

    /// The reasons that occurred, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (R, u64)> + '_ {
        R::LIST.iter().copied().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// The total.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// In JSON: the names of the reasons that occurred, and their numbers.
impl<R: Reason, const N: usize> Serialize for Counts<R, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (reason, count) in self.iter() {
            map.serialize_entry(reason.name(), &count)?;
        }
        map.end()
    }
}

impl<R: Reason, const N: usize> fmt::Display for Counts<R, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (reason, count)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{reason} ({count})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro is for public types")]
mod tests {
    crate::reasons! {
        /// Why a letter is not read.
        pub enum Unread {
            /// It has no stamp.
            Stamp = "it has no stamp",
            /// It is for somebody else.
            Address = "it is for somebody else",
        }
        /// The number of letters for each reason.
        pub type Letters;
    }

    #[test]
    fn what_occurred_is_counted_and_named() {
        let mut letters = Letters::default();
        assert_eq!((letters.total(), letters.to_string()), (0, String::new()));
        letters.count(Unread::Address);
        letters.count(Unread::Stamp);
        letters.count(Unread::Address);
        assert_eq!(letters.to_string(), "it has no stamp (1), it is for somebody else (2)");
        assert_eq!(serde_json::to_string(&letters).unwrap(), r#"{"Stamp":1,"Address":2}"#);
        letters.set(Unread::Address, 7);
        assert_eq!((letters.of(Unread::Address), letters.total()), (7, 8));
        assert_eq!(Unread::ALL.map(Unread::name), ["Stamp", "Address"]);
    }
}
