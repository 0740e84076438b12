use super::*;

#[test]
fn communities_show_as_two_numbers_or_by_name() {
    assert_eq!(Community::new(65001, 100).to_string(), "65001:100");
    assert_eq!(Community::GRACEFUL_SHUTDOWN.to_string(), "graceful-shutdown");
    assert_eq!(Community(0xFFFF_0000), Community::new(65535, 0));
}

#[test]
fn every_well_known_name_reads_as_its_number() {
    for (name, value) in iana::community::NAMED {
        assert_eq!(name.parse(), Ok(Community(value)));
        assert_eq!(Community(value).to_string(), name);
    }
    assert_eq!("65535:65281".parse(), Ok(Community::NO_EXPORT));
}

#[test]
fn what_is_not_two_small_numbers_is_refused() {
    for text in
        ["", ":", "1", "1:", ":1", "1:2:3", "65536:1", "1:65536", "+1:2", "-1:2", " 1:2", "0x1:2", "noexport"]
    {
        assert_eq!(text.parse::<Community>(), Err(ParseCommunityError::Community), "{text:?}");
    }
}

#[test]
fn large_communities_are_three_numbers() {
    let largest = LargeCommunity { global: u32::MAX, local1: 0, local2: 7 };
    assert_eq!("4294967295:0:7".parse(), Ok(largest));
    assert_eq!(largest.to_string(), "4294967295:0:7");
    for text in ["", "1:2", "1:2:3:4", "4294967296:0:0", "1::3", "1:2:+3"] {
        assert_eq!(text.parse::<LargeCommunity>(), Err(ParseCommunityError::LargeCommunity), "{text:?}");
    }
}

#[test]
fn extended_communities_show_as_hexadecimal() {
    assert_eq!(ExtendedCommunity([0, 2, 0xFD, 0xE9, 0, 0, 0, 100]).to_string(), "0002fde900000064");
}
