use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;

use proptest::prelude::*;
use vipcast_bgp::net::words::io_error;

use super::wire::{Arguments, WireError, call};
use super::*;

/// Longer than a busy machine takes.
const PATIENT: Duration = Duration::from_secs(20);

const GET: MethodCall<'_> =
    MethodCall { destination: Some("a.b"), path: "/c", interface: "d.e", member: "Get" };

/// `Get("x", "yz")` with the serial number 7, laid out by hand.
#[rustfmt::skip]
const CALLED: &[u8] = &[
    b'l', 1, 0, 1,  15, 0, 0, 0,  7, 0, 0, 0,  72, 0, 0, 0,
    1, 1, b'o', 0,  2, 0, 0, 0,  b'/', b'c', 0,  0, 0, 0, 0, 0,
    2, 1, b's', 0,  3, 0, 0, 0,  b'd', b'.', b'e', 0,  0, 0, 0, 0,
    3, 1, b's', 0,  3, 0, 0, 0,  b'G', b'e', b't', 0,  0, 0, 0, 0,
    6, 1, b's', 0,  3, 0, 0, 0,  b'a', b'.', b'b', 0,  0, 0, 0, 0,
    8, 1, b'g', 0,  2, b's', b's', 0,
    1, 0, 0, 0,  b'x', 0,  0, 0,  2, 0, 0, 0,  b'y', b'z', 0,
];

/// The answer to call 7: a variant with the text `active`.
#[rustfmt::skip]
const RETURNED: &[u8] = &[
    b'l', 2, 1, 1,  15, 0, 0, 0,  9, 0, 0, 0,  15, 0, 0, 0,
    5, 1, b'u', 0,  7, 0, 0, 0,
    8, 1, b'g', 0,  1, b'v', 0,  0,
    1, b's', 0, 0,  6, 0, 0, 0,  b'a', b'c', b't', b'i', b'v', b'e', 0,
];

/// `Reloading(true)` of `/s`, from `i`.
#[rustfmt::skip]
pub(crate) const TOLD: &[u8] = &[
    b'l', 4, 1, 1,  4, 0, 0, 0,  1, 0, 0, 0,  63, 0, 0, 0,
    1, 1, b'o', 0,  2, 0, 0, 0,  b'/', b's', 0,  0, 0, 0, 0, 0,
    2, 1, b's', 0,  1, 0, 0, 0,  b'i', 0,  0, 0, 0, 0, 0, 0,
    3, 1, b's', 0,  9, 0, 0, 0,  b'R', b'e', b'l', b'o', b'a', b'd', b'i', b'n', b'g', 0,
    0, 0, 0, 0, 0, 0,  8, 1, b'g', 0,  1, b'b', 0,  0,
    1, 0, 0, 0,
];

fn returned(bytes: &[u8]) -> (u32, Arguments) {
    match decode(bytes) {
        Ok(Some((BusMessage::Return { serial, body }, length))) if length == bytes.len() => (serial, body),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_is_what_the_specification_says() {
    assert_eq!(call(7, &GET, &["x", "yz"]), CALLED);
    assert_eq!(decode(CALLED), Ok(Some((BusMessage::Other, CALLED.len()))));
    let alone = call(1, &MethodCall { destination: None, ..GET }, &[]);
    assert_eq!(alone.len() % 8, 0);
    assert_eq!(decode(&alone), Ok(Some((BusMessage::Other, alone.len()))));
}

#[test]
fn answers_and_signals_are_read() {
    let (serial, body) = returned(RETURNED);
    assert_eq!((serial, body.text().as_deref(), body.boolean()), (7, Some("active"), None));
    let Ok(Some((BusMessage::Signal { path, interface, member, body }, length))) = decode(TOLD) else {
        panic!("{:?}", decode(TOLD))
    };
    assert_eq!(
        (path.as_str(), interface.as_str(), member.as_str(), length),
        ("/s", "i", "Reloading", TOLD.len())
    );
    assert_eq!((body.boolean(), body.text()), (Some(true), None));
    // A message that is not all there yet is waited for, and what follows one is left.
    for end in 0..RETURNED.len() {
        assert_eq!(decode(&RETURNED[..end]), Ok(None), "{end}");
    }
    assert_eq!(
        decode(&[RETURNED, TOLD].concat()).map(|found| found.map(|(_, length)| length)),
        Ok(Some(RETURNED.len()))
    );
}

/// The answer of logind to `ListInhibitors`: one, laid out by hand.
#[rustfmt::skip]
const INHIBITORS: &[u8] = &[
    b'l', 2, 1, 1,  48, 0, 0, 0,  9, 0, 0, 0,  23, 0, 0, 0,
    5, 1, b'u', 0,  7, 0, 0, 0,
    8, 1, b'g', 0,  9, b'a', b'(', b's', b's', b's', b's', b'u', b'u', b')', 0,  0,
    40, 0, 0, 0,  0, 0, 0, 0,
    1, 0, 0, 0,  b'a', 0, 0, 0,  1, 0, 0, 0,  b'b', 0, 0, 0,  1, 0, 0, 0,  b'c', 0, 0, 0,  1, 0, 0, 0,  b'd', 0, 0, 0,
    5, 0, 0, 0,  6, 0, 0, 0,
];

#[test]
fn inhibitors_are_read() {
    let one = (["a", "b", "c", "d"].map(str::to_owned), [5, 6]);
    assert_eq!(returned(INHIBITORS).1.inhibitors(), Some(vec![one]));
    assert_eq!(returned(RETURNED).1.inhibitors(), None);
    // None at all, and one that is cut off: by the lengths of the body and of the array.
    for (length, wanted) in [(0, Some(Vec::new())), (40, None)] {
        let mut bytes = INHIBITORS[..48].to_vec();
        (bytes[4], bytes[40]) = (8, length);
        assert_eq!(returned(&bytes).1.inhibitors(), wanted);
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let changed = |at: usize, octet: u8| {
        let mut bytes = RETURNED.to_vec();
        bytes[at] = octet;
        decode(&bytes)
    };
    // Another byte order, kind 0, version 2.
    for (at, octet) in [(0, b'B'), (1, 0), (3, 2)] {
        assert_eq!(changed(at, octet), Err(WireError::NotDbus));
    }
    // A body and fields of gigabytes.
    for at in [7, 15] {
        assert_eq!(changed(at, 0x7f), Err(WireError::TooLong));
    }
    // A field with another type, an answer to nothing, a signature without its NUL.
    for (at, octet) in [(18, b'x'), (16, 77), (30, 1)] {
        assert_eq!(changed(at, octet), Err(WireError::Broken), "{at}");
    }
    assert_eq!(decode(b"HTTP/1.1 400 Bad Request\r\n"), Err(WireError::NotDbus));
    // A variant of a type that is not read has no text.
    let mut number = RETURNED.to_vec();
    number[33] = b'u';
    assert_eq!(returned(&number).1.text(), None);
    // But it is a number: the length of the text.
    assert_eq!(returned(&number).1.number(), Some(6));
    assert_eq!(returned(RETURNED).1.number(), None);
}

proptest! {
    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Some((BusMessage::Return { body, .. } | BusMessage::Signal { body, .. }, length))) = decode(&bytes) {
            prop_assert!(length <= bytes.len());
            let _read = (body.text(), body.boolean(), body.number(), body.inhibitors());
        }
    }

    #[test]
    fn no_damage_panics(
        which in 0..4_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = [CALLED, RETURNED, TOLD, INHIBITORS][which].to_vec();
        for (at, octet) in damage {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        if let Ok(Some((BusMessage::Return { body, .. } | BusMessage::Signal { body, .. }, length))) = decode(&bytes) {
            prop_assert!(length <= bytes.len());
            let _read = (body.text(), body.boolean(), body.number(), body.inhibitors());
        }
    }

    #[test]
    fn what_is_written_is_read_to_its_end(serial in 1_u32.., words in proptest::collection::vec(".{0,30}", 0..4)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let bytes = call(serial, &GET, &words);
        prop_assert_eq!(decode(&bytes), Ok(Some((BusMessage::Other, bytes.len()))));
    }
}

/// A socket on which somebody says the same to everybody, whatever he is told.
fn says(name: &str, words: &'static [u8]) -> PathBuf {
    use std::io::{Read as _, Write as _};
    let path = std::env::temp_dir().join(format!("vipcast-dbus-{}-{name}", std::process::id()));
    drop(std::fs::remove_file(&path));
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // One who does not want to hear of it has gone.
            drop(stream.write_all(words));
            thread::spawn(move || while stream.read(&mut [0; 512]).is_ok_and(|length| length > 0) {});
        }
    });
    path
}

#[tokio::test]
async fn whoever_is_no_bus_is_left_in_time() {
    let garbage: &[u8] = &[b'x'; 100_000];
    let table: [(&str, &[u8], &str); 5] = [
        ("refuses", b"REJECTED EXTERNAL\r\n", "permission denied"),
        ("endless", garbage, "what it says is not D-Bus"),
        ("http", b"OK 1234\r\nHTTP/1.1 400 Bad Request\r\n", "what it says is not D-Bus"),
        ("silent", b"", "timed out"),
        ("half", b"OK 1234\r\nl\x02\x01\x01", "timed out"),
    ];
    for (name, words, expected) in table {
        let path = says(name, words);
        for takes_descriptors in [false, true] {
            let stream = UnixStream::connect(&path).await.unwrap();
            let open = async {
                match takes_descriptors {
                    true if name == "http" => None,
                    true => Some(BusConnection::with_descriptors(stream).await),
                    false => Some(BusConnection::over(stream).await),
                }
            };
            let open = tokio::time::timeout(PATIENT, open).await.expect("waited for ever");
            if let Some(open) = open {
                assert_eq!(io_error(&open.unwrap_err()), expected, "{name}");
            }
        }
        std::fs::remove_file(path).unwrap();
    }
}
