//! The two messages of a health check, by hand: each has one field, and tonic with its health service would be 17 crates more.
//!
//! ```text
//!  message HealthCheckRequest  { string service = 1; }           health/v1/health.proto
//!  message HealthCheckResponse { ServingStatus status = 1; }
//!
//!  0          1               5                                  PROTOCOL-HTTP2.md, "Length-Prefixed-Message"
//!  ├──────────┼───────────────┼──────────┄
//!  │compressed│ length, BE    │ message
//! ```
//!
//! A message is a row of fields, each a tag (number × 8 + type) and a value; numbers are varints, seven bits a byte, the
//! lowest first (Protocol Buffers, "Encoding"). What a newer protocol may add is skipped.

/// Bytes before a message.
const PREFIX: usize = 5;
/// Field 1 of type LEN: `service`.
const SERVICE: u8 = 1 << 3 | 2;

/// `HealthCheckResponse.ServingStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Unknown,
    Serving,
    NotServing,
    /// Of the call Watch only, but it is a status.
    ServiceUnknown,
    /// A newer one.
    Other(u64),
}

impl Status {
    /// As the protocol has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
            Self::Other(_) => "another status",
        }
    }
}

/// A whole request, with its prefix. `service` has less than 4 GiB.
pub(super) fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    // The default, the empty text, is not sent.
    if !service.is_empty() {
        message.push(SERVICE);
        put_varint(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

/// The status in a whole answer.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn answer(framed: &[u8]) -> Result<Status, String> {
    let garbled = || String::from("the answer is no message of the health protocol");
    let Some((prefix, message)) = framed.split_at_checked(PREFIX) else {
        return Err(match framed {
            [] => "the answer is empty".into(),
            _ => garbled(),
        });
    };
    // Nothing was said of compression, so there must be none.
    if prefix[0] != 0 {
        return Err("the answer is compressed".into());
    }
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if usize::try_from(length) != Ok(message.len()) {
        return Err(garbled());
    }
    status(message).ok_or_else(garbled)
}

fn status(mut rest: &[u8]) -> Option<Status> {
    // The default is not sent; of several the last counts.
    let mut status = 0;
    while !rest.is_empty() {
        let tag = take_varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = take_varint(&mut rest)?,
            (1, _) | (0, _) => return None,
            (_, 0) => drop(take_varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            (_, _) => return None,
        }
    }
    Some(match status {
        0 => Status::Unknown,
        1 => Status::Serving,
        2 => Status::NotServing,
        3 => Status::ServiceUnknown,
        other => Status::Other(other),
    })
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// At most ten bytes; what does not fit into 64 bits is lost, as everywhere.
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..70).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_encoded_as_protoc_does() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
        assert_eq!(long.len(), 5 + 303);
    }

    #[test]
    fn every_status_is_read() {
        let read = |message: &[u8]| {
            let mut framed = vec![0, 0, 0, 0, message.len().try_into().unwrap()];
            framed.extend_from_slice(message);
            answer(&framed)
        };
        assert_eq!(read(&[]), Ok(Status::Unknown));
        assert_eq!(read(&[8, 0]), Ok(Status::Unknown));
        assert_eq!(read(&[8, 1]), Ok(Status::Serving));
        assert_eq!(read(&[8, 2]), Ok(Status::NotServing));
        assert_eq!(read(&[8, 3]), Ok(Status::ServiceUnknown));
        assert_eq!(read(&[8, 0xac, 2]), Ok(Status::Other(300)));
        assert_eq!(read(&[8, 2, 8, 1]), Ok(Status::Serving), "the last counts");
        // Fields that are not known yet, of every type.
        let newer = [16, 5, 26, 2, 1, 2, 33, 1, 2, 3, 4, 5, 6, 7, 8, 45, 1, 2, 3, 4, 8, 1];
        assert_eq!(read(&newer), Ok(Status::Serving));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let garbled = Err("the answer is no message of the health protocol".to_owned());
        assert_eq!(answer(&[]), Err("the answer is empty".into()));
        assert_eq!(answer(&[1, 0, 0, 0, 2, 8, 1]), Err("the answer is compressed".into()));
        for wrong in [
            &[0, 0, 0][..],
            &[0, 0, 0, 0, 3, 8, 1],
            &[0, 0, 0, 0, 1, 8, 1],
            &[0, 0xff, 0xff, 0xff, 0xff, 8, 1],
            &[0, 0, 0, 0, 1, 8],
            &[0, 0, 0, 0, 2, 10, 0],
            &[0, 0, 0, 0, 2, 18, 9],
            &[0, 0, 0, 0, 2, 19, 0],
            &[0, 0, 0, 0, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
        ] {
            assert_eq!(answer(wrong), garbled, "{wrong:?}");
        }
    }
}
