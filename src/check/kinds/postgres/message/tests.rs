use proptest::prelude::*;

use super::*;

fn of(kind: u8, content: &[u8]) -> Result<Option<ServerMessage>, String> {
    let mut messages = Arriving::default();
    messages.arrived(&message(kind, content));
    let read = messages.next()?;
    assert_eq!(messages.rest(), b"");
    Ok(read)
}

fn asked(kind: u32, content: &[u8]) -> LoginRequest {
    match of(b'R', &[&kind.to_be_bytes(), content].concat()) {
        Ok(Some(ServerMessage::LoginRequest(asked))) => asked,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_we_say_is_as_the_manual_has_it() {
    assert_eq!(ssl_request(), [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
    assert_eq!(startup(&[("user", "a")]), b"\0\0\0\x10\0\x03\0\0user\0a\0\0");
    assert_eq!(password(b"xy"), b"p\0\0\0\x07xy\0");
    assert_eq!(sasl_initial("M", "abc"), b"p\0\0\0\x0dM\0\0\0\0\x03abc");
    assert_eq!(sasl_response("abc"), b"p\0\0\0\x07abc");
    assert_eq!(query("select 1"), b"Q\0\0\0\x0dselect 1\0");
    assert_eq!(terminate(), b"X\0\0\0\x04");
}

#[test]
fn what_a_server_wants_of_a_login_is_read() {
    assert_eq!(asked(0, b""), LoginRequest::Ok);
    assert_eq!(asked(3, b""), LoginRequest::CleartextPassword);
    assert_eq!(asked(5, &[1, 2, 3, 4]), LoginRequest::Md5Password([1, 2, 3, 4]));
    assert_eq!(
        asked(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
        LoginRequest::Sasl(vec![b"SCRAM-SHA-256-PLUS".to_vec(), b"SCRAM-SHA-256".to_vec()])
    );
    assert_eq!(asked(11, b"r=x"), LoginRequest::SaslContinue(b"r=x".to_vec()));
    assert_eq!(asked(12, b"v=x"), LoginRequest::SaslFinal(b"v=x".to_vec()));
    assert_eq!(asked(7, b""), LoginRequest::Other(7));
}

#[test]
fn an_error_is_read_and_told_on_one_line() {
    let starting = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0Fpostmaster.c\0\0";
    let Ok(Some(ServerMessage::Error(error))) = of(b'E', starting) else { panic!("no error") };
    assert_eq!(error.code, b"57P03");
    assert_eq!(error.in_words(), r#"FATAL 57P03: "the database system is starting up""#);
    // Translated, and translated no more.
    let Ok(Some(ServerMessage::Error(error))) = of(b'E', b"S\xc3\x89CHEC\0VPANIC\0CXX000\0M\x1b[2J\0\0")
    else {
        panic!("no error")
    };
    assert_eq!(error.in_words(), r#"PANIC XX000: "\u{1b}[2J""#);
    assert_eq!(ServerError::default().in_words(), r#"ERROR: """#);
}

#[test]
fn rows_are_read() {
    assert_eq!(of(b'D', b"\0\x01\0\0\0\x01t"), Ok(Some(ServerMessage::Row(vec![Some(b"t".to_vec())]))));
    assert_eq!(
        of(b'D', b"\0\x02\xff\xff\xff\xff\0\0\0\0"),
        Ok(Some(ServerMessage::Row(vec![None, Some(vec![])])))
    );
    assert_eq!(of(b'Z', b"I"), Ok(Some(ServerMessage::Ready)));
    assert_eq!(of(b'S', b"server_version\x0015.18\0"), Ok(Some(ServerMessage::Other)));
}

#[test]
fn what_is_no_message_is_quoted() {
    let mut messages = Arriving::default();
    messages.arrived(b"HTTP/1.1 400 Bad Request\r\n");
    assert_eq!(
        messages.next(),
        Err(r#"the answer is not of PostgreSQL: "HTTP/1.1 400 Bad Request\r\n""#.into())
    );
    for (kind, content) in [
        (b'R', &b"\0\0"[..]),
        (b'R', b"\0\0\0\x05abc"),
        (b'E', b"SFATAL"),
        (b'E', b"SFATAL\0"),
        (b'E', b""),
        (b'D', b"\0"),
        (b'D', b"\0\x01\0\0\0\x05t"),
        (b'D', b"\0\x01\0\0\0\x01tt"),
        (b'?', b""),
    ] {
        let cause = of(kind, content).unwrap_err();
        assert!(cause.starts_with("the answer is not of PostgreSQL: \""), "{cause}");
    }
    for length in [0_u32, 3, 16 * 1024, u32::MAX] {
        let mut messages = Arriving::default();
        messages.arrived(&[&b"R"[..], &length.to_be_bytes()].concat());
        assert!(messages.next().is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_keep_more_than_arrived(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let mut messages = Arriving::default();
        let mut arrived = 0;
        for piece in pieces {
            messages.arrived(&piece);
            arrived += piece.len();
            while let Ok(Some(_)) = messages.next() {}
            prop_assert!(messages.rest().len() <= arrived);
        }
    }

    #[test]
    fn no_content_makes_it_panic(kind in prop::sample::select(b"REDZNSKvTCIA".to_vec()), content in prop::collection::vec(prop_oneof![Just(0), Just(1), Just(255), any::<u8>()], 0..64)) {
        if let Ok(Some(ServerMessage::Error(error))) = of_any(kind, &content) {
            prop_assert!(!error.in_words().chars().any(char::is_control));
        }
    }

    #[test]
    fn messages_are_the_same_in_whatever_pieces_they_arrive(cuts in prop::collection::vec(1_usize..9, 0..40)) {
        let whole = [
            message(b'R', &[0; 4]),
            message(b'S', b"a\0b\0"),
            message(b'D', b"\0\x01\0\0\0\x01f"),
            message(b'E', b"SERROR\0C42501\0Mno\0\0"),
            message(b'Z', b"I"),
        ].concat();
        let mut messages = Arriving::default();
        let mut rest = &whole[..];
        let mut read = Vec::new();
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            rest = behind;
            messages.arrived(piece);
            while let Some(message) = messages.next().unwrap() {
                read.push(message);
            }
        }
        prop_assert_eq!(read.len(), 5);
        prop_assert_eq!(&read[2], &ServerMessage::Row(vec![Some(b"f".to_vec())]));
        prop_assert_eq!(&read[4], &ServerMessage::Ready);
    }
}

fn of_any(kind: u8, content: &[u8]) -> Result<Option<ServerMessage>, String> {
    let mut messages = Arriving::default();
    messages.arrived(&message(kind, content));
    messages.next()
}
