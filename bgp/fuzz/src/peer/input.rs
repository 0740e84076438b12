//! The input of the `peer` target: settings, then events of the world.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use vipcast_bgp::fsm::Endpoints;
use vipcast_bgp::wire::{Asn, Family};
use vipcast_bgp::{ConnectMode, GracefulRestart, HoldTime, NextHops, PeerConfig, RestartTime};

use super::OUR_ID;

pub(super) fn settings(input: &mut Unstructured<'_>) -> Result<(PeerConfig, Endpoints)> {
    let [flags, times]: [u8; 2] = input.arbitrary()?;
    let flag = |bit: u8| flags & 1 << bit != 0;
    let local_as = Asn(if flag(0) { 70000 } else { 65001 });
    let peer_as = if flag(1) { local_as } else { Asn(65000) };
    let hold_time = [9, 3, 90, u16::MAX][usize::from(times % 4)];
    let retry = [1000, 0, 30_000, u64::MAX][usize::from(times / 4 % 4)];
    let families: &[Family] = match (flag(2), flag(3)) {
        (false, false) => &[Family::IPV4_UNICAST, Family::IPV6_UNICAST],
        (true, false) => &[Family::IPV4_UNICAST],
        (false, true) => &[Family::IPV6_UNICAST],
        (true, true) => &[],
    };
    let config = PeerConfig {
        hold_time: HoldTime::from_secs(hold_time).expect("3 and more"),
        connect_retry: Duration::from_millis(retry),
        mode: match (flag(4), flag(5)) {
            (false, _) => ConnectMode::Both,
            (true, false) => ConnectMode::Passive,
            (true, true) => ConnectMode::Active,
        },
        families: families.iter().copied().collect(),
        next_hops: NextHops { v4: flag(6).then_some(OUR_ID), v6: None },
        deliver_updates: flag(7),
        extended_next_hop: times & 16 != 0,
        // Taken from bits that mean something else, so that earlier inputs stay what they are.
        graceful_restart: flag(1).then(|| GracefulRestart {
            restart_time: RestartTime::from_secs(u16::from(times) + 1).expect("1 to 256"),
            notification: flag(6),
            restarted: flag(7).then(|| families.iter().skip(1).copied().collect()),
        }),
        seed: u64::from(times),
        ..PeerConfig::new(local_as, peer_as, OUR_ID)
    };
    let [global, link_local] = [0x2001, 0xFE80].map(|first| Ipv6Addr::new(first, 0xDB8, 0, 0, 0, 0, 0, 2));
    let (local, beside): (IpAddr, IpAddr) = match times >> 5 {
        0..4 => (OUR_ID.into(), global.into()),
        4 | 5 => (global.into(), OUR_ID.into()),
        6.. => (link_local.into(), global.into()),
    };
    let endpoints = Endpoints {
        local: (local, 40000).into(),
        remote: (local, 179).into(),
        interface_addresses: vec![beside],
        local_is_service: false,
    };
    Ok((config, endpoints))
}

/// An event of the world. Connections are chosen among all that ever existed, modulo their number.
#[derive(Debug)]
pub(super) enum Op<'a> {
    Advance(Duration),
    /// To the deadline and not a moment longer.
    Deadline,
    Tick,
    Start,
    Stop,
    Accept,
    Dialled(u8),
    DialFailed(u8),
    Received(u8, Piece<'a>),
    Split(u8, Piece<'a>, u8),
    Sent(u8, usize),
    SentAll,
    Closed(u8),
    /// The state of BFD.
    Liveness(u8),
    /// Whether our own is still there, and whether another is beside it.
    Addresses(u8, bool, bool),
    Advertise {
        count: u16,
        med: u8,
        flags: u8,
    },
    Watch(u8),
}

/// Data from the peer.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Raw(&'a [u8]),
    /// With a good header.
    Body(u8, &'a [u8]),
    Open(u8),
    Keepalive,
    Update(u8),
    Refresh(u8),
    Notification(u8, u8),
}

impl<'a> Arbitrary<'a> for Op<'a> {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.arbitrary::<u8>()? % 16 {
            0 => Self::Advance(Duration::from_millis(u64::from(input.arbitrary::<u16>()?))),
            1 => Self::Advance(Duration::from_secs(u64::from(input.arbitrary::<u8>()?))),
            2 => Self::Tick,
            3 => Self::Start,
            4 => Self::Accept,
            5 => Self::Dialled(input.arbitrary()?),
            6 => Self::DialFailed(input.arbitrary()?),
            7..=9 => {
                let (conn, piece) = (input.arbitrary()?, Piece::arbitrary(input)?);
                Self::Received(conn, piece)
            }
            10 => Self::Split(input.arbitrary()?, Piece::arbitrary(input)?, input.arbitrary()?),
            11 => Self::Sent(input.arbitrary()?, usize::from(input.arbitrary::<u16>()?)),
            12 => Self::SentAll,
            13 => Self::Closed(input.arbitrary()?),
            14 => Self::Advertise {
                // Now and then more than a window holds, with a long AS path each.
                count: match input.arbitrary::<u8>()? {
                    u8::MAX => 700,
                    count => u16::from(count % 64),
                },
                med: input.arbitrary()?,
                flags: input.arbitrary()?,
            },
            _ => {
                let pick: u8 = input.arbitrary()?;
                match pick % 8 {
                    0 | 4 => Self::Stop,
                    1 => Self::Watch(input.arbitrary()?),
                    7 => Self::Liveness(pick >> 3),
                    5 => Self::Addresses(pick >> 4, pick & 64 != 0, pick & 8 != 0),
                    _ => Self::Deadline,
                }
            }
        })
    }
}

impl<'a> Arbitrary<'a> for Piece<'a> {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.arbitrary::<u8>()? % 8 {
            0 => Self::Open(input.arbitrary()?),
            1 => Self::Keepalive,
            2 => Self::Update(input.arbitrary()?),
            3 => Self::Refresh(input.arbitrary()?),
            4 => Self::Notification(input.arbitrary()?, input.arbitrary()?),
            5 => Self::Raw(octets(input)?),
            _ => Self::Body(input.arbitrary()?, octets(input)?),
        })
    }
}

/// Behind a length of one octet.
fn octets<'a>(input: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let length = usize::from(input.arbitrary::<u8>()?);
    input.bytes(length.min(input.len()))
}
