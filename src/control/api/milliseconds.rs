//! A time in a request.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::schema::{Named, Schema};

/// A time in whole milliseconds. In JSON `1000.0` and `1e3` are whole numbers as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Milliseconds(u64);

impl Milliseconds {
    /// A hundred years: no drain is longer.
    pub const LONGEST: Self = Self(100 * 365 * 24 * 3_600_000);
}

impl From<Duration> for Milliseconds {
    fn from(time: Duration) -> Self {
        Self(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Milliseconds> for Duration {
    fn from(Milliseconds(time): Milliseconds) -> Self {
        Self::from_millis(time)
    }
}

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;

        impl Visitor<'_> for Whole {
            type Value = Milliseconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of milliseconds")
            }

            fn visit_u64<E: Error>(self, time: u64) -> Result<Milliseconds, E> {
                Ok(Milliseconds(time))
            }

            fn visit_f64<E: Error>(self, time: f64) -> Result<Milliseconds, E> {
                // Up to here every whole number is a float.
                let is_whole = time.fract() == 0.0 && (0.0..9e15).contains(&time);
                match is_whole {
                    true => Ok(Milliseconds(time as u64)),
                    false => Err(E::invalid_value(Unexpected::Float(time), &self)),
                }
            }
        }

        deserializer.deserialize_u64(Whole)
    }
}

impl Schema for Milliseconds {
    fn schema(_: &mut Named) -> Value {
        json!({"type": "integer", "minimum": 0, "maximum": Self::LONGEST.0})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_may_be_written_as_a_float() {
        let read = |text: &str| serde_json::from_str::<Milliseconds>(text);
        for (text, time) in [("0", 0), ("7200000", 7_200_000), ("7200000.0", 7_200_000), ("1e3", 1000)] {
            assert_eq!(read(text).unwrap(), Milliseconds(time));
        }
        for text in ["-1", "1.5", "2.8e-26", "1e300", "-0.5", "\"1\"", "null"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(
            read("0.5").unwrap_err().to_string(),
            "invalid value: floating point `0.5`, expected a whole number of milliseconds at line 1 column 3"
        );
    }
}
