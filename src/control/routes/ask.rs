//! The parts of a request: nothing, a parameter in the path, or a JSON body.

use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::api::schema::Named;
use super::super::api::{
    DrainRequest, ForceRequest, Refusal, Schema, ServicesRequest, UndrainRequest, UpgradeRequest,
};

/// The place of a request's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// There are none.
    Nothing,
    /// At the end of the path.
    Parameter,
    /// In a JSON body.
    Body,
}

/// The request of a route.
pub trait Ask: Sized {
    /// The place of its arguments.
    const TAKES: Takes;

    /// Decodes the request.
    ///
    /// # Errors
    /// The request is invalid.
    fn read(parameter: &str, body: &[u8]) -> Result<Self, Refusal>;

    /// The parameter and the body of the request.
    ///
    /// # Errors
    /// There is no JSON for it.
    fn write(&self) -> serde_json::Result<(String, Vec<u8>)>;

    /// Its schema.
    fn schema(named: &mut Named) -> Value;
}

impl Ask for () {
    const TAKES: Takes = Takes::Nothing;

    fn read(_: &str, _: &[u8]) -> Result<Self, Refusal> {
        Ok(())
    }

    fn write(&self) -> serde_json::Result<(String, Vec<u8>)> {
        Ok((String::new(), Vec::new()))
    }

    fn schema(_: &mut Named) -> Value {
        Value::Null
    }
}

impl Ask for IpNet {
    const TAKES: Takes = Takes::Parameter;

    fn read(parameter: &str, _: &[u8]) -> Result<Self, Refusal> {
        parse_vip(&decoded(parameter))
    }

    fn write(&self) -> serde_json::Result<(String, Vec<u8>)> {
        Ok((self.to_string(), Vec::new()))
    }

    fn schema(_: &mut Named) -> Value {
        let octet = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
        let (short, long) = ("(3[0-2]|[12]?[0-9])", "(12[0-8]|1[01][0-9]|[1-9]?[0-9])");
        let group = "[0-9a-fA-F]{1,4}";
        json!({
            "type": "string",
            "anyOf": [
                {"format": "ipv4"},
                {"format": "ipv6"},
                {"pattern": format!("^({octet}\\.){{3}}{octet}/{short}$")},
                {"pattern": format!("^(({group}:){{7}}{group}|({group}:){{1,6}}(:{group}|:))/{long}$")},
            ],
        })
    }
}

/// A request whose body is JSON.
pub trait Body: Serialize + DeserializeOwned + Schema {}

impl Body for DrainRequest {}
impl Body for ForceRequest {}
impl Body for ServicesRequest {}
impl Body for UndrainRequest {}
impl Body for UpgradeRequest {}

impl<T: Body> Ask for T {
    const TAKES: Takes = Takes::Body;

    fn read(_: &str, body: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body)
            .map_err(|error| Refusal { error: format!("cannot understand the request: {error}"), hint: None })
    }

    fn write(&self) -> serde_json::Result<(String, Vec<u8>)> {
        Ok((String::new(), serde_json::to_vec(self)?))
    }

    fn schema(named: &mut Named) -> Value {
        <T as Schema>::schema(named)
    }
}

/// Parses a VIP: an address, or a prefix.
///
/// # Errors
/// The text is neither.
pub fn parse_vip(text: &str) -> Result<IpNet, Refusal> {
    let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
    address.or_else(|_not_an_address| text.parse::<IpNet>()).map_err(|_neither| Refusal {
        error: format!("{text:?} is neither an IP address nor a prefix"),
        hint: Some("write it like 192.0.2.10 or 2001:db8::/48".to_owned()),
    })
}

/// Decodes the escapes in a part of a path: `10.0.0.0%2F24`. An invalid escape stays unchanged.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, behind)) = rest.split_first() {
        let escape =
            behind.get(..2).filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = escape.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_parameter_is_read_as_what_it_stands_for() {
        for (text, meant) in [
            ("10.0.0.0%2F24", "10.0.0.0/24"),
            ("10.0.0.0/24", "10.0.0.0/24"),
            ("2001%3adb8%3A%3A1", "2001:db8::1"),
            ("%", "%"),
            ("%2", "%2"),
            ("%+1%zz", "%+1%zz"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decoded(text), meant);
        }
    }
}
