use proptest::prelude::*;

use super::*;

/// What chrony sent: stratum 3, local, to a question with the number 0x0102030405060708.
const ANSWER: [u8; LENGTH] = [
    0x24, 0x03, 0x00, 0xe7, // no leap, version 4, server; stratum 3; precision 2⁻²⁵ s
    0x00, 0x00, 0x80, 0x00, // 0.5 s
    0x00, 0x01, 0x40, 0x00, // 1.25 s
    0xc0, 0x00, 0x02, 0x01, // 192.0.2.1
    0xee, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, //
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, //
    0xee, 0x00, 0x00, 0x01, 0x80, 0x00, 0x00, 0x00, //
    0xee, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00,
];
const COOKIE: Timestamp = Timestamp(0x0102_0304_0506_0708);

const PACKET: ServerPacket = ServerPacket {
    is_alarmed: false,
    stratum: 3,
    root_delay: Duration::from_millis(500),
    root_dispersion: Duration::from_millis(1250),
    reference: [192, 0, 2, 1],
    receive: Timestamp(0xee00_0001_8000_0000),
    transmit: Timestamp(0xee00_0002_0000_0000),
};

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut packet = ANSWER.to_vec();
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    packet
}

#[test]
fn a_question_has_a_version_a_mode_and_a_number_and_nothing_else() {
    let mut expected = [0; LENGTH];
    expected[0] = 0x23;
    expected[40..].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(question(COOKIE), expected);
}

#[test]
fn an_answer_is_read() {
    assert_eq!(answer(&ANSWER, COOKIE), Ok(PACKET));
    // What is behind the header is not looked at.
    assert_eq!(answer(&[&ANSWER[..], &[0xff; 20]].concat(), COOKIE), Ok(PACKET));
    assert_eq!(
        answer(&with(0, &[0xdc]), COOKIE),
        Ok(ServerPacket { is_alarmed: true, ..PACKET }),
        "version 3"
    );
}

#[test]
fn what_is_no_answer_is_told() {
    let wrong = |received: &[u8]| answer(received, COOKIE).unwrap_err();
    assert_eq!(wrong(&[]), "is shorter than a packet of NTP (0 of 48 bytes)");
    assert_eq!(wrong(&ANSWER[..47]), "is shorter than a packet of NTP (47 of 48 bytes)");
    assert_eq!(wrong(&with(0, &[0x23])), "has mode 3, and the answer of a server has 4");
    assert_eq!(wrong(&with(0, &[0x3c])), "has version 7 of NTP, and the question had 4");
    assert_eq!(wrong(&with(0, &[0x04])), "has version 0 of NTP, and the question had 4");
    assert_eq!(wrong(&with(31, &[9])), "answers another question");
}

#[test]
fn a_reading_of_a_clock_is_a_timestamp() {
    let at = |seconds, nanoseconds| Timestamp::of(UNIX_EPOCH + Duration::new(seconds, nanoseconds));
    assert_eq!(at(0, 0), Timestamp(2_208_988_800 << 32));
    assert_eq!(at(0, 500_000_000), Timestamp(2_208_988_800 << 32 | 1 << 31));
    assert_eq!(at(2_085_978_495, 999_999_999).0 >> 32, u64::from(u32::MAX), "the last second of era 0");
    assert_eq!(at(2_085_978_496, 0), Timestamp::ZERO, "2036-02-07 06:28:16, the first of era 1");
    assert_eq!(at(2_085_978_497, 0), Timestamp(1 << 32));
}

#[test]
fn offset_and_delay_are_those_of_rfc_5905() {
    const SECOND: i64 = 1_000_000_000;
    let at = |seconds: i64, thousandths: i64| {
        Timestamp((seconds << 32).wrapping_add((thousandths << 32) / 1000).cast_unsigned())
    };
    let measure = |t1, t2, t3, t4| {
        let ClockDifference { offset, delay } =
            measured(t1, &ServerPacket { receive: t2, transmit: t3, ..PACKET }, t4);
        let rounded = |nanoseconds: i64| (nanoseconds + 500_000).div_euclid(1_000_000);
        (rounded(offset), rounded(delay))
    };
    // In milliseconds: T1, T2, T3, T4, and offset and delay.
    let table = [
        ((0, 10, 20, 30), (0, 20)),
        ((0, 110, 120, 30), (100, 20)),
        ((1000, 510, 520, 1030), (-500, 20)),
        ((0, 0, 0, 0), (0, 0)),
        // Our clock was set back meanwhile: no delay is less than zero.
        ((100, 100, 100, 0), (50, 0)),
    ];
    for ((t1, t2, t3, t4), expected) in table {
        let now = 3_900_000_000;
        assert_eq!(
            measure(at(now, t1), at(now, t2), at(now, t3), at(now, t4)),
            expected,
            "{t1} {t2} {t3} {t4}"
        );
        // The same around the end of era 0, on 7 February 2036.
        assert_eq!(measure(at(-1, t1), at(-1, t2), at(-1, t3), at(-1, t4)), expected, "{t1} {t2} {t3} {t4}");
    }
    // One of the clocks is in era 1 already.
    assert_eq!(measure(at(-1, 900), at(0, 0), at(0, 0), at(-1, 900)), (100, 0));
    // A clock that has never been set: 1970, seen in 2026, is 56 years behind.
    let (epoch, now) = (at(2_208_988_800, 0), at(3_976_000_000, 0));
    let years = measured(epoch, &ServerPacket { receive: now, transmit: now, ..PACKET }, epoch).offset;
    assert_eq!(years / SECOND, 3_976_000_000 - 2_208_988_800);
}

#[test]
fn a_source_is_a_clock_or_an_address() {
    let of =
        |stratum, reference: &[u8; 4]| source(&ServerPacket { stratum, reference: *reference, ..PACKET });
    assert_eq!(of(1, b"GPS\0").as_deref(), Some("GPS"));
    assert_eq!(of(1, b"GOES").as_deref(), Some("GOES"));
    assert_eq!(of(1, b"\x1b[2J").as_deref(), Some("0x1b5b324a"));
    assert_eq!(of(2, &[192, 0, 2, 1]).as_deref(), Some("192.0.2.1"));
    assert_eq!(of(2, &[0; 4]), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(received in prop::collection::vec(any::<u8>(), 0..128), sent: u64, came: u64) {
        // Most random bytes are no answer, so the header is made one as well.
        let mut likely = received.clone();
        if let Some(first) = likely.first_mut() {
            *first = *first & 0xc0 | 0x24;
        }
        for bytes in [received, likely] {
            let cookie = bytes.get(24..32).map_or(0, |b| b.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
            if let Ok(packet) = answer(&bytes, Timestamp(cookie)) {
                let measured = measured(Timestamp(sent), &packet, Timestamp(came));
                prop_assert!(measured.delay >= 0);
                prop_assert!(source(&packet).is_none_or(|source| !source.chars().any(char::is_control)));
            }
        }
    }

    #[test]
    fn an_offset_is_found_again(now: u32, offset in -1_000_000_000_i64..1_000_000_000, way in 0_i64..1_000_000_000) {
        // All in units of 2⁻³² seconds; the way is the same there and back.
        let t1 = i64::from(now) << 32;
        let at = |time: i64| Timestamp(time.cast_unsigned());
        let packet = ServerPacket { receive: at(t1.wrapping_add(way + offset)), transmit: at(t1.wrapping_add(way + offset)), ..PACKET };
        let found = measured(at(t1), &packet, at(t1.wrapping_add(2 * way)));
        let wanted = (i128::from(offset) * 1_000_000_000) >> 32;
        prop_assert!((i128::from(found.offset) - wanted).abs() <= 1, "{found:?} {wanted}");
    }
}
