//! A stream in pieces: the same messages for every cut, from a buffer that does not grow.

use bytes::BytesMut;
use vipcast_bgp::wire::{DecodeError, HEADER_LEN, MAX_MESSAGE_LEN, next_frame};

/// Octets that say how long the pieces are, in turn.
const CUTS: usize = 4;

/// The lengths of pieces, less one, and the stream.
pub fn frame(data: &[u8]) {
    let Some((cuts, stream)) = data.split_at_checked(CUTS) else { return };
    let (frames, end) = read(stream, &[usize::MAX]);
    let lengths: Vec<usize> = cuts.iter().map(|&octet| usize::from(octet) + 1).collect();
    assert_eq!(read(stream, &lengths), (frames.clone(), end.clone()), "cut into {lengths:?}");

    let taken = frames.concat();
    match end {
        Ok(rest) => assert_eq!([taken, rest].concat(), stream),
        Err(_) => assert!(stream.starts_with(&taken) && stream.len() >= taken.len() + HEADER_LEN),
    }
    for frame in frames {
        assert!((HEADER_LEN..=MAX_MESSAGE_LEN).contains(&frame.len()));
        assert_eq!(usize::from(u16::from_be_bytes([frame[16], frame[17]])), frame.len());
    }
}

pub(crate) fn from_message(message: &[u8]) -> Vec<Vec<u8>> {
    vec![[&[0, 18, 3, 255], message, message].concat()]
}

/// The messages of `stream`, and its rest or its error.
fn read(mut stream: &[u8], lengths: &[usize]) -> (Vec<Vec<u8>>, Result<Vec<u8>, DecodeError>) {
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for &length in lengths.iter().cycle() {
        let (piece, rest) = stream.split_at(length.min(stream.len()));
        stream = rest;
        buffer.extend_from_slice(piece);
        loop {
            match next_frame(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => {
                    let left = buffer.clone();
                    assert_eq!(next_frame(&mut buffer), Err(error.clone()));
                    assert_eq!(buffer, left, "what cannot be read stays");
                    return (frames, Err(error));
                }
            }
        }
        assert!(buffer.len() < MAX_MESSAGE_LEN, "a whole message is in the buffer");
        assert!(buffer.capacity() <= 2 * (MAX_MESSAGE_LEN + piece.len()), "{} octets", buffer.capacity());
        if stream.is_empty() {
            break;
        }
    }
    (frames, Ok(buffer.to_vec()))
}
