use super::*;
use crate::wire::tests::{octets, v4, v6};

#[test]
fn ipv4_prefixes_both_ways() {
    let input = octets("00 08 0a 09 0a80 10 0a01 18 c00002 19 c0000280 20 c000020a");
    let prefixes = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.128.0.0/9",
        "10.1.0.0/16",
        "192.0.2.0/24",
        "192.0.2.128/25",
        "192.0.2.10/32",
    ]
    .map(v4);
    assert_eq!(decode_ipv4(&input).as_deref(), Some(&prefixes[..]));
    let mut buffer = BytesMut::new();
    encode_ipv4(&prefixes, &mut buffer);
    assert_eq!(buffer, input);
}

#[test]
fn ipv6_prefixes_both_ways() {
    let input = octets("00 20 20010db8 40 20010db800000001 80 20010db8000000000000000000000010");
    let prefixes = ["::/0", "2001:db8::/32", "2001:db8:0:1::/64", "2001:db8::10/128"].map(v6);
    assert_eq!(decode_ipv6(&input).as_deref(), Some(&prefixes[..]));
    let mut buffer = BytesMut::new();
    encode_ipv6(&prefixes, &mut buffer);
    assert_eq!(buffer, input);
}

#[test]
fn bits_behind_the_prefix_length_are_dropped_in_both_directions() {
    assert_eq!(decode_ipv4(&octets("09 0aff")), Some(vec![v4("10.128.0.0/9")]));
    assert_eq!(decode_ipv6(&octets("01 ff")), Some(vec![v6("8000::/1")]));
    let mut buffer = BytesMut::new();
    encode_ipv4(&[v4("10.255.255.255/9")], &mut buffer);
    assert_eq!(buffer, octets("09 0a80"));
}

#[test]
fn too_long_and_cut_off_prefixes_are_refused() {
    for input in ["21 0a00000000", "ff", "20 0a0000", "08", "08 0a 20"] {
        assert_eq!(decode_ipv4(&octets(input)), None, "{input}");
    }
    for input in ["81 0000000000000000000000000000000000", "80 00000000000000000000000000000000 80", "ff"] {
        assert_eq!(decode_ipv6(&octets(input)), None, "{input}");
    }
}

#[test]
fn the_encoded_length_is_known_beforehand() {
    let table = [
        ("0.0.0.0/0", 1),
        ("10.0.0.0/8", 2),
        ("10.0.0.0/9", 3),
        ("192.0.2.1/32", 5),
        ("2001:db8::1/128", 17),
    ];
    for (prefix, length) in table {
        assert_eq!(encoded_prefix_len(&prefix.parse().unwrap()), length);
    }
}
