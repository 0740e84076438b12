//! BGP roles (RFC 9234): the valid pairs of roles, and ONLY_TO_CUSTOMER on routes.

use bytes::Bytes;

use super::support::{Bench, PEER_AS, config, decode, encode, endpoints, routes, show, their_open};
use crate::fsm::{ConnId, ConnectMode, Input, Output, PeerConfig, State};
use crate::wire::{Asn, Attribute, Capability, Message, Open, Role};

fn with_role(role: Option<Role>, require_role: bool) -> PeerConfig {
    PeerConfig { role, require_role, ..config(ConnectMode::Active) }
}

fn open(roles: &[Capability]) -> Message {
    let mut open: Open = their_open();
    open.capabilities.extend_from_slice(roles);
    Message::Open(open)
}

fn dialled(config: PeerConfig) -> (Bench, ConnId, Vec<Output>) {
    let mut bench = Bench::new(config);
    bench.input(Input::Start);
    let conn = ConnId(1);
    let outputs = bench.input(Input::Dialled(conn, endpoints()));
    (bench, conn, outputs)
}

/// RFC 9234 §4.2, table 2, all of it.
#[test]
fn a_session_needs_roles_that_go_together() {
    let refused = "send 1 2/11, close 1, Down (we sent OPEN Message Error / Role Mismatch)";
    for ours in Role::ALL {
        for theirs in Role::ALL {
            let (mut bench, conn, _) = dialled(with_role(Some(ours), false));
            let outputs = bench.receive(conn, &open(&[Capability::Role(theirs)]));
            let pair = (ours.to_string(), theirs.to_string());
            let allowed = [
                ("provider", "customer"),
                ("customer", "provider"),
                ("rs", "rs-client"),
                ("rs-client", "rs"),
                ("peer", "peer"),
            ];
            let allowed = allowed.contains(&(pair.0.as_str(), pair.1.as_str()));
            assert_eq!(show(&outputs), if allowed { "send 1 KEEPALIVE" } else { refused }, "{pair:?}");
            let seen = bench.peer.status(bench.now).seen.open.unwrap();
            assert_eq!((seen.role, seen.asn), (Some(theirs), PEER_AS));
        }
    }
}

#[test]
fn a_role_that_is_not_told_is_refused_only_where_it_is_required() {
    let provider = Capability::Role(Role::Provider);
    let unassigned = Capability::Unknown { code: 9, data: Bytes::from_static(&[9]) };
    let customer = Some(Role::Customer);
    type Case = (&'static str, Option<Role>, bool, Vec<Capability>, bool);
    let cases: [Case; 8] = [
        ("neither has one", None, false, vec![], true),
        ("only the peer has one", None, false, vec![provider.clone()], true),
        ("only we have one", customer, false, vec![], true),
        ("only we have one, and require it", customer, true, vec![], false),
        ("both have one, and we require it", customer, true, vec![provider.clone()], true),
        ("the same one twice", customer, false, vec![provider.clone(), provider.clone()], true),
        ("two that differ", customer, false, vec![provider.clone(), Capability::Role(Role::Rs)], false),
        ("a value that is not assigned", customer, false, vec![unassigned], false),
    ];
    for (what, role, required, theirs, works) in cases {
        let (mut bench, conn, _) = dialled(with_role(role, required));
        bench.receive(conn, &open(&theirs));
        let expected = if works { State::OpenConfirm } else { State::Idle };
        assert_eq!(bench.state(), expected, "{what}");
    }
}

#[test]
fn our_open_tells_our_role_in_three_octets() {
    let (_, _, outputs) = dialled(with_role(Some(Role::Customer), false));
    let [Output::Send { bytes, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert!(bytes.windows(3).any(|octets| octets == [9, 1, 3]), "{bytes:02x?}");
    let [Message::Open(open)] = &decode(bytes)[..] else { panic!("no OPEN") };
    assert!(open.capabilities.contains(&Capability::Role(Role::Customer)));
}

/// RFC 9234 §5, egress 1: added with our AS towards customers, peers and a route server's clients, and to no one else.
#[test]
fn our_routes_are_marked_where_they_must_go_no_further_than_to_customers() {
    for role in [None].into_iter().chain(Role::ALL.map(Some)) {
        let (mut bench, conn, _) = dialled(with_role(role, false));
        bench.receive(conn, &Message::Open(their_open()));
        bench.receive(conn, &Message::Keepalive);
        let outputs = bench.advertise(1, routes(1, 0));
        let [Output::Send { bytes, .. }] = outputs.as_slice() else { panic!("{}", show(&outputs)) };
        let marks = matches!(role, Some(Role::Provider | Role::Peer | Role::Rs));
        // Optional transitive, type 35, four octets: AS 65001.
        let mark = [0xC0, 35, 4, 0, 0, 0xFD, 0xE9];
        assert_eq!(bytes.windows(7).any(|octets| octets == mark), marks, "{role:?}: {bytes:02x?}");
    }
}

/// RFC 9234 §5, ingress 1 and 2: a leaked route is not eligible, so it is not another speaker's announcement.
#[test]
fn a_leaked_route_counts_for_nothing() {
    let vip: ipnet::IpNet = "10.1.0.0/32".parse().unwrap();
    let cases = [
        (None, Some(Asn(7)), true),
        (Some(Role::Provider), None, true),
        (Some(Role::Provider), Some(PEER_AS), false),
        (Some(Role::Rs), Some(Asn(7)), false),
        (Some(Role::Peer), Some(PEER_AS), true),
        (Some(Role::Peer), Some(Asn(7)), false),
        (Some(Role::Customer), Some(Asn(7)), true),
        (Some(Role::RsClient), Some(PEER_AS), true),
    ];
    for (role, mark, counts) in cases {
        let (mut bench, conn, _) = dialled(with_role(role, false));
        bench.receive(conn, &Message::Open(their_open()));
        bench.receive(conn, &Message::Keepalive);
        bench.input(Input::Watch(std::sync::Arc::new([vip].into())));
        let Message::Update(mut update) = super::support::update(1, 1) else { panic!("no UPDATE") };
        update.attributes.extend(mark.map(Attribute::OnlyToCustomer));
        bench.input(Input::Received(conn, encode(&Message::Update(update))));
        assert_eq!(bench.peer.status(bench.now).paths.contains_key(&vip), counts, "{role:?} {mark:?}");
    }
}
