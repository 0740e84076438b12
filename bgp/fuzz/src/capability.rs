//! One capability of any code, in a classic and in an extended optional parameter (RFC 9072).

use vipcast_bgp::wire::iana::{capability as code, message_type, notification, open_parameter};
use vipcast_bgp::wire::{Capability, DecodeError, Message, Open, SessionContext};

use super::message::check;
use super::wrap::{self, length};

/// The room in a classic parameter behind the head of the capability.
const MAX_CLASSIC: usize = 251;

/// The code and the value.
pub fn capability(data: &[u8]) {
    let [code, value @ ..] = data else { return };
    let value = value.get(..255).unwrap_or(value);
    let octets = [&[*code, u8::try_from(value.len()).expect("cut above")], value].concat();

    let extended = decode(&extended(&octets));
    judge(&extended, *code, value);
    if value.len() <= MAX_CLASSIC {
        assert_eq!(decode(&classic(&[&octets])), extended, "the form of the parameter makes no difference");
        if 2 * (2 + octets.len()) <= 255 {
            let twice = decode(&classic(&[&octets, &octets])).map(|open| open.capabilities);
            let once = extended.map(|open| open.capabilities);
            assert_eq!(
                twice,
                once.map(|once| [&once[..], &once].concat()),
                "a second one is as good as the first"
            );
        }
    }
}

pub(crate) fn from_message(message: &[u8]) -> Vec<Vec<u8>> {
    let Ok(Message::Open(open)) = Message::decode(message, &SessionContext::default()) else {
        return Vec::new();
    };
    open.capabilities
        .into_iter()
        .filter_map(|capability| {
            let open = Open::new(open.asn, open.hold_time, open.router_id, vec![capability.clone()]);
            let encoded = Message::Open(open).encode(&SessionContext::default()).ok()?;
            Some([&[capability.code()], encoded.get(33..)?].concat())
        })
        .collect()
}

/// There is one capability, of this code, with this value, or the OPEN is refused for it.
fn judge(open: &Result<Open, DecodeError>, code: u8, value: &[u8]) {
    match open.as_ref().map(|open| &open.capabilities[..]) {
        Ok([capability]) => {
            assert_eq!(capability.code(), code);
            assert!(!capability.to_string().is_empty());
            match capability {
                Capability::Unknown { data, .. } => assert_eq!(data, value),
                Capability::Multiprotocol(_) | Capability::FourOctetAs(_) => assert_eq!(value.len(), 4),
                Capability::RouteRefresh | Capability::EnhancedRouteRefresh => assert!(value.is_empty()),
                Capability::ExtendedNextHop(entries) => assert_eq!(entries.len() * 6, value.len()),
                Capability::Role(role) => assert_eq!(value, [role.code()]),
                Capability::GracefulRestart { families, .. } => {
                    assert_eq!(2 + families.len() * 4, value.len())
                }
            }
        }
        Ok(others) => panic!("{others:?}"),
        Err(error) => {
            let refused = error.notification();
            assert_eq!(refused.code, notification::OPEN_MESSAGE, "{error}");
            assert!(matches!(code, code::MULTIPROTOCOL | code::FOUR_OCTET_AS), "{error}");
            let zero = code == code::FOUR_OCTET_AS && value == [0; 4];
            let subcode = if zero { notification::open::BAD_PEER_AS } else { notification::UNSPECIFIC };
            assert_eq!(refused.subcode, subcode, "{error}");
        }
    }
}

/// Each of `parameters` in a parameter of its own.
fn classic(parameters: &[&[u8]]) -> Vec<u8> {
    let each =
        parameters.iter().map(|value| [&[open_parameter::CAPABILITIES, octet(value)], *value].concat());
    let all = each.collect::<Vec<_>>().concat();
    wrap::open(&[&[octet(&all)], &all[..]].concat())
}

fn extended(value: &[u8]) -> Vec<u8> {
    let parameter = [&[open_parameter::CAPABILITIES], &length(value.len())[..], value].concat();
    wrap::open(&[&[255, open_parameter::EXTENDED_LENGTH], &length(parameter.len())[..], &parameter].concat())
}

fn octet(part: &[u8]) -> u8 {
    u8::try_from(part.len()).expect("what fits was made sure of")
}

fn decode(frame: &[u8]) -> Result<Open, DecodeError> {
    check(frame, SessionContext::default());
    match Message::decode(frame, &SessionContext::default())? {
        Message::Open(open) => Ok(open),
        other @ (Message::Update(_)
        | Message::Notification(_)
        | Message::Keepalive
        | Message::RouteRefresh(_)) => {
            panic!("{other:?} of type {}, not {}", other.message_type(), message_type::OPEN)
        }
    }
}
