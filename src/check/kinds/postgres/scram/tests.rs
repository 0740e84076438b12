use proptest::prelude::*;

use super::*;

/// The exchange of RFC 7677 §3, whose client says its name, unlike ours.
const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const FIRST: &[u8] =
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

fn password() -> Password {
    Password::new(b"pencil").unwrap()
}

#[test]
fn the_password_of_rfc_7677_is_salted() {
    let challenge = Challenge::read(FIRST, NONCE).unwrap();
    let expected = [
        0xc4, 0xa4, 0x95, 0x10, 0x32, 0x3a, 0xb4, 0xf9, 0x52, 0xca, 0xc1, 0xfa, 0x99, 0x44, 0x19, 0x39, 0xe7,
        0x8e, 0xa7, 0x4d, 0x6b, 0xe8, 0x1d, 0xdf, 0x70, 0x96, 0xe8, 0x75, 0x13, 0xdc, 0x61, 0x5d,
    ];
    assert_eq!(challenge.salted(&password()).key, expected);
}

#[test]
fn the_exchange_ends_with_a_signature_that_only_a_server_with_the_password_can_make() {
    assert_eq!(first(NONCE), "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
    let challenge = Challenge::read(FIRST, NONCE).unwrap();
    let (answer, signature) = challenge.answer(&challenge.salted(&password()), NONCE);
    assert_eq!(answer, ANSWER);
    assert!(signature.is(SIGNATURE.as_bytes()));
    assert!(!signature.is(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    assert!(!signature.is(b"e=other-error"));
    assert!(!signature.is(b"\xff"));
}

/// Made with Python's `hmac` and `hashlib`.
const ANSWER: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k=";
const SIGNATURE: &str = "v=3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg=";

#[test]
fn what_a_server_must_not_say_is_refused() {
    let refused = |said: &str| Challenge::read(said.as_bytes(), "abc").unwrap_err();
    let garbled = "the server's part of SCRAM-SHA-256 is garbled";
    for said in [
        "",
        "r=abcd",
        "s=QQ==,r=abcd,i=1",
        "r=abcd,s=QQ==,i=0",
        "r=abcd,s=QQ==,i=x",
        "r=abcd,s=Q,i=1",
        "m=x,r=abcd,s=QQ==,i=1",
    ] {
        assert_eq!(refused(said), garbled, "{said}");
    }
    for said in ["r=abc,s=QQ==,i=4096", "r=xbcd,s=QQ==,i=4096"] {
        assert_eq!(refused(said), "the server answers another SCRAM-SHA-256 exchange");
    }
    assert_eq!(
        refused("r=abcd,s=QQ==,i=200001"),
        "the server asks for 200001 rounds of SCRAM-SHA-256, and vipcast does 200000 at most"
    );
}

#[test]
fn a_salted_password_is_kept_for_its_salt() {
    let remembered = LastSalted::default();
    let challenge = Challenge::read(b"r=abcd,s=QQ==,i=2", "abc").unwrap();
    assert!(remembered.get(&challenge, &password()).is_none());
    remembered.keep(challenge.salted(&password()));
    assert!(remembered.get(&challenge, &password()).is_some());
    assert!(remembered.get(&challenge, &Password::new(b"pen").unwrap()).is_none());
    let another = Challenge::read(b"r=abcd,s=Qg==,i=2", "abc").unwrap();
    assert!(remembered.get(&another, &password()).is_none());
    assert_eq!(format!("{remembered:?}").matches("Salted(…)").count(), 1);
}

#[test]
fn base64_is_that_of_rfc_4648() {
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(encode(bytes.as_bytes()), text);
        assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
    }
    for wrong in ["Z", "Zg", "Zg=", "Z===", "Zm9v!", "Z?=="] {
        assert_eq!(decode(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(said: Vec<u8>, text in "r=abc[a-z=+/,]{0,8},s=[A-Za-z=]{0,9},i=[0-9]{1,12}") {
        for said in [&said[..], text.as_bytes()] {
            let _read_or_not = Challenge::read(said, "abc");
        }
    }

    #[test]
    fn base64_is_decoded_as_it_was_encoded(bytes: Vec<u8>) {
        prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
    }
}
