//! The rib alone: the kept paths and their announcers, and a comparison with an unbounded model.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::{AdjRibIn, Ingress, Path, Watched, Whose};
use crate::route::family_of;
use crate::wire::{
    AsPath, AsSegment, AsWidth, Asn, Attribute, Community, Family, LargeCommunity, Message, MpNextHop,
    MpNlri, MpReach, MpUnreach, Origin, Peering, RefreshKind, SessionContext, Update,
};

const LOCAL_AS: Asn = Asn(65001);
const PEER_AS: Asn = Asn(65000);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const VIP: &str = "192.0.2.10/32";
const VIP6: &str = "2001:db8::10/128";

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn watched(prefixes: &[&str]) -> Arc<Watched> {
    Arc::new(prefixes.iter().map(|prefix| net(prefix)).collect())
}

fn ingress(context: SessionContext) -> Ingress {
    Ingress {
        families: BTreeSet::from([Family::IPV4_UNICAST, Family::IPV6_UNICAST]),
        context,
        local_as: LOCAL_AS,
        peer_as: if context.peering == Peering::Internal { LOCAL_AS } else { PEER_AS },
        router_id: OURS,
        extended_next_hop: false,
        role: None,
        addresses: BTreeSet::from([OURS.into(), "2001:db8:1::2".parse().unwrap()]),
    }
}

fn rib(prefixes: &[&str]) -> AdjRibIn {
    AdjRibIn::new(ingress(SessionContext::external()), watched(prefixes))
}

/// An UPDATE as it comes out of the decoder.
fn decoded(update: Update, context: SessionContext) -> Update {
    let bytes = Message::Update(update).encode(&context).unwrap();
    let Message::Update(update) = Message::decode(&bytes, &context).unwrap() else { panic!("no UPDATE") };
    update
}

fn attributes(as_path: &[u32], next_hop: Ipv4Addr) -> Vec<Attribute> {
    vec![
        Attribute::Origin(Origin::Igp),
        Attribute::AsPath(AsPath::sequence(as_path.iter().copied().map(Asn))),
        Attribute::NextHop(next_hop),
    ]
}

fn announce(prefixes: &[&str], attributes: Vec<Attribute>) -> Update {
    let nlri = prefixes.iter().map(|prefix| prefix.parse::<Ipv4Net>().unwrap()).collect();
    decoded(Update { attributes, nlri, ..Update::default() }, SessionContext::external())
}

fn announce6(prefix: &str, next_hop: &str) -> Update {
    let reach = MpReach {
        family: Family::IPV6_UNICAST,
        next_hop: MpNextHop::Ipv6 { global: next_hop.parse().unwrap(), link_local: None },
        nlri: MpNlri::Ipv6(vec![prefix.parse().unwrap()]),
    };
    let attributes = vec![
        Attribute::Origin(Origin::Igp),
        Attribute::AsPath(AsPath::sequence([PEER_AS, Asn(65002)])),
        Attribute::MpReach(reach),
    ];
    decoded(Update { attributes, ..Update::default() }, SessionContext::external())
}

fn withdraw(prefix: &str) -> Update {
    Update { withdrawn: vec![prefix.parse().unwrap()], ..Update::default() }
}

fn held(rib: &AdjRibIn) -> Vec<String> {
    rib.paths().keys().map(ToString::to_string).collect()
}

#[test]
fn only_what_is_watched_is_kept_and_with_its_length() {
    let mut rib = rib(&[VIP, "198.51.100.0/24", VIP6]);
    let routes = ["192.0.2.10/32", "192.0.2.10/31", "192.0.2.11/32", "198.51.100.0/24", "198.51.100.0/25"];
    rib.learn(&announce(&routes, attributes(&[65000, 65002], THEIRS)));
    rib.learn(&announce6(VIP6, "2001:db8:1::1"));
    rib.learn(&announce6("2001:db8::11/128", "2001:db8:1::1"));
    assert_eq!(held(&rib), ["192.0.2.10/32", "198.51.100.0/24", VIP6]);
    // One path for prefixes of one UPDATE.
    assert!(Arc::ptr_eq(&rib.paths()[&net(VIP)], &rib.paths()[&net("198.51.100.0/24")]));
    rib.learn(&withdraw("198.51.100.0/25"));
    rib.learn(&withdraw("198.51.100.0/24"));
    assert_eq!(held(&rib), [VIP, VIP6]);
    let unreach = MpUnreach {
        family: Family::IPV6_UNICAST,
        nlri: MpNlri::Ipv6(vec![VIP6.parse::<Ipv6Net>().unwrap()]),
    };
    rib.learn(&Update { attributes: vec![Attribute::MpUnreach(unreach)], ..Update::default() });
    assert_eq!(held(&rib), [VIP]);
}

#[test]
fn a_path_says_what_its_attributes_say() {
    let mut rib = rib(&[VIP]);
    let mut attributes = attributes(&[65000, 65002], Ipv4Addr::new(10, 0, 1, 3));
    attributes.extend([
        Attribute::MultiExitDisc(7),
        Attribute::Communities(vec![Community::GRACEFUL_SHUTDOWN]),
        Attribute::LargeCommunities(vec![LargeCommunity { global: 65002, local1: 1, local2: 2 }]),
    ]);
    rib.learn(&announce(&[VIP], attributes));
    let expected = Path {
        next_hop: Ipv4Addr::new(10, 0, 1, 3).into(),
        as_path: vec![Asn(65000), Asn(65002)],
        more_asns: 0,
        origin_as: Some(Asn(65002)),
        origin: Origin::Igp,
        med: Some(7),
        local_pref: None,
        communities: vec![Community::GRACEFUL_SHUTDOWN],
        large_communities: vec![LargeCommunity { global: 65002, local1: 1, local2: 2 }],
        more_communities: 0,
        whose: Whose::Other,
    };
    assert_eq!(*rib.paths()[&net(VIP)], expected);
}

#[test]
fn the_largest_attributes_make_a_small_path() {
    let mut rib = rib(&[VIP]);
    let mut attributes = attributes(&[65000; 400], THEIRS);
    attributes.extend([
        Attribute::Communities((0..300_u16).map(|n| Community::new(1, n)).collect()),
        Attribute::LargeCommunities(
            (0..50).map(|n| LargeCommunity { global: 1, local1: 2, local2: n }).collect(),
        ),
    ]);
    rib.learn(&announce(&[VIP], attributes));
    let path = &rib.paths()[&net(VIP)];
    assert_eq!((path.as_path.len(), path.more_asns, path.origin_as), (32, 368, Some(PEER_AS)));
    assert_eq!((path.communities.len(), path.large_communities.len(), path.more_communities), (16, 16, 318));
    let octets = size_of::<Path>()
        + path.as_path.capacity() * size_of::<Asn>()
        + path.communities.capacity() * size_of::<Community>()
        + path.large_communities.capacity() * size_of::<LargeCommunity>();
    assert!(octets < 1024, "{octets} octets for one path");
}

/// Our own route, reflected by a router, must not look like another node.
#[test]
fn our_own_announcement_come_back_is_told_from_anothers() {
    let other = Ipv4Addr::new(10, 0, 1, 3);
    let cases: &[(&str, &[u32], Ipv4Addr, Whose)] = &[
        ("another node in an AS of its own", &[65000, 65002], THEIRS, Whose::Other),
        ("the same on a shared link: its own next hop", &[65000, 65002], other, Whose::Other),
        ("the router itself", &[65000], THEIRS, Whose::Other),
        ("ours, sent back on the link it came from", &[65000, 65001], OURS, Whose::Ours),
        ("ours or that of a node with our ASN", &[65000, 65001], THEIRS, Whose::Unclear),
        ("ours prepended, through the fabric", &[65000, 65100, 65010, 65001, 65001], THEIRS, Whose::Unclear),
        ("through our AS, but not from it", &[65000, 65001, 65007], THEIRS, Whose::Other),
        ("`as-override` hides whose it is", &[65000, 65000], THEIRS, Whose::Unclear),
    ];
    for (name, as_path, next_hop, whose) in cases {
        let mut rib = rib(&[VIP]);
        rib.learn(&announce(&[VIP], attributes(as_path, *next_hop)));
        assert_eq!(rib.paths()[&net(VIP)].whose, *whose, "{name}");
    }
}

#[test]
fn a_route_reflector_names_the_originator() {
    let context = SessionContext::internal();
    for (originator, next_hop, whose) in [
        (Some(OURS), THEIRS, Whose::Ours),
        (None, OURS, Whose::Ours),
        (Some(Ipv4Addr::new(10, 0, 1, 3)), Ipv4Addr::new(10, 0, 1, 3), Whose::Other),
        (None, THEIRS, Whose::Other),
    ] {
        let mut rib = AdjRibIn::new(ingress(context), watched(&[VIP]));
        let mut attributes = attributes(&[], next_hop);
        attributes.push(Attribute::LocalPref(200));
        attributes.extend(originator.map(Attribute::OriginatorId));
        let update = Update { attributes, nlri: vec![VIP.parse().unwrap()], ..Update::default() };
        rib.learn(&decoded(update, context));
        let path = &rib.paths()[&net(VIP)];
        assert_eq!((path.whose, path.origin_as, path.local_pref), (whose, None, Some(200)), "{originator:?}");
    }
}

#[test]
fn the_as_path_of_a_two_octet_peer_is_put_together() {
    let context = SessionContext::new(AsWidth::Two, Peering::External);
    let mut rib = AdjRibIn::new(ingress(context), watched(&[VIP]));
    let path = AsPath::sequence([PEER_AS, Asn(4_200_000_002)]);
    let mut attributes = attributes(&[], THEIRS);
    attributes[1] = Attribute::AsPath(path.clone());
    attributes.push(Attribute::As4Path(path));
    let update = Update { attributes, nlri: vec![VIP.parse().unwrap()], ..Update::default() };
    rib.learn(&decoded(update, context));
    assert_eq!(rib.paths()[&net(VIP)].as_path, [PEER_AS, Asn(4_200_000_002)]);
}

#[test]
fn members_of_a_set_are_in_the_path_like_the_others() {
    let mut rib = rib(&[VIP]);
    let segments = vec![AsSegment::Sequence(vec![PEER_AS]), AsSegment::Set(vec![Asn(1), Asn(2)])];
    let mut attributes = attributes(&[], THEIRS);
    attributes[1] = Attribute::AsPath(AsPath { segments });
    rib.learn(&announce(&[VIP], attributes));
    let path = &rib.paths()[&net(VIP)];
    assert_eq!((path.as_path.as_slice(), path.origin_as), (&[PEER_AS, Asn(1), Asn(2)][..], Some(Asn(2))));
}

#[test]
fn a_bad_announcement_is_a_withdrawal() {
    let mut rib = rib(&[VIP]);
    let good = attributes(&[65000, 65002], THEIRS);
    rib.learn(&announce(&[VIP], good.clone()));
    // Without ORIGIN (RFC 7606 §3 d).
    let bad = announce(&[VIP], good[1..].to_vec());
    assert_ne!(bad.malformed, []);
    rib.learn(&bad);
    assert_eq!(held(&rib), [""; 0]);
}

/// The octets of an UPDATE from an eBGP peer with four-octet AS numbers, without its marker.
fn from_wire(hex: &str) -> Update {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let octets = digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap());
    let frame: Vec<u8> = [u8::MAX; 16].into_iter().chain(octets).collect();
    let Message::Update(update) = Message::decode(&frame, &SessionContext::external()).unwrap() else {
        panic!("no UPDATE")
    };
    update
}

#[test]
fn a_path_that_leads_to_no_host_is_nobodys_announcement_and_withdraws_the_one_before() {
    let watched_prefixes = ["10.0.0.0/24", "2001:db8::10/128"];
    let good = "002f02 0000 0014 40010100 4002060201 0000fde8 400304 0a000101 18 0a0000";
    let mp = |next_hop: &str| {
        format!(
            "004d 02 0000 0036 800e26 0002 01 {next_hop} 00 80 20010db8000000000000000000000010 40010100 4002060201 0000fde8"
        )
    };
    let cases = [
        (
            "next hop 0.0.0.0",
            "002f0200000014 40010100 4002060201 0000fde8 400304 00000000 180a0000".to_owned(),
        ),
        (
            "a confederation's AS_PATH",
            "002f0200000014 40010100 4002060301 0000fde8 4003040a000001 180a0000".to_owned(),
        ),
        ("a confederation's set", good.replace("060201", "060401")),
        ("next hop 127.0.0.1", good.replace("0a000101", "7f000001")),
        ("next hop 224.0.0.5", good.replace("0a000101", "e0000005")),
        ("next hop 255.255.255.255", good.replace("0a000101", "ffffffff")),
        ("next hop 0.1.2.3", good.replace("0a000101", "00010203")),
        ("no AS in AS_PATH", "0029 02 0000 000e 40010100 400200 400304 0a000101 18 0a0000".to_owned()),
    ];
    for (name, bad) in cases {
        let mut rib = rib(&watched_prefixes);
        rib.learn(&from_wire(good));
        assert_eq!(held(&rib), ["10.0.0.0/24"], "{name}");
        rib.learn(&from_wire(&bad));
        assert_eq!(held(&rib), [""; 0], "{name}");
    }
    let good = mp("10 20010db8000000000000000000000001");
    for (name, next_hop) in [
        ("::", "10 00000000000000000000000000000000"),
        ("::1", "10 00000000000000000000000000000001"),
        ("ff02::1", "10 ff020000000000000000000000000001"),
        ("::ffff:10.0.1.1", "10 00000000000000000000ffff0a000101"),
    ] {
        let mut rib = rib(&watched_prefixes);
        rib.learn(&from_wire(&good));
        assert_eq!(held(&rib), ["2001:db8::10/128"], "{name}");
        rib.learn(&from_wire(&mp(next_hop)));
        assert_eq!(held(&rib), [""; 0], "{name}");
    }
}

#[test]
fn a_next_hop_of_a_family_that_was_not_agreed_on_leads_nowhere() {
    let reach = MpReach {
        family: Family::IPV4_UNICAST,
        next_hop: MpNextHop::Ipv6 { global: "2001:db8:1::1".parse().unwrap(), link_local: None },
        nlri: MpNlri::Ipv4(vec![VIP.parse().unwrap()]),
    };
    let mut attributes = attributes(&[65000, 65002], THEIRS);
    attributes[2] = Attribute::MpReach(reach);
    let update = decoded(Update { attributes, ..Update::default() }, SessionContext::external());
    for (extended_next_hop, expected) in [(false, &[][..]), (true, &[VIP])] {
        let ingress = Ingress { extended_next_hop, ..ingress(SessionContext::external()) };
        let mut rib = AdjRibIn::new(ingress, watched(&[VIP]));
        rib.learn(&update);
        assert_eq!(held(&rib), expected, "negotiated: {extended_next_hop}");
    }
}

#[test]
fn a_prefix_both_withdrawn_and_announced_is_announced() {
    let mut rib = rib(&[VIP]);
    let mut update = announce(&[VIP], attributes(&[65000, 65002], THEIRS));
    update.withdrawn.push(VIP.parse().unwrap());
    rib.learn(&update);
    assert_eq!(held(&rib), [VIP]);
}

#[test]
fn both_kinds_of_routes_in_one_update_keep_their_next_hops() {
    let mut rib = rib(&[VIP, VIP6]);
    let mut update = announce(&[VIP], attributes(&[65000, 65002], THEIRS));
    let reach = announce6(VIP6, "2001:db8:1::1").mp_reach().cloned().unwrap();
    update.attributes.push(Attribute::MpReach(reach));
    rib.learn(&update);
    assert_eq!(rib.paths()[&net(VIP)].next_hop, IpAddr::from(THEIRS));
    assert_eq!(rib.paths()[&net(VIP6)].next_hop, "2001:db8:1::1".parse::<IpAddr>().unwrap());
}

#[test]
fn a_family_that_was_not_negotiated_is_not_looked_at() {
    let families = BTreeSet::from([Family::IPV6_UNICAST]);
    let ingress = Ingress { families, ..ingress(SessionContext::external()) };
    let mut rib = AdjRibIn::new(ingress, watched(&[VIP]));
    rib.learn(&announce(&[VIP], attributes(&[65000, 65002], THEIRS)));
    assert_eq!(held(&rib), [""; 0]);
    // Nor is there anything to ask the peer for.
    assert_eq!(rib.watch(watched(&[VIP, "192.0.2.11/32"])), BTreeSet::new());
}

#[test]
fn what_is_watched_changes_without_a_trace_of_what_was() {
    let mut rib = rib(&[VIP, VIP6]);
    rib.learn(&announce(&[VIP], attributes(&[65000, 65002], THEIRS)));
    rib.learn(&announce6(VIP6, "2001:db8:1::1"));
    assert_eq!(rib.watch(watched(&[VIP6])), BTreeSet::new());
    assert_eq!(held(&rib), [VIP6]);
    assert_eq!(rib.watch(watched(&[VIP6, VIP])), BTreeSet::from([Family::IPV4_UNICAST]));
    assert_eq!(held(&rib), [VIP6], "it is heard of when the peer says it again");
    assert_eq!(rib.watch(watched(&[VIP6, VIP])), BTreeSet::new());
}

#[test]
fn what_the_peer_does_not_repeat_in_a_refresh_is_gone() {
    let mut rib = rib(&[VIP, "192.0.2.11/32", VIP6]);
    let path = || attributes(&[65000, 65002], THEIRS);
    rib.learn(&announce(&[VIP, "192.0.2.11/32"], path()));
    rib.learn(&announce6(VIP6, "2001:db8:1::1"));
    rib.refreshed(Family::IPV4_UNICAST, RefreshKind::Begin);
    assert_eq!(held(&rib).len(), 3, "nothing goes before the end");
    rib.learn(&announce(&[VIP], path()));
    rib.refreshed(Family::IPV6_UNICAST, RefreshKind::End);
    assert_eq!(held(&rib).len(), 3, "the end of another family, which never began");
    rib.refreshed(Family::IPV4_UNICAST, RefreshKind::End);
    assert_eq!(held(&rib), [VIP, VIP6]);
}

#[test]
fn who_looks_at_the_paths_keeps_them_as_they_were() {
    let mut rib = rib(&[VIP, "192.0.2.11/32"]);
    rib.learn(&announce(&[VIP, "192.0.2.11/32"], attributes(&[65000, 65002], THEIRS)));
    let seen = rib.paths().clone();
    rib.learn(&announce(&[VIP], attributes(&[65000, 65002], THEIRS)));
    assert!(seen.is_shared_with(rib.paths()), "nothing has changed, so nothing is copied");
    rib.learn(&withdraw(VIP));
    assert_eq!((seen.len(), rib.paths().len()), (2, 1));
}

#[derive(Debug, Clone)]
enum Op {
    Announce { prefixes: Vec<IpNet>, med: u32, bad: bool },
    Withdraw(Vec<IpNet>),
    Watch(Watched),
}

/// Few enough that they meet.
fn prefixes() -> impl Strategy<Value = Vec<IpNet>> {
    let prefix = (0..24_u8, prop::bool::ANY).prop_map(|(n, v6)| {
        if v6 {
            net(&format!("2001:db8::{n:x}/{}", 126 + n % 3)).trunc()
        } else {
            net(&format!("192.0.2.{n}/{}", 30 + n % 3)).trunc()
        }
    });
    prop::collection::vec(prefix, 0..6)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (prefixes(), 0..3_u32, prop::bool::weighted(0.2))
            .prop_map(|(prefixes, med, bad)| Op::Announce { prefixes, med, bad }),
        2 => prefixes().prop_map(Op::Withdraw),
        1 => prefixes().prop_map(|prefixes| Op::Watch(prefixes.into_iter().collect())),
    ]
}

/// One UPDATE with both kinds of routes.
fn update(prefixes: &[IpNet], announced: Option<(u32, bool)>) -> Update {
    let mut update = Update::default();
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for prefix in prefixes {
        match prefix {
            IpNet::V4(prefix) => v4.push(*prefix),
            IpNet::V6(prefix) => v6.push(*prefix),
        }
    }
    let (family, nlri) = (Family::IPV6_UNICAST, MpNlri::Ipv6(v6));
    let Some((med, bad)) = announced else {
        update.withdrawn = v4;
        update.attributes.push(Attribute::MpUnreach(MpUnreach { family, nlri }));
        return update;
    };
    update.nlri = v4;
    if !bad {
        update.attributes.push(Attribute::Origin(Origin::Igp));
    }
    update.attributes.extend(attributes(&[65000, 65002], THEIRS).split_off(1));
    update.attributes.push(Attribute::MultiExitDisc(med));
    let next_hop = MpNextHop::Ipv6 { global: "2001:db8:1::1".parse().unwrap(), link_local: None };
    update.attributes.push(Attribute::MpReach(MpReach { family, next_hop, nlri }));
    update
}

proptest! {
    #![proptest_config(crate::testing::cases(300))]

    /// The model keeps every path; the rib keeps those to watched prefixes that came since they are watched.
    #[test]
    fn the_rib_holds_what_the_peer_last_said_of_what_is_watched(ops in prop::collection::vec(op(), 1..40)) {
        let mut rib = rib(&[]);
        let mut watched = Watched::new();
        let mut model: BTreeMap<IpNet, u32> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Announce { prefixes, med, bad } => {
                    rib.learn(&decoded(update(&prefixes, Some((med, bad))), SessionContext::external()));
                    for prefix in prefixes {
                        if bad {
                            model.remove(&prefix);
                        } else if watched.contains(&prefix) {
                            model.insert(prefix, med);
                        }
                    }
                }
                Op::Withdraw(prefixes) => {
                    rib.learn(&decoded(update(&prefixes, None), SessionContext::external()));
                    for prefix in prefixes {
                        model.remove(&prefix);
                    }
                }
                Op::Watch(prefixes) => {
                    let new: BTreeSet<Family> = prefixes.difference(&watched).map(family_of).collect();
                    prop_assert_eq!(rib.watch(Arc::new(prefixes.clone())), new);
                    model.retain(|prefix, _| prefixes.contains(prefix));
                    watched = prefixes;
                }
            }
            let held: BTreeMap<IpNet, u32> =
                rib.paths().iter().map(|(prefix, path)| (*prefix, path.med.unwrap())).collect();
            prop_assert_eq!(&held, &model);
        }
    }
}
