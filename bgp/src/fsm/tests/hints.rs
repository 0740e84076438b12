//! The hints for an operator without a session: for every known code a hint, or none on purpose.

use bytes::Bytes;

use super::support::{Bench, LOCAL_ID, PEER_AS, PEER_ID, config};
use crate::fsm::{
    CloseReason, ConnectMode, DialError, DownReason, HeardOpen, Input, Output, PeerConfig, Seen, State,
};
use crate::wire::iana::notification as code;
use crate::wire::{Asn, Capability, Family, Message, Notification, Role};

fn hint(notification: Notification, theirs: bool, config: &PeerConfig, seen: &Seen) -> String {
    let reason = if theirs { DownReason::Received(notification) } else { DownReason::Sent(notification) };
    reason.hint(config, seen).unwrap_or_default()
}

/// Each code and subcode that has a name, and the subcode 0 of each.
fn known() -> Vec<(u8, u8)> {
    let codes = (1..=u8::MAX).filter(|code| code::name(*code).is_some());
    let pairs = codes.flat_map(|code| (0..=u8::MAX).map(move |subcode| (code, subcode)));
    pairs.filter(|(code, subcode)| *subcode == 0 || code::subcode_name(*code, *subcode).is_some()).collect()
}

/// See [`every_notification_that_we_know_has_its_hint`].
const TABLE: &str = include_str!("hints.txt");

/// Two lines a code: the beginning of the hint when the router says it, and when we do; `-`: none, on purpose.
#[test]
fn every_notification_that_we_know_has_its_hint() {
    let config = config(ConnectMode::Both);
    let mut actual = String::new();
    for (code, subcode) in known() {
        let shown = |theirs| {
            let text =
                hint(Notification::new(code, subcode, Bytes::new()), theirs, &config, &Seen::default());
            if text.is_empty() { "-".to_owned() } else { text }
        };
        let name = Notification::new(code, subcode, Bytes::new());
        actual += &format!("{code}/{subcode} {name}\n  router: {}\n  we: {}\n", shown(true), shown(false));
    }
    assert!(actual == TABLE, "the table says something else; this is what is said:\n{actual}");
}

#[test]
fn the_as_that_the_router_has_is_said() {
    let config = config(ConnectMode::Both);
    let open = HeardOpen { asn: Asn(65010), router_id: PEER_ID, hold_time: 9, role: None };
    let seen = Seen { open: Some(open), ..Seen::default() };
    let bad_peer_as = || Notification::new(2, 2, Bytes::new());
    assert_eq!(
        hint(bad_peer_as(), false, &config, &seen),
        "the router is AS 65010, not our configured peer_as 65000"
    );
    assert_eq!(
        hint(bad_peer_as(), true, &config, &Seen { open: Some(HeardOpen { asn: PEER_AS, ..open }), ..seen }),
        "the router's `remote-as` for us is not our local_as 65001; the router itself is AS 65000"
    );
}

#[test]
fn the_capability_that_the_refusal_names_is_named() {
    let config = config(ConnectMode::Both);
    let named = |capabilities: &[Capability]| {
        let refusal = Notification::unsupported_capability(capabilities).unwrap();
        hint(refusal, true, &config, &Seen::default())
    };
    let vpn = Capability::Multiprotocol(Family::new(crate::wire::Afi::IPV4, crate::wire::Safi(128)));
    assert_eq!(
        named(&[vpn]),
        "both sides must activate a common address family: the router names ipv4-vpn, `families` here has ipv4-unicast, ipv6-unicast"
    );
    assert_eq!(
        named(&[Capability::EnhancedRouteRefresh]),
        "the router names enhanced-route-refresh: turn that on or off there; the next attempts leave out optional capabilities"
    );
    let fqdn = Capability::Unknown { code: 73, data: Bytes::new() };
    assert_eq!(
        named(&[fqdn]),
        "the router names fqdn, which vipcast does not have: turn off the requirement there"
    );
    // Octets that are no capability name none.
    let garbage = Notification::new(2, 7, Bytes::from_static(&[1, 200, 3]));
    assert_eq!(
        hint(garbage, true, &config, &Seen::default()),
        "both sides must activate a common address family"
    );
}

#[test]
fn a_role_mismatch_says_which_role_to_write() {
    let seen = |role| {
        let open = HeardOpen { asn: PEER_AS, router_id: LOCAL_ID, hold_time: 9, role };
        Seen { open: Some(open), ..Seen::default() }
    };
    let with = |role| PeerConfig { role, ..config(ConnectMode::Both) };
    let mismatch = || Notification::new(2, 11, Bytes::new());
    assert_eq!(
        hint(mismatch(), true, &with(None), &seen(Some(Role::Provider))),
        "the router is `provider` and requires a BGP role (RFC 9234): write `role: customer`"
    );
    assert_eq!(
        hint(mismatch(), false, &with(Some(Role::Peer)), &seen(Some(Role::Rs))),
        "the router is `rs`, which does not go with `role: peer`: write `role: rs-client`"
    );
    assert_eq!(
        hint(mismatch(), true, &with(Some(Role::Peer)), &seen(None)),
        "the router does not tell its BGP role (RFC 9234), or does not expect `peer`; its role must be `peer`"
    );
    assert_eq!(
        hint(mismatch(), true, &with(None), &Seen::default()),
        "the router requires a BGP role (RFC 9234): write `role: customer` if it is your provider"
    );
}

/// BIRD says why once, and then refuses calls for a minute and more.
#[test]
fn a_telling_notification_is_shown_beside_the_refused_calls_that_follow_it() {
    let (mut bench, conn) = Bench::at(State::OpenSent, ConnectMode::Active);
    let telling = |bench: &Bench| {
        let status = bench.peer.status(bench.now);
        status.telling.map(|(reason, _)| reason.to_string()).unwrap_or_default()
    };
    bench.receive(conn, &Message::Notification(Notification::new(2, 11, Bytes::new())));
    let mismatch = "peer sent OPEN Message Error / Role Mismatch";
    let next = |bench: &mut Bench| {
        loop {
            let dialled = bench.tick().into_iter().find_map(|output| match output {
                Output::Dial(conn) => Some(conn),
                Output::Send { .. } | Output::Look(_) | Output::Close(_) | Output::Event(_) => None,
            });
            if let Some(conn) = dialled {
                return conn;
            }
        }
    };
    for failure in ["refused", "closed", "rejected"] {
        let conn = next(&mut bench);
        if failure == "refused" {
            bench.input(Input::DialFailed(conn, DialError::Refused));
        } else {
            bench.input(Input::Dialled(conn, super::support::endpoints()));
            if failure == "closed" {
                bench.input(Input::Closed(conn, CloseReason::EndedByPeer));
            } else {
                bench.receive(conn, &Message::Notification(Notification::new(6, 5, Bytes::new())));
            }
        }
        assert_eq!(telling(&bench), mismatch, "{failure}");
    }
    // Another that tells takes its place, and a session ends it.
    let conn = next(&mut bench);
    bench.input(Input::Dialled(conn, super::support::endpoints()));
    bench.receive(conn, &Message::Notification(Notification::new(2, 2, Bytes::new())));
    assert_eq!(telling(&bench), "peer sent OPEN Message Error / Bad Peer AS");
    let conn = next(&mut bench);
    bench.input(Input::Dialled(conn, super::support::endpoints()));
    bench.receive(conn, &Message::Open(super::support::their_open()));
    bench.receive(conn, &Message::Keepalive);
    assert_eq!(telling(&bench), "");
}
