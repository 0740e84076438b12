//! Octets as hexadecimal text: short in JSON, readable, and the same in every format.

use std::fmt::Write as _;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Octets of a stream or of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Octets(pub Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(2 * self.0.len());
        for octet in &self.0 {
            // A String takes everything.
            let _infallible = write!(text, "{octet:02x}");
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pairs = text.as_bytes().chunks(2);
        let octets = pairs.map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _odd => None,
        });
        let octets = octets.collect::<Option<Vec<u8>>>();
        octets.map(Self).ok_or_else(|| D::Error::custom("octets are not pairs of hexadecimal digits"))
    }
}

fn digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_hexadecimal_text() {
        let octets = Octets(vec![0, 0x1f, 0xff]);
        assert_eq!(serde_json::to_string(&octets).unwrap(), r#""001fff""#);
        assert_eq!(serde_json::from_str::<Octets>(r#""001FfF""#).unwrap(), octets);
        for damaged in [r#""001""#, r#""0g""#, r#""é""#, "7"] {
            assert!(serde_json::from_str::<Octets>(damaged).is_err(), "{damaged}");
        }
    }
}
