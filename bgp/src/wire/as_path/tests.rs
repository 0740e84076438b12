use super::*;
use crate::wire::tests::octets;

fn asns<const N: usize>(numbers: [u32; N]) -> Vec<Asn> {
    numbers.map(Asn).to_vec()
}

fn path<const N: usize>(numbers: [u32; N]) -> AsPath {
    AsPath::sequence(asns(numbers))
}

fn encode(path: &AsPath, width: AsWidth) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    path.encode(width, &mut buffer);
    buffer.to_vec()
}

fn mixed() -> AsPath {
    AsPath {
        segments: vec![
            AsSegment::ConfedSequence(asns([64512])),
            AsSegment::ConfedSet(asns([64513, 64514])),
            AsSegment::Sequence(asns([65001, 65001])),
            AsSegment::Set(asns([1, 2])),
        ],
    }
}

#[test]
fn every_segment_both_ways_in_either_width() {
    let two = octets("03 01 fc00 04 02 fc01 fc02 02 02 fde9 fde9 01 02 0001 0002");
    let four =
        octets("03 01 0000fc00 04 02 0000fc01 0000fc02 02 02 0000fde9 0000fde9 01 02 00000001 00000002");
    for (width, octets) in [(AsWidth::Two, two), (AsWidth::Four, four)] {
        assert_eq!(AsPath::decode(&octets, width), Some(mixed()));
        assert_eq!(encode(&mixed(), width), octets);
    }
    assert_eq!(AsPath::decode(&[], AsWidth::Four), Some(AsPath::default()));
    assert!(encode(&AsPath::default(), AsWidth::Four).is_empty());
}

#[test]
fn a_path_reads_as_routers_show_it() {
    assert_eq!(mixed().to_string(), "(64512) [64513,64514] 65001 65001 {1,2}");
    assert_eq!(AsPath::default().to_string(), "");
}

#[test]
fn a_segment_is_split_at_255() {
    let long = AsPath::sequence((1..=256).map(Asn));
    let octets = encode(&long, AsWidth::Four);
    assert_eq!(octets.len(), 2 + 255 * 4 + 2 + 4);
    assert_eq!((octets[1], octets[2 + 255 * 4 + 1]), (255, 1));
    let decoded = AsPath::decode(&octets, AsWidth::Four).unwrap();
    assert_eq!(decoded.segments.len(), 2);
    assert!(decoded.asns().eq(long.asns()));
}

#[test]
fn a_segment_without_ases_is_left_out() {
    let empty = AsPath { segments: vec![AsSegment::Sequence(vec![])] };
    assert!(encode(&empty, AsWidth::Four).is_empty());
    assert_eq!(AsPath::sequence([]), AsPath::default());
}

#[test]
fn numbers_that_do_not_fit_become_as_trans_and_call_for_as4_path() {
    let wide = path([65001, 70000]);
    assert_eq!(encode(&wide, AsWidth::Two), octets("02 02 fde9 5ba0"));
    assert_eq!(wide.as4_path(), Some(wide));
    assert_eq!(path([65001, 65002]).as4_path(), None);
    let confederation = AsPath { segments: vec![AsSegment::ConfedSequence(asns([70000]))] };
    assert_eq!(confederation.as4_path(), None);
}

#[test]
fn hops_count_a_set_once_and_a_confederation_not_at_all() {
    assert_eq!(mixed().hops(), 3);
    assert_eq!(AsPath::default().hops(), 0);
}

#[test]
fn as4_path_replaces_the_far_end() {
    let trans = 23456;
    let table = [
        (path([1, trans, trans]), path([70000, 70001]), path([1, 70000, 70001])),
        (path([trans, trans]), path([70000, 70001]), path([70000, 70001])),
        (path([1, 2]), AsPath::default(), path([1, 2])),
        // Longer than the path: somebody removed ASes without knowing of it.
        (path([1]), path([70000, 70001]), path([1])),
    ];
    for (old, as4, merged) in table {
        assert_eq!(old.merged_with(&as4), merged, "{old} with {as4}");
    }
}

#[test]
fn as4_path_is_merged_around_sets_and_confederations() {
    let old = AsPath {
        segments: vec![
            AsSegment::ConfedSequence(asns([64512])),
            AsSegment::Sequence(asns([1, 23456])),
            AsSegment::Set(asns([23456, 3])),
        ],
    };
    let as4 = AsPath {
        segments: vec![
            AsSegment::ConfedSequence(asns([9])),
            AsSegment::Sequence(asns([70000])),
            AsSegment::Set(asns([3, 70001])),
        ],
    };
    let merged = AsPath {
        segments: vec![
            AsSegment::ConfedSequence(asns([64512])),
            AsSegment::Sequence(asns([1, 70000])),
            AsSegment::Set(asns([3, 70001])),
        ],
    };
    assert_eq!(old.merged_with(&as4), merged);
}
