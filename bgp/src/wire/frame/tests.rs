use bytes::BytesMut;

use super::*;
use crate::wire::tests::{frame, octets};

fn buffer(octets: &[u8]) -> BytesMut {
    octets.into()
}

#[test]
fn nothing_comes_out_before_the_message_is_whole() {
    let open = frame(message_type::OPEN, &octets("04 fde9 0009 0a000102 00"));
    for length in 0..open.len() {
        let mut buffer = buffer(&open[..length]);
        assert_eq!(next_frame(&mut buffer), Ok(None), "{length}");
        assert_eq!(buffer, open[..length]);
    }
    let mut buffer = buffer(&open);
    assert_eq!(next_frame(&mut buffer), Ok(Some(open.into())));
    assert!(buffer.is_empty());
}

#[test]
fn messages_come_out_one_by_one() {
    let keepalive = frame(message_type::KEEPALIVE, &[]);
    let update = frame(message_type::UPDATE, &[0; 4]);
    let mut buffer = buffer(&[&keepalive[..], &update, &keepalive[..5]].concat());
    assert_eq!(next_frame(&mut buffer), Ok(Some(keepalive.clone().into())));
    assert_eq!(next_frame(&mut buffer), Ok(Some(update.into())));
    assert_eq!(next_frame(&mut buffer), Ok(None));
    assert_eq!(buffer, keepalive[..5]);
}

#[test]
fn a_bad_header_is_refused_before_its_body_arrives() {
    let header = |length: u16, kind| [&[0xFF; 16][..], &length.to_be_bytes(), &[kind]].concat();
    let length = |length| DecodeError::BadMessageLength { length };
    let table = [
        (header(18, message_type::KEEPALIVE), length(18)),
        (header(0, message_type::KEEPALIVE), length(0)),
        (header(4097, message_type::UPDATE), length(4097)),
        (header(65535, message_type::UPDATE), length(65535)),
        (header(28, message_type::OPEN), length(28)),
        (header(22, message_type::UPDATE), length(22)),
        (header(20, message_type::NOTIFICATION), length(20)),
        (header(20, message_type::KEEPALIVE), length(20)),
        (header(22, message_type::ROUTE_REFRESH), length(22)),
        (header(23, 0), DecodeError::BadMessageType(0)),
        (header(23, 6), DecodeError::BadMessageType(6)),
        (vec![0; 19], DecodeError::NotSynchronized),
    ];
    for (header, error) in table {
        let mut buffer = buffer(&header);
        assert_eq!(next_frame(&mut buffer), Err(error));
        assert_eq!(buffer, header);
    }
}

#[test]
fn the_longest_and_the_shortest_of_each_type_pass() {
    let table = [
        (message_type::OPEN, 29, 4096),
        (message_type::UPDATE, 23, 4096),
        (message_type::NOTIFICATION, 21, 4096),
        (message_type::KEEPALIVE, 19, 19),
        (message_type::ROUTE_REFRESH, 23, 4096),
    ];
    for (kind, shortest, longest) in table {
        for length in [shortest, longest] {
            let frame = frame(kind, &vec![0; length - HEADER_LEN]);
            assert_eq!(next_frame(&mut buffer(&frame)), Ok(Some(frame.into())));
        }
    }
}

#[test]
fn no_more_than_one_message_is_made_room_for() {
    let mut buffer = buffer(&frame(message_type::UPDATE, &[0; 4000])[..HEADER_LEN]);
    assert_eq!(next_frame(&mut buffer), Ok(None));
    assert!((4019..=2 * MAX_MESSAGE_LEN).contains(&buffer.capacity()), "{}", buffer.capacity());
}
