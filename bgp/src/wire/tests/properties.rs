//! Any input is survived, and what is encoded is what is decoded.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn random_octets_never_panic(octets in vec(any::<u8>(), 0..600), ctx in contexts()) {
        let _ = Message::decode(&octets, &ctx);
        let _ = next_frame(&mut octets.as_slice().into());
    }

    #[test]
    fn random_bodies_never_panic(kind in 1..=5_u8, body in vec(any::<u8>(), 0..600), ctx in contexts()) {
        exercise(&frame(kind, &body), ctx);
    }

    #[test]
    fn random_attributes_never_panic(attributes in vec(attribute_octets(), 0..20), nlri in vec(any::<u8>(), 0..40), ctx in contexts()) {
        exercise(&update_frame(&attributes.concat(), &nlri), ctx);
    }

    #[test]
    fn random_optional_parameters_never_panic(parameters in vec(any::<u8>(), 0..200)) {
        let length = u8::try_from(parameters.len()).unwrap();
        let body = [&octets("04 fde9 0009 0a000102")[..], &[length], &parameters].concat();
        exercise(&frame(message_type::OPEN, &body), SessionContext::default());
    }

    #[test]
    fn mutated_messages_never_panic(
        (ctx, message) in messages(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let mut body = message.encode(&ctx).unwrap().split_off(HEADER_LEN).to_vec();
        for (place, octet) in changes {
            if !body.is_empty() {
                let place = place.index(body.len());
                body[place] = octet;
            }
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len() + 1));
        }
        exercise(&frame(message.message_type(), &body), ctx);
    }

    #[test]
    fn what_is_encoded_is_what_is_decoded((ctx, message) in messages()) {
        let frame = message.encode(&ctx).unwrap();
        prop_assert!(frame.len() <= MAX_MESSAGE_LEN);
        prop_assert_eq!(Message::decode(&frame, &ctx), Ok(message));
    }

    /// However the stream is cut into pieces, the same messages come out of it.
    #[test]
    fn frames_do_not_depend_on_how_the_stream_is_cut(
        messages in vec(messages(), 1..5),
        piece in 1..200_usize,
    ) {
        let frames: Vec<Bytes> = messages.iter().map(|(ctx, message)| message.encode(ctx).unwrap()).collect();
        let mut buffer = bytes::BytesMut::new();
        let mut got = Vec::new();
        for piece in frames.concat().chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = next_frame(&mut buffer).unwrap() {
                got.push(frame);
            }
        }
        prop_assert_eq!(got, frames);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn communities_read_what_they_show(community: u32, global: u32, local1: u32, local2: u32) {
        let community = Community(community);
        prop_assert_eq!(community.to_string().parse(), Ok(community));
        let large = LargeCommunity { global, local1, local2 };
        prop_assert_eq!(large.to_string().parse(), Ok(large));
    }

    #[test]
    fn shutdown_communications_arrive_up_to_255_octets(text in "\\PC{0,300}") {
        let cease = Notification::cease(iana::notification::cease::ADMINISTRATIVE_RESET, &text);
        prop_assert!(cease.data.len() <= 256);
        let arrived = cease.shutdown_communication().unwrap_or_default();
        prop_assert!(!arrived.chars().any(char::is_control));
        if text.is_ascii() {
            prop_assert_eq!(&arrived, &text[..text.len().min(255)]);
        }
    }
}

/// Everything that is done with a received message.
fn exercise(frame: &[u8], ctx: SessionContext) {
    match Message::decode(frame, &ctx) {
        Ok(mut message) => {
            let _ = message.encode(&ctx);
            let _ = format!("{message:?}");
            if let Message::Notification(notification) = &message {
                let _ = notification.to_string();
            }
            if let Message::Update(update) = &mut message {
                let routes = update.announced().count() + update.withdrawn_prefixes().count();
                assert!(routes <= frame.len());
                assert!(update.malformed.len() <= 512);
                update.merge_as4();
                let _ = (update.next_hop(), update.end_of_rib());
            }
        }
        Err(error) => {
            let _ = error.to_string();
            let notification = Message::Notification(error.notification());
            notification.encode(&ctx).expect("the NOTIFICATION for an error always fits");
        }
    }
}

fn contexts() -> impl Strategy<Value = SessionContext> {
    let widths = prop_oneof![Just(AsWidth::Two), Just(AsWidth::Four)];
    let peerings = prop_oneof![Just(Peering::Internal), Just(Peering::External)];
    (widths, peerings).prop_map(|(width, peering)| SessionContext::new(width, peering))
}

/// Something with the shape of an attribute, mostly of a known type.
fn attribute_octets() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![4 => Just(0x40_u8), 4 => Just(0x80), 4 => Just(0xC0), 1 => any::<u8>()];
    let code = prop_oneof![8 => 1..=18_u8, 2 => Just(32_u8), 1 => any::<u8>()];
    (flags, code, vec(any::<u8>(), 0..40)).prop_map(|(flags, code, value)| {
        let length = u8::try_from(value.len()).unwrap();
        let head = if flags & 0x10 == 0 { vec![flags, code, length] } else { vec![flags, code, 0, length] };
        [head, value].concat()
    })
}

fn messages() -> impl Strategy<Value = (SessionContext, Message)> {
    contexts().prop_flat_map(|ctx| {
        let message = prop_oneof![
            1 => opens().prop_map(Message::Open),
            3 => updates(ctx).prop_map(Message::Update),
            1 => (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..300)).prop_map(|(code, subcode, data)| {
                Message::Notification(Notification::new(code, subcode, data.into()))
            }),
            1 => Just(Message::Keepalive),
            1 => route_refreshes().prop_map(Message::RouteRefresh),
        ];
        (Just(ctx), message)
    })
}

fn route_refreshes() -> impl Strategy<Value = RouteRefresh> {
    let with_filters = (families(), any::<u8>(), vec(any::<u8>(), 0..100));
    with_filters.prop_map(|(family, subtype, trailing)| {
        let subtype = RefreshKind::from(subtype);
        match subtype {
            RefreshKind::Begin | RefreshKind::End => RouteRefresh::new(family, subtype),
            RefreshKind::Normal | RefreshKind::Other(_) => {
                RouteRefresh { family, subtype, trailing: trailing.into() }
            }
        }
    })
}

fn families() -> impl Strategy<Value = Family> {
    prop_oneof![
        Just(Family::IPV4_UNICAST),
        Just(Family::IPV6_UNICAST),
        (any::<u16>(), any::<u8>()).prop_map(|(afi, safi)| Family::new(Afi(afi), Safi(safi))),
    ]
}

fn opens() -> impl Strategy<Value = Open> {
    let hold_time = prop_oneof![Just(0_u16), 3..=u16::MAX];
    (1..=u32::MAX, hold_time, 1..=u32::MAX, vec(capabilities(), 0..7), any::<bool>()).prop_map(
        |(asn, hold_time, router_id, mut capabilities, four_octets)| {
            if four_octets {
                capabilities.push(Capability::FourOctetAs(Asn(asn)));
            }
            Open::new(Asn(asn), hold_time, router_id.into(), capabilities)
        },
    )
}

fn capabilities() -> impl Strategy<Value = Capability> {
    let next_hop = (families(), any::<u16>())
        .prop_map(|(family, next_hop)| ExtendedNextHop { family, next_hop: Afi(next_hop) });
    let restart_family = (families(), any::<bool>())
        .prop_map(|(family, forwarding)| GracefulRestartFamily { family, forwarding });
    prop_oneof![
        families().prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        Just(Capability::EnhancedRouteRefresh),
        vec(next_hop, 0..4).prop_map(Capability::ExtendedNextHop),
        (any::<bool>(), any::<bool>(), 0..=MAX_RESTART_TIME, vec(restart_family, 0..4)).prop_map(
            |(restarting, notification, restart_time, families)| Capability::GracefulRestart {
                restarting,
                notification,
                restart_time,
                families,
            }
        ),
        (71..=u8::MAX, vec(any::<u8>(), 0..30))
            .prop_map(|(code, data)| Capability::Unknown { code, data: data.into() }),
    ]
}

/// Already in the order of emission, so that decoding yields the same.
fn updates(ctx: SessionContext) -> impl Strategy<Value = Update> {
    let routes = (option::of(mp_reaches()), option::of(mp_unreaches()));
    let classic = (vec(ipv4_nets(), 0..30), vec(ipv4_nets(), 0..30));
    let numbers = (option::of(any::<u32>()), option::of(any::<u32>()), option::of((asns(ctx), any::<u32>())));
    let communities = (vec(any::<u32>(), 0..70), vec(any::<[u8; 8]>(), 0..5), vec(any::<[u32; 3]>(), 0..5));
    let inside = (option::of(any::<u32>()), vec(any::<u32>(), 0..4));
    let unknown = option::of((200..=u8::MAX, 0..4_u8, vec(any::<u8>(), 0..300)));
    let plain = (origins(), as_paths(ctx), any::<u32>(), any::<bool>());
    (routes, classic, plain, numbers, communities, inside, unknown).prop_map(
        move |(routes, (withdrawn, nlri), plain, numbers, communities, inside, unknown)| {
            let internal = ctx.peering == Peering::Internal;
            let (origin, path, next_hop, atomic) = plain;
            let (med, local_pref, aggregator) = numbers;
            let (communities, extended, large) = communities;
            let as4 = ctx.as_width == AsWidth::Two && path.asns().any(|asn| asn == Asn::TRANS);
            let all = [
                routes.0.map(Attribute::MpReach),
                routes.1.map(Attribute::MpUnreach),
                Some(Attribute::Origin(origin)),
                Some(Attribute::AsPath(path)),
                Some(Attribute::NextHop(next_hop.into())),
                med.map(Attribute::MultiExitDisc),
                local_pref.filter(|_| internal).map(Attribute::LocalPref),
                atomic.then_some(Attribute::AtomicAggregate),
                aggregator.map(|(asn, address)| Attribute::Aggregator { asn, address: address.into() }),
                some(communities.into_iter().map(Community).collect()).map(Attribute::Communities),
                inside.0.filter(|_| internal).map(|id| Attribute::OriginatorId(id.into())),
                some(inside.1)
                    .filter(|_| internal)
                    .map(|list| Attribute::ClusterList(list.into_iter().map(Ipv4Addr::from).collect())),
                some(extended.into_iter().map(ExtendedCommunity).collect())
                    .map(Attribute::ExtendedCommunities),
                as4.then(|| Attribute::As4Path(AsPath::sequence([Asn(70000)]))),
                as4.then(|| Attribute::As4Aggregator { asn: Asn(70000), address: Ipv4Addr::LOCALHOST }),
                some(
                    large
                        .into_iter()
                        .map(|[global, local1, local2]| LargeCommunity { global, local1, local2 })
                        .collect(),
                )
                .map(Attribute::LargeCommunities),
                unknown.map(|(code, flags, data)| Attribute::Unknown {
                    flags: AttributeFlags::from_octet(0x80 | flags << 5),
                    code,
                    data: data.into(),
                }),
            ];
            Update { withdrawn, attributes: all.into_iter().flatten().collect(), nlri, malformed: vec![] }
        },
    )
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() { None } else { Some(list) }
}

fn origins() -> impl Strategy<Value = Origin> {
    prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)]
}

fn asns(ctx: SessionContext) -> impl Strategy<Value = Asn> {
    let largest = match ctx.as_width {
        AsWidth::Two => u32::from(u16::MAX),
        AsWidth::Four => u32::MAX,
    };
    prop_oneof![8 => 1..=largest, 1 => Just(Asn::TRANS.0)].prop_map(Asn)
}

fn as_paths(ctx: SessionContext) -> impl Strategy<Value = AsPath> {
    let ases = prop_oneof![8 => vec(asns(ctx), 1..6), 1 => vec(asns(ctx), 255)];
    let segment = (0..4_u8, ases).prop_map(move |(kind, ases)| match kind {
        0 => AsSegment::Set(ases),
        1 if ctx.peering == Peering::Internal => AsSegment::ConfedSequence(ases),
        2 if ctx.peering == Peering::Internal => AsSegment::ConfedSet(ases),
        _ => AsSegment::Sequence(ases),
    });
    vec(segment, 0..3).prop_map(|segments| AsPath { segments })
}

fn ipv4_nets() -> impl Strategy<Value = Ipv4Net> {
    (any::<u32>(), 0..=32_u8)
        .prop_map(|(address, length)| Ipv4Net::new(address.into(), length).unwrap().trunc())
}

fn ipv6_nets() -> impl Strategy<Value = Ipv6Net> {
    (any::<u128>(), 0..=128_u8)
        .prop_map(|(address, length)| Ipv6Net::new(address.into(), length).unwrap().trunc())
}

fn mp_nlri() -> impl Strategy<Value = (Family, MpNlri)> {
    prop_oneof![
        vec(ipv4_nets(), 0..10).prop_map(|list| (Family::IPV4_UNICAST, MpNlri::Ipv4(list))),
        vec(ipv6_nets(), 0..20).prop_map(|list| (Family::IPV6_UNICAST, MpNlri::Ipv6(list))),
        vec(any::<u8>(), 0..50)
            .prop_map(|octets| (Family::new(Afi(25), Safi(70)), MpNlri::Opaque(octets.into()))),
    ]
}

fn mp_unreaches() -> impl Strategy<Value = MpUnreach> {
    mp_nlri().prop_map(|(family, nlri)| MpUnreach { family, nlri })
}

fn mp_reaches() -> impl Strategy<Value = MpReach> {
    let next_hop = (any::<u128>(), option::of(any::<u128>()), any::<bool>());
    (mp_nlri(), next_hop).prop_map(|((family, nlri), (global, link_local, classic))| {
        let ipv6 = MpNextHop::Ipv6 { global: global.into(), link_local: link_local.map(Into::into) };
        let next_hop = match nlri {
            MpNlri::Ipv4(_) if classic => MpNextHop::Ipv4(Ipv4Addr::from(global.to_be_bytes()[0] as u32)),
            MpNlri::Ipv4(_) | MpNlri::Ipv6(_) => ipv6,
            MpNlri::Opaque(_) => MpNextHop::Other(global.to_be_bytes().to_vec().into()),
        };
        MpReach { family, next_hop, nlri }
    })
}
