//! The kernel's messages about links and addresses (rtnetlink(7)), as bytes.
//!
//! ```text
//!  datagram = [ nlmsghdr 16 | ifinfomsg 16 or ifaddrmsg 8 | rtattr … ] …      all in the host's byte order
//! ```

use std::net::IpAddr;

use crate::host::{Change, Condition};

/// struct nlmsghdr.
const HEADER: usize = 16;
/// struct ifinfomsg.
const LINK_HEADER: usize = 16;
/// struct ifaddrmsg.
const ADDRESS_HEADER: usize = 8;
/// struct rtattr.
const ATTRIBUTE_HEADER: usize = 4;
/// The upper bits of an attribute's type are flags.
const TYPE_MASK: u16 = 0x3FFF;

/// A message in a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// A link or an address has changed.
    Change(Change),
    /// The host changed during the answer, so that it may be incomplete. The kernel says so once, with the first part
    /// behind the change, whether another part follows or not.
    Torn,
    /// The answer to a question has ended.
    Done,
    /// The kernel refused to answer, or broke off, with this error number.
    Refused(i32),
}

/// A question for all links or all addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Links,
    Addresses,
}

impl Question {
    /// The request as bytes.
    pub(super) fn encode(self, sequence: u32) -> Vec<u8> {
        let (kind, body): (u16, usize) = match self {
            Self::Links => (libc::RTM_GETLINK, LINK_HEADER),
            Self::Addresses => (libc::RTM_GETADDR, ADDRESS_HEADER),
        };
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
        let length = u32::try_from(HEADER + body).unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEADER + body);
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        // The kernel fills in the port; AF_UNSPEC asks for both families.
        bytes.resize(HEADER + body, 0);
        bytes
    }
}

/// The messages of a datagram about links and addresses. Truncated messages are left out.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(number(rest, 0)?).ok().filter(|length| *length >= HEADER)?;
        let message = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
    .flat_map(|bytes| {
        let flags = short(bytes, 6).map_or(0, i32::from);
        let torn = (flags & libc::NLM_F_DUMP_INTR != 0).then_some(Message::Torn);
        torn.into_iter().chain(message(bytes))
    })
}

fn message(message: &[u8]) -> Option<Message> {
    let kind = short(message, 4)?;
    let body = message.get(HEADER..)?;
    // The end of an answer has one, too; zero: nothing failed.
    let errno = || body.first_chunk().map_or(0, |errno| i32::from_ne_bytes(*errno));
    match (i32::from(kind), errno()) {
        (libc::NLMSG_DONE, 0) => Some(Message::Done),
        (libc::NLMSG_ERROR, 0) => None,
        (libc::NLMSG_DONE | libc::NLMSG_ERROR, errno) => Some(Message::Refused(errno.saturating_neg())),
        (_rtnetlink, _) => match kind {
            libc::RTM_NEWLINK => link(body, false),
            libc::RTM_DELLINK => link(body, true),
            libc::RTM_NEWADDR => address(body, false),
            libc::RTM_DELADDR => address(body, true),
            _other => None,
        }
        .map(Message::Change),
    }
}

fn link(body: &[u8], is_gone: bool) -> Option<Change> {
    // A bridge reports its ports with the same messages, and a port that leaves the bridge as a removed link.
    if i32::from(*body.first()?) != libc::AF_UNSPEC {
        return None;
    }
    let index = number(body, 4)?;
    if is_gone {
        return Some(Change::LinkGone(index));
    }
    let flags = number(body, 8)? as i32;
    let (mut name, mut link_layer) = (None, None);
    for (kind, value) in attributes(body.get(LINK_HEADER..)?) {
        match kind {
            libc::IFLA_IFNAME => {
                let text = value.split(|octet| *octet == 0).next().unwrap_or_default();
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            libc::IFLA_ADDRESS => link_layer = value.try_into().ok(),
            _other => {}
        }
    }
    Some(Change::Link {
        index,
        name,
        is_loopback: flags & libc::IFF_LOOPBACK != 0,
        is_up: flags & libc::IFF_UP != 0,
        link_layer,
    })
}

fn address(body: &[u8], is_gone: bool) -> Option<Change> {
    let &[_family, length, flags, scope, ..] = body else { return None };
    let index = number(body, 4)?;
    // The header has eight bits of the flags, and an attribute has all of them.
    let mut flags = u32::from(flags);
    let (mut local, mut far) = (None, None);
    for (kind, value) in attributes(body.get(ADDRESS_HEADER..)?) {
        match kind {
            libc::IFA_LOCAL => local = ip(value),
            libc::IFA_ADDRESS => far = ip(value),
            libc::IFA_FLAGS => flags = number(value, 0)?,
            _other => {}
        }
    }
    // IPv4 has both, and they differ only on a point-to-point link; IPv6 mostly has only the second.
    let ip = local.or(far)?;
    if is_gone {
        return Some(Change::AddressGone { index, ip, length });
    }
    let has = |flag: u32| flags & flag != 0;
    let condition = Condition {
        far_end: far.filter(|far| *far != ip),
        is_host_scope: scope == libc::RT_SCOPE_HOST,
        // An optimistic address is used while it is tested (RFC 4429).
        is_tentative: has(libc::IFA_F_TENTATIVE) && !has(libc::IFA_F_OPTIMISTIC),
        is_duplicate: has(libc::IFA_F_DADFAILED),
        is_deprecated: has(libc::IFA_F_DEPRECATED),
        is_temporary: has(libc::IFA_F_TEMPORARY),
    };
    Some(Change::Address { index, ip, length, condition })
}

fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(short(rest, 0)?);
        let kind = short(rest, 2)? & TYPE_MASK;
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    /// RTM_NEWADDR of 10.0.0.2/30 on eth0 (2), as strace shows it.
    const V4: &str = "44000000 1400 0200 01000000 00000000  02 1e 80 00 02000000
        0800 0100 0a000002  0800 0200 0a000002  0900 0300 6574683000 000000
        0800 0800 80000000  0800 0900 ffffffff";
    /// RTM_NEWADDR of fd00::9/64 whose duplicate was found.
    const V6: &str = "34000000 1400 0200 01000000 00000000  0a 40 c8 00 02000000
        1400 0100 fd000000000000000000000000000009  0800 0800 c8000000";

    #[test]
    fn addresses_come_with_their_length_and_condition() {
        let duplicate = Condition { is_tentative: true, is_duplicate: true, ..Condition::default() };
        let address = |ip: &str, length, condition| {
            Message::Change(Change::Address { index: 2, ip: ip.parse().unwrap(), length, condition })
        };
        let both = [bytes(V4), bytes(V6)].concat();
        let got: Vec<Message> = messages(&both).collect();
        assert_eq!(got, [address("10.0.0.2", 30, Condition::default()), address("fd00::9", 64, duplicate)]);
        let mut gone = bytes(V4);
        gone[4] = 21;
        let ip = [10, 0, 0, 2].into();
        let want = Message::Change(Change::AddressGone { index: 2, ip, length: 30 });
        assert_eq!(messages(&gone).collect::<Vec<_>>(), [want]);
        let mut host = bytes(V4);
        host[19] = 254;
        let want = Condition { is_host_scope: true, ..Condition::default() };
        assert_eq!(messages(&host).collect::<Vec<_>>(), [address("10.0.0.2", 30, want)]);
        // `ip addr add 10.0.0.2 peer 10.0.0.1/32`.
        let mut far = bytes(V4);
        (far[17], far[31]) = (32, 1);
        let want = Condition { far_end: Some([10, 0, 0, 1].into()), ..Condition::default() };
        assert_eq!(messages(&far).collect::<Vec<_>>(), [address("10.0.0.2", 32, want)]);
    }

    #[test]
    fn a_port_that_leaves_a_bridge_is_no_link_that_is_gone() {
        let link = "38000000 1000 0000 00000000 00000000  00 00 0100 02000000 43100100 00000000
            0900 0300 6574683000 000000  0a00 0100 020000000001 0000";
        let want = Change::Link {
            index: 2,
            name: Some("eth0".to_owned()),
            is_loopback: false,
            is_up: true,
            link_layer: Some([2, 0, 0, 0, 0, 1]),
        };
        assert_eq!(messages(&bytes(link)).collect::<Vec<_>>(), [Message::Change(want)]);
        let mut gone = bytes(link);
        gone[4] = 17;
        assert_eq!(messages(&gone).collect::<Vec<_>>(), [Message::Change(Change::LinkGone(2))]);
        gone[16] = 7;
        assert_eq!(messages(&gone).collect::<Vec<_>>(), []);
    }

    #[test]
    fn whatever_is_cut_off_is_left_out() {
        for whole in [bytes(V4), bytes(V6)] {
            for end in 0..whole.len() {
                assert_eq!(messages(&whole[..end]).count(), 0, "{end} of {}", whole.len());
            }
            for at in 0..whole.len() {
                for octet in [0, 1, 4, 0x7F, 0xFF] {
                    let mut broken = whole.clone();
                    broken[at] = octet;
                    assert!(messages(&broken).filter(|message| *message != Message::Torn).count() <= 1);
                }
            }
        }
    }

    #[test]
    fn every_part_of_an_answer_says_whether_it_is_whole() {
        let read = |hex: &str| messages(&bytes(hex)).collect::<Vec<_>>();
        assert_eq!(read("14000000 0300 0200 01000000 00000000 00000000"), [Message::Done]);
        assert_eq!(read("14000000 0300 1200 01000000 00000000 00000000"), [Message::Torn, Message::Done]);
        // The end that follows says nothing of it.
        let mut torn = bytes(V4);
        torn[6] |= 0x10;
        torn.extend(bytes("14000000 0300 0200 01000000 00000000 00000000"));
        let got: Vec<Message> = messages(&torn).collect();
        assert!(matches!(got[..], [Message::Torn, Message::Change(_), Message::Done]), "{got:?}");
        assert_eq!(read("14000000 0200 0000 01000000 00000000 f0ffffff"), [Message::Refused(16)]);
        // An answer that the kernel has broken off.
        assert_eq!(read("14000000 0300 0200 01000000 00000000 f4ffffff"), [Message::Refused(12)]);
        assert_eq!(
            Question::Addresses.encode(7),
            bytes("18000000 1600 0103 07000000 00000000 0000000000000000")
        );
    }
}
