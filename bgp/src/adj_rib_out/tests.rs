//! The rib against two models: what a peer holds that applied every UPDATE, and a rib that plans everything anew at each
//! change.

mod from_scratch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;

use super::{AdjRibOut, Egress, Export, Withheld};
use crate::next_hop::{NextHop, SessionNextHops};
use crate::prefix_map::PrefixMap;
use crate::route::{RouteAttributes, Routes};
use crate::wire::{
    AsPath, AsWidth, Asn, Attribute, Community, ExtendedCommunity, Family, LargeCommunity, Message,
    MpNextHop, MpNlri, MpReach, Origin, Peering, SessionContext, Update,
};

const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const NEXT_HOP_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const ASN: Asn = Asn(65001);

fn egress(context: SessionContext) -> Egress {
    Egress {
        families: BTreeSet::from([Family::IPV4_UNICAST, Family::IPV6_UNICAST]),
        context,
        local_as: ASN,
        next_hops: SessionNextHops {
            v4: Some(NextHop::V4(NEXT_HOP)),
            v6: Some(NextHop::V6 { global: NEXT_HOP_6, link_local: None }),
        },
        role: None,
        med: None,
        export: Export::Plain,
    }
}

fn rib() -> AdjRibOut {
    AdjRibOut::new(egress(SessionContext::external()))
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn set(prefixes: &[&str], attributes: RouteAttributes) -> Routes {
    let attributes = Arc::new(attributes);
    prefixes.iter().map(|prefix| (net(prefix), Arc::clone(&attributes))).collect()
}

fn hosts(count: u32, address: impl Fn(u32) -> IpAddr) -> Routes {
    let attributes = Arc::new(RouteAttributes::default());
    (0..count).map(|n| (IpNet::from(address(n)), Arc::clone(&attributes))).collect()
}

fn v4_host(n: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 0, 0, 0)) + n).into()
}

fn v6_host(n: u32) -> IpAddr {
    Ipv6Addr::from(u128::from(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0)) + u128::from(n)).into()
}

/// Everything that is due, each UPDATE checked on its way over the wire.
fn drain(rib: &mut AdjRibOut) -> Vec<Update> {
    let context = rib.egress.context;
    std::iter::from_fn(|| rib.next_update()).map(|update| over_the_wire(&update, context)).collect()
}

fn over_the_wire(update: &Update, context: SessionContext) -> Update {
    let bytes = Message::Update(update.clone()).encode(&context).expect("it fits");
    assert!(bytes.len() <= 4096);
    let Message::Update(decoded) = Message::decode(&bytes, &context).unwrap() else {
        panic!("another message")
    };
    assert_eq!(decoded.malformed, []);
    let announces = decoded.announced().next().is_some();
    let withdraws = decoded.withdrawn_prefixes().next().is_some();
    assert!(!(announces && withdraws), "announced and withdrawn in one UPDATE");
    let classic = !decoded.nlri.is_empty() || !decoded.withdrawn.is_empty();
    assert!(
        !(classic && (decoded.mp_reach().is_some() || decoded.mp_unreach().is_some())),
        "both kinds of NLRI"
    );
    assert!(announces || withdraws || decoded.end_of_rib().is_some(), "an UPDATE that says nothing");
    decoded
}

fn sizes(updates: &[Update]) -> Vec<(usize, usize)> {
    updates.iter().map(|update| (update.announced().count(), update.withdrawn_prefixes().count())).collect()
}

/// 4,096 less 43 octets of header, lengths and attributes, at 5 octets a prefix; for IPv6 less 61, at 17.
#[test]
fn equal_attributes_are_packed_to_the_last_octet() {
    let mut rib = rib();
    rib.set(&hosts(5_000, v4_host));
    let full = (810, 0);
    assert_eq!(sizes(&drain(&mut rib)), [full, full, full, full, full, full, (140, 0), (0, 0), (0, 0)]);
    rib.set(&hosts(1_000, v6_host));
    // 4,096 less 23 octets of header and lengths, at 5 octets a prefix.
    let gone = (0, 814);
    let mut want = vec![gone, gone, gone, gone, gone, gone, (0, 116)];
    want.extend([(237, 0), (237, 0), (237, 0), (237, 0), (52, 0)]);
    assert_eq!(sizes(&drain(&mut rib)), want);
    rib.set(&Routes::new());
    // 30 octets before the first IPv6 prefix.
    assert_eq!(sizes(&drain(&mut rib)), [(0, 239), (0, 239), (0, 239), (0, 239), (0, 44)]);
    assert_eq!((rib.sent_count(), rib.is_synced()), (0, true));
}

#[test]
fn a_message_that_is_exactly_full_is_sent() {
    let mut rib = rib();
    let attributes = Arc::new(RouteAttributes { med: Some(1), ..RouteAttributes::default() });
    // 43 octets and 7 of MED are used. The 4,046 that are left hold 808 /32s of 5, a /24 of 4 and a /8 of 2.
    let mut routes: Routes = (0..808).map(|n| (IpNet::from(v4_host(n)), Arc::clone(&attributes))).collect();
    routes.insert(net("10.0.0.0/8"), Arc::clone(&attributes));
    routes.insert(net("10.1.1.0/24"), Arc::clone(&attributes));
    rib.set(&routes);
    let update = rib.next_update().unwrap();
    assert_eq!(Message::Update(update.clone()).encode(&SessionContext::external()).unwrap().len(), 4096);
    assert_eq!(update.nlri.len(), 810);
}

#[test]
fn an_end_of_rib_for_each_family_follows_the_routes_once() {
    let mut rib = rib();
    rib.set(&set(&["192.0.2.1/32", "2001:db8::1/128"], RouteAttributes::default()));
    assert!(!rib.is_synced());
    let ends: Vec<_> = drain(&mut rib).iter().map(Update::end_of_rib).collect();
    assert_eq!(ends, [None, None, Some(Family::IPV4_UNICAST), Some(Family::IPV6_UNICAST)]);
    rib.set(&Routes::new());
    assert_eq!(sizes(&drain(&mut rib)), [(0, 1), (0, 1)]);
    rib.refresh(Family::IPV4_UNICAST, &Routes::new());
    assert_eq!(drain(&mut rib), []);
}

#[test]
fn nothing_is_sent_twice_and_a_change_that_was_undone_not_at_all() {
    let mut rib = rib();
    let routes = set(&["192.0.2.1/32"], RouteAttributes::default());
    rib.set(&routes);
    drain(&mut rib);
    rib.set(&routes);
    assert_eq!(drain(&mut rib), []);
    rib.set(&Routes::new());
    rib.set(&routes);
    assert_eq!(drain(&mut rib), []);
}

#[test]
fn an_external_session_gets_our_as_prepended_and_no_local_pref() {
    let mut rib = rib();
    let attributes = RouteAttributes {
        as_path_prepend: 2,
        med: Some(50),
        local_pref: Some(200),
        communities: BTreeSet::from([Community::new(65001, 2), Community::new(65001, 1)]),
        extended_communities: BTreeSet::from(["rt:65001:7".parse().unwrap()]),
        link_bandwidth: Some(125_000_000),
        large_communities: BTreeSet::from([LargeCommunity { global: 1, local1: 2, local2: 3 }]),
        next_hop: None,
    };
    rib.set(&set(&["192.0.2.1/32", "2001:db8::1/128"], attributes));
    let updates = drain(&mut rib);
    let common = [
        Attribute::Origin(Origin::Igp),
        Attribute::AsPath(AsPath::sequence([ASN; 3])),
        Attribute::NextHop(NEXT_HOP),
        Attribute::MultiExitDisc(50),
        Attribute::Communities(vec![Community::new(65001, 1), Community::new(65001, 2)]),
        Attribute::ExtendedCommunities(vec![
            // One gigabit per second, as an IEEE single in octets, from AS 65001.
            ExtendedCommunity([0x40, 0x04, 0xfd, 0xe9, 0x4c, 0xee, 0x6b, 0x28]),
            ExtendedCommunity([0x00, 0x02, 0xfd, 0xe9, 0, 0, 0, 7]),
        ]),
        Attribute::LargeCommunities(vec![LargeCommunity { global: 1, local1: 2, local2: 3 }]),
    ];
    assert_eq!(updates[0].attributes, common);
    // RFC 7606 §5.1: MP_REACH_NLRI first, and with it no NEXT_HOP.
    let reach = Attribute::MpReach(MpReach {
        family: Family::IPV6_UNICAST,
        next_hop: MpNextHop::Ipv6 { global: NEXT_HOP_6, link_local: None },
        nlri: MpNlri::Ipv6(vec!["2001:db8::1/128".parse().unwrap()]),
    });
    let mut want = vec![reach];
    want.extend(common.into_iter().filter(|attribute| !matches!(attribute, Attribute::NextHop(_))));
    assert_eq!(updates[1].attributes, want);
}

/// RFC 8950 §3.
#[test]
fn ipv4_prefixes_travel_with_an_ipv6_next_hop_in_mp_reach() {
    let hop = NextHop::V6 { global: NEXT_HOP_6, link_local: Some("fe80::2".parse().unwrap()) };
    let next_hops = SessionNextHops { v4: Some(hop), v6: Some(hop) };
    let mut rib = AdjRibOut::new(Egress { next_hops, ..egress(SessionContext::external()) });
    rib.set(&set(&["192.0.2.1/32"], RouteAttributes::default()));
    let updates = drain(&mut rib);
    let reach = Attribute::MpReach(MpReach {
        family: Family::IPV4_UNICAST,
        next_hop: MpNextHop::Ipv6 { global: NEXT_HOP_6, link_local: Some("fe80::2".parse().unwrap()) },
        nlri: MpNlri::Ipv4(vec!["192.0.2.1/32".parse().unwrap()]),
    });
    let path = Attribute::AsPath(AsPath::sequence([ASN]));
    assert_eq!(updates[0].attributes, [reach, Attribute::Origin(Origin::Igp), path]);
    assert_eq!(updates[0].nlri, []);
    rib.set(&Routes::new());
    assert_eq!(drain(&mut rib)[0].withdrawn, ["192.0.2.1/32".parse().unwrap()]);
}

#[test]
fn an_internal_session_gets_an_empty_path_and_local_pref() {
    for (local_pref, want) in [(None, 100), (Some(200), 200)] {
        let mut rib = AdjRibOut::new(egress(SessionContext::internal()));
        let attributes = RouteAttributes { local_pref, as_path_prepend: 3, ..RouteAttributes::default() };
        rib.set(&set(&["192.0.2.1/32"], attributes));
        let want = [
            Attribute::Origin(Origin::Igp),
            Attribute::AsPath(AsPath::default()),
            Attribute::NextHop(NEXT_HOP),
            Attribute::LocalPref(want),
        ];
        assert_eq!(drain(&mut rib)[0].attributes, want);
    }
}

#[test]
fn i7_what_stays_inside_an_as_is_no_news_outside_and_the_other_way_round() {
    let plain = RouteAttributes::default;
    let path = RouteAttributes { as_path_prepend: 3, ..plain() };
    let preferred = RouteAttributes { local_pref: Some(200), ..plain() };
    let default = RouteAttributes { local_pref: Some(100), ..plain() };
    let own = RouteAttributes { next_hop: Some(NEXT_HOP.into()), ..plain() };
    let med = RouteAttributes { med: Some(0), ..plain() };
    let changes =
        [(path, true, false), (preferred, false, true), (default, false, false), (own, false, false)];
    for (changed, outside, inside) in changes.into_iter().chain([(med, true, true)]) {
        for (context, is_news) in
            [(SessionContext::external(), outside), (SessionContext::internal(), inside)]
        {
            let mut rib = AdjRibOut::new(egress(context));
            rib.set(&set(&["192.0.2.1/32"], plain()));
            drain(&mut rib);
            rib.set(&set(&["192.0.2.1/32"], changed.clone()));
            assert_eq!(!drain(&mut rib).is_empty(), is_news, "{changed:?} on {context:?}");
            rib.set(&set(&["192.0.2.1/32"], plain()));
            assert_eq!(!drain(&mut rib).is_empty(), is_news, "{changed:?} back on {context:?}");
        }
    }
}

/// RFC 6793 §4.2.2.
#[test]
fn a_two_octet_session_gets_as_trans_and_as4_path() {
    let context = SessionContext::new(AsWidth::Two, Peering::External);
    let mut rib = AdjRibOut::new(Egress { local_as: Asn(4_200_000_001), ..egress(context) });
    rib.set(&set(&["192.0.2.1/32"], RouteAttributes { as_path_prepend: 1, ..RouteAttributes::default() }));
    let bytes = Message::Update(rib.next_update().unwrap()).encode(&context).unwrap();
    #[rustfmt::skip]
    let want = [
        0, 0, 0, 33,
        0x40, 1, 1, 0,
        0x40, 2, 6, 2, 2, 0x5b, 0xa0, 0x5b, 0xa0,
        0x40, 3, 4, 10, 0, 0, 2,
        0xc0, 17, 10, 2, 2, 0xfa, 0x56, 0xea, 0x01, 0xfa, 0x56, 0xea, 0x01,
        32, 192, 0, 2, 1,
    ];
    assert_eq!(bytes[19..], want);

    let mut rib = AdjRibOut::new(egress(context));
    rib.set(&set(&["192.0.2.1/32"], RouteAttributes::default()));
    let small = drain(&mut rib);
    assert!(!small[0].attributes.iter().any(|attribute| matches!(attribute, Attribute::As4Path(_))));
}

#[test]
fn a_route_brings_its_own_next_hop_for_its_own_family() {
    let mut rib = rib();
    let own = RouteAttributes { next_hop: Some([10, 9, 9, 9].into()), ..RouteAttributes::default() };
    rib.set(&set(&["192.0.2.1/32", "2001:db8::1/128"], own));
    let hops: Vec<_> = drain(&mut rib).iter().filter_map(Update::next_hop).collect();
    assert_eq!(hops, [IpAddr::from([10, 9, 9, 9]), NEXT_HOP_6.into()]);
}

#[test]
fn what_a_session_cannot_carry_is_withheld_with_the_reason() {
    let mut egress = egress(SessionContext::external());
    egress.next_hops.v6 = None;
    let mut no_v6_hop = AdjRibOut::new(egress.clone());
    egress.families.remove(&Family::IPV6_UNICAST);
    let mut no_v6 = AdjRibOut::new(egress);
    let routes = set(&["192.0.2.1/32", "2001:db8::1/128"], RouteAttributes::default());
    for (rib, reason) in [(&mut no_v6_hop, Withheld::NoNextHop), (&mut no_v6, Withheld::FamilyNotNegotiated)]
    {
        rib.set(&routes);
        assert_eq!(rib.withheld(), &PrefixMap::from([(net("2001:db8::1/128"), reason)]));
        assert_eq!(drain(rib).iter().map(|update| update.announced().count()).sum::<usize>(), 1);
        assert!(rib.is_synced());
        rib.set(&Routes::new());
        assert!(rib.withheld().is_empty());
    }
}

/// As many communities as fill a message but for `left` octets behind the attributes.
fn filling(left: usize) -> RouteAttributes {
    // 43 octets of a plain UPDATE, 8 of LARGE_COMMUNITIES' and COMMUNITIES' headers.
    let octets = 4096 - 43 - left;
    let fours = (octets - 4) / 4;
    assert_eq!(octets, 4 + fours * 4, "not a multiple of a community");
    let communities = (0..u32::try_from(fours).unwrap()).map(Community).collect();
    RouteAttributes { communities, ..RouteAttributes::default() }
}

#[test]
fn attributes_without_room_for_a_prefix_are_withheld_and_the_earlier_version_withdrawn() {
    let prefixes = ["192.0.2.1/32", "192.0.2.2/32", "10.0.0.0/24", "0.0.0.0/0"];
    // The prefixes that fit behind attributes with this room.
    for (left, fits) in [(5, 4), (1, 1)] {
        let mut rib = rib();
        rib.set(&set(&prefixes, RouteAttributes::default()));
        drain(&mut rib);
        rib.set(&set(&prefixes, filling(left)));
        let updates = drain(&mut rib);
        assert_eq!(
            updates.iter().map(|update| update.announced().count()).sum::<usize>(),
            fits,
            "{left} left"
        );
        assert_eq!(updates.iter().map(|update| update.withdrawn_prefixes().count()).sum::<usize>(), 4 - fits);
        assert_eq!(rib.sent_count(), fits);
        assert!(rib.withheld().values().all(|reason| *reason == Withheld::AttributesTooLarge));
        assert_eq!((rib.withheld().len(), rib.is_synced()), (4 - fits, true));
        rib.set(&set(&prefixes, RouteAttributes::default()));
        assert_eq!(drain(&mut rib).iter().map(|update| update.announced().count()).sum::<usize>(), 4);
        assert!(rib.withheld().is_empty());
    }
}

#[test]
fn prefixes_that_differ_behind_their_length_are_one() {
    let mut rib = rib();
    rib.set(&set(&["10.0.0.1/24", "10.0.0.2/24"], RouteAttributes::default()));
    assert_eq!(sizes(&drain(&mut rib))[0], (1, 0));
    rib.set(&set(&["10.0.0.2/24"], RouteAttributes::default()));
    assert_eq!(drain(&mut rib), [], "the peer has it already");
    rib.set(&Routes::new());
    assert_eq!(sizes(&drain(&mut rib)), [(0, 1)]);
}

#[derive(Debug, Clone)]
enum Op {
    Set(Routes),
    Refresh(bool),
    NextUpdates(usize),
}

fn prefix() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (0..30_u32, 20..=32_u8).prop_map(|(n, len)| {
            ipnet::Ipv4Net::new(Ipv4Addr::from(0xC000_0200 + n * 37), len).unwrap().into()
        }),
        (0..20_u128, prop_oneof![Just(128_u8), Just(64)]).prop_map(|(n, len)| {
            ipnet::Ipv6Net::new(Ipv6Addr::from(0x2001_0db8 << 96 | n), len).unwrap().into()
        }),
    ]
}

fn attributes() -> impl Strategy<Value = Arc<RouteAttributes>> {
    let plain = (0..3_u8, proptest::option::of(0..2_u32)).prop_map(|(as_path_prepend, med)| {
        RouteAttributes { as_path_prepend, med, ..RouteAttributes::default() }
    });
    let huge = prop_oneof![Just(1_000_u32), Just(1_008), Just(1_012), Just(1_100)].prop_map(|count| {
        RouteAttributes { communities: (0..count).map(Community).collect(), ..RouteAttributes::default() }
    });
    prop_oneof![9 => plain, 1 => huge].prop_map(Arc::new)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => proptest::collection::btree_map(prefix(), attributes(), 0..40).prop_map(|routes| Op::Set(routes.into_iter().collect())),
        1 => any::<bool>().prop_map(Op::Refresh),
        4 => (0..6_usize).prop_map(Op::NextUpdates),
    ]
}

/// The table of a peer: prefixes with their attributes.
#[derive(Debug, Default)]
struct Model {
    rib: BTreeMap<IpNet, (Option<u32>, usize, usize)>,
    /// Prefixes that came since this was cleared.
    told: BTreeSet<IpNet>,
    ends: Vec<Family>,
}

impl Model {
    fn apply(&mut self, update: &Update) {
        self.ends.extend(update.end_of_rib());
        for prefix in update.withdrawn_prefixes() {
            assert!(self.rib.remove(&prefix).is_some(), "{prefix} was withdrawn, but never announced");
        }
        let (mut med, mut communities) = (None, 0);
        for attribute in &update.attributes {
            if let Attribute::MultiExitDisc(value) = attribute {
                med = Some(*value);
            } else if let Attribute::Communities(all) = attribute {
                communities = all.len();
            }
        }
        let hops = update.as_path().map_or(0, AsPath::hops);
        for prefix in update.announced() {
            self.rib.insert(prefix, (med, hops, communities));
            self.told.insert(prefix);
        }
    }
}

proptest! {
    #![proptest_config(crate::testing::cases(60))]

    #[test]
    fn a_peer_that_applies_every_update_ends_with_the_desired_set(
        ops in proptest::collection::vec(op(), 1..30),
        internal: bool,
    ) {
        let context = if internal { SessionContext::internal() } else { SessionContext::external() };
        let mut rib = AdjRibOut::new(egress(context));
        let mut model = Model::default();
        let mut wanted = Routes::new();
        for op in ops {
            match op {
                Op::Set(routes) => {
                    rib.set(&routes);
                    wanted = routes;
                }
                Op::Refresh(v4) => {
                    let family = if v4 { Family::IPV4_UNICAST } else { Family::IPV6_UNICAST };
                    model.told.retain(|prefix| crate::family_of(prefix) != family);
                    rib.refresh(family, &wanted);
                }
                Op::NextUpdates(count) => {
                    for _ in 0..count {
                        let Some(update) = rib.next_update() else { break };
                        model.apply(&over_the_wire(&update, context));
                    }
                    prop_assert_eq!(rib.sent_count(), model.rib.len());
                }
            }
        }
        for update in drain(&mut rib) {
            model.apply(&update);
        }
        let mut canonical = BTreeMap::new();
        for (prefix, route) in &wanted {
            let hops = if internal { 0 } else { 1 + usize::from(route.as_path_prepend) };
            canonical.entry(prefix.trunc()).or_insert((route.med, hops, route.communities.len()));
        }
        let withheld: BTreeSet<IpNet> = rib.withheld().keys().copied().collect();
        canonical.retain(|prefix, (_, _, communities)| {
            assert!(!withheld.contains(prefix) || *communities >= 1_000, "{prefix} withheld for no reason");
            !withheld.contains(prefix)
        });
        prop_assert_eq!(&model.rib, &canonical);
        prop_assert!(canonical.keys().all(|prefix| model.told.contains(prefix)), "not everything was sent again");
        prop_assert_eq!(model.ends, [Family::IPV4_UNICAST, Family::IPV6_UNICAST]);
        prop_assert!(rib.is_synced());
        prop_assert_eq!(rib.next_update(), None);
    }
}
