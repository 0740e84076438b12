//! What an answer is worth: whether the server has the time, and how far from ours it is.

use std::time::Duration;

use super::packet::{ClockDifference, ServerPacket, Timestamp, code, source};
use super::{MOST_STRATUM, NtpCheck};
use crate::check::limit::Answer;
use crate::check::words;

const UNSYNCHRONISED: &str = "the server is not synchronised";

/// The verdict on an answer (RFC 5905 §7.3 and §7.4, RFC 4330 §5).
pub(super) fn verdict(check: &NtpCheck, packet: &ServerPacket, measured: ClockDifference) -> Answer {
    // It comes with the alarm, and says more.
    if packet.stratum == 0 {
        return Err(kiss(packet.reference));
    }
    if packet.is_alarmed || packet.stratum > MOST_STRATUM {
        return Err(UNSYNCHRONISED.into());
    }
    if packet.transmit == Timestamp::ZERO {
        return Err("the server says no time: its transmit timestamp is zero".into());
    }
    let distance = packet.root_delay / 2 + packet.root_dispersion;
    let seen = seen(packet, measured);
    if packet.stratum > check.stratum {
        return Err(format!("{seen}; wanted stratum {} or less", check.stratum));
    }
    if let Some(most) = check.root_distance.filter(|most| distance > *most) {
        let (distance, most) = (milliseconds(distance), words::duration(most));
        return Err(format!("{seen}; its time may be off by {distance}, wanted {most} or less"));
    }
    if let Some(most) =
        check.offset.filter(|most| Duration::from_nanos(measured.offset.unsigned_abs()) > *most)
    {
        return Err(format!("{seen}; wanted an offset of {} or less", words::duration(most)));
    }
    Ok(seen)
}

/// Why a server does not tell the time: a Kiss-o'-Death (RFC 5905 §7.4).
fn kiss(reference: [u8; 4]) -> String {
    let name = code(reference);
    match name.as_str() {
        "RATE" => "the server asks for fewer questions (RATE): a longer `interval` is needed".into(),
        "DENY" => "the server refuses this host (DENY)".into(),
        "RSTR" => "the server refuses this host by its configuration (RSTR)".into(),
        "INIT" => "the server has not synchronised for the first time yet (INIT)".into(),
        "STEP" => "the server has just set its clock, and is not synchronised yet (STEP)".into(),
        // chrony without a source: stratum 0 stands for 16 in a packet (RFC 5905 §7.3).
        "" => UNSYNCHRONISED.into(),
        _ => format!("the server does not tell the time (stratum 0, {name})"),
    }
}

/// `stratum 2, offset +3.2 ms, delay 0.4 ms, ref 192.0.2.1`.
fn seen(packet: &ServerPacket, measured: ClockDifference) -> String {
    let ClockDifference { offset, delay } = measured;
    let sign = if offset < 0 { '-' } else { '+' };
    let [offset, delay] = [offset, delay].map(|n| milliseconds(Duration::from_nanos(n.unsigned_abs())));
    let source = source(packet).map(|source| format!(", ref {source}")).unwrap_or_default();
    format!("stratum {}, offset {sign}{offset}, delay {delay}{source}", packet.stratum)
}

/// `0.4 ms`, and from ten seconds on `12.3 s`.
fn milliseconds(duration: Duration) -> String {
    /// From here on, fractions of milliseconds say nothing.
    const LONG: Duration = Duration::from_secs(10);
    match duration < LONG {
        true => format!("{:.1} ms", duration.as_secs_f64() * 1000.0),
        false => format!("{:.1} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::target::Target;

    const PACKET: ServerPacket = ServerPacket {
        is_alarmed: false,
        stratum: 2,
        root_delay: Duration::from_millis(30),
        root_dispersion: Duration::from_millis(10),
        reference: [192, 0, 2, 1],
        receive: Timestamp(1),
        transmit: Timestamp(2),
    };

    fn ntp() -> NtpCheck {
        let server = Target { host: "192.0.2.2".into(), port: 123 };
        NtpCheck { server, stratum: 15, offset: None, root_distance: None }
    }

    const MEASURED: ClockDifference = ClockDifference { offset: 3_200_000, delay: 400_000 };

    #[test]
    fn a_good_answer_is_told_in_numbers() {
        let told = |packet: ServerPacket, measured| verdict(&ntp(), &packet, measured).unwrap();
        assert_eq!(told(PACKET, MEASURED), "stratum 2, offset +3.2 ms, delay 0.4 ms, ref 192.0.2.1");
        let gps = ServerPacket { stratum: 1, reference: *b"GPS\0", ..PACKET };
        let behind = ClockDifference { offset: -12_345_678_901, delay: 0 };
        assert_eq!(told(gps, behind), "stratum 1, offset -12.3 s, delay 0.0 ms, ref GPS");
    }

    #[test]
    fn a_server_that_does_not_know_the_time_fails() {
        let why = |packet: ServerPacket| verdict(&ntp(), &packet, MEASURED).unwrap_err();
        assert_eq!(why(ServerPacket { is_alarmed: true, ..PACKET }), "the server is not synchronised");
        assert_eq!(why(ServerPacket { stratum: 16, ..PACKET }), "the server is not synchronised");
        assert_eq!(why(ServerPacket { stratum: 255, ..PACKET }), "the server is not synchronised");
        assert_eq!(
            why(ServerPacket { transmit: Timestamp::ZERO, ..PACKET }),
            "the server says no time: its transmit timestamp is zero"
        );
    }

    #[test]
    fn a_kiss_of_death_is_told_in_words() {
        let why = |reference: &[u8; 4]| {
            let kiss = ServerPacket { stratum: 0, is_alarmed: true, reference: *reference, ..PACKET };
            verdict(&ntp(), &kiss, MEASURED).unwrap_err()
        };
        assert_eq!(why(b"RATE"), "the server asks for fewer questions (RATE): a longer `interval` is needed");
        assert_eq!(why(b"DENY"), "the server refuses this host (DENY)");
        assert_eq!(why(b"RSTR"), "the server refuses this host by its configuration (RSTR)");
        assert_eq!(why(b"INIT"), "the server has not synchronised for the first time yet (INIT)");
        assert_eq!(why(b"STEP"), "the server has just set its clock, and is not synchronised yet (STEP)");
        assert_eq!(why(b"XFOO"), "the server does not tell the time (stratum 0, XFOO)");
        assert_eq!(why(&[0; 4]), UNSYNCHRONISED);
    }

    #[test]
    fn limits_hold_to_the_last_nanosecond() {
        let seen = "stratum 2, offset +3.2 ms, delay 0.4 ms, ref 192.0.2.1";
        let limited = |check: NtpCheck| verdict(&check, &PACKET, MEASURED);
        assert_eq!(limited(NtpCheck { stratum: 2, ..ntp() }), Ok(seen.into()));
        assert_eq!(
            limited(NtpCheck { stratum: 1, ..ntp() }),
            Err(format!("{seen}; wanted stratum 1 or less"))
        );
        let offset = |nanoseconds| NtpCheck { offset: Some(Duration::from_nanos(nanoseconds)), ..ntp() };
        assert_eq!(limited(offset(3_200_000)), Ok(seen.into()));
        assert_eq!(
            limited(NtpCheck { offset: Some(Duration::from_millis(3)), ..ntp() }),
            Err(format!("{seen}; wanted an offset of 3 ms or less"))
        );
        let distance =
            |milliseconds| NtpCheck { root_distance: Some(Duration::from_millis(milliseconds)), ..ntp() };
        assert_eq!(limited(distance(25)), Ok(seen.into()));
        assert_eq!(
            limited(distance(24)),
            Err(format!("{seen}; its time may be off by 25.0 ms, wanted 24 ms or less"))
        );
        let behind = ClockDifference { offset: -3_200_001, ..MEASURED };
        assert!(verdict(&offset(3_200_000), &PACKET, behind).is_err());
    }
}
