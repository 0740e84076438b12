use proptest::prelude::*;

use super::*;
use crate::check::kinds::mysql::probe::message;
use crate::check::kinds::mysql::probe::tests::{error, greeting};

const NATIVE: &[u8] = b"mysql_native_password";
const SHA2: &[u8] = b"caching_sha2_password";
/// The scramble of the test's greetings.
const SCRAMBLE: [u8; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn proofs_are_those_of_the_documentation() {
    // By Python's hashlib, from the formulas of the manuals.
    assert_eq!(hex(&native(b"hush", &SCRAMBLE)), "fdbfe19e86bedabf2f2d0f0cc13bc0dfa0e8872a");
    assert_eq!(
        hex(&caching_sha2(b"hush", &SCRAMBLE)),
        "2b4f7de5253ac973bc2af558cdfb3b50b5b688932d6515bf8d08223d7fff3d1b"
    );
}

fn begin(plugin: &[u8], password: Option<&'static [u8]>, is_secret: bool) -> (LoggingIn<'static>, Vec<u8>) {
    let greeting = Greeting::read(&greeting("8.0.36", plugin)).expect("a greeting");
    Login { user: "probe", password, is_secret }.begin(&greeting, false)
}

fn switch_to(plugin: &[u8]) -> Vec<u8> {
    [&[SWITCH_OR_END], plugin, &[0], &SCRAMBLE, &[0]].concat()
}

#[test]
fn a_login_proves_the_password_as_the_server_would_like() {
    let (mut login, first) = begin(NATIVE, Some(b"hush"), false);
    assert_eq!(first, message::login("probe", &native(b"hush", &SCRAMBLE), NATIVE, false));
    assert_eq!(login.next(&[OK, 0, 0, 2, 0, 0, 0]), LoginStep::In);
    let (_, first) = begin(SHA2, Some(b"hush"), false);
    assert_eq!(first, message::login("probe", &caching_sha2(b"hush", &SCRAMBLE), SHA2, false));
    let (_, first) = begin(b"dialog", None, false);
    assert_eq!(first, message::login("probe", b"", NATIVE, false));
    let (mut login, _) = begin(NATIVE, Some(b"hush"), false);
    assert_eq!(login.next(&switch_to(SHA2)), LoginStep::Send(caching_sha2(b"hush", &SCRAMBLE)));
    assert_eq!(login.next(&[MORE, REMEMBERED]), LoginStep::Wait);
    assert_eq!(login.next(&[OK]), LoginStep::In);
    let (mut login, _) = begin(SHA2, None, false);
    assert_eq!(login.next(&switch_to(NATIVE)), LoginStep::Send(vec![]));
    assert_eq!(login.next(&switch_to(SHA2)), LoginStep::Send(vec![0]));
}

#[test]
fn the_password_itself_is_sent_where_nobody_can_read_it_alone() {
    let in_full = [MORE, IN_FULL];
    let (mut login, _) = begin(SHA2, Some(b"hush"), true);
    assert_eq!(login.next(&in_full), LoginStep::Send(b"hush\0".to_vec()));
    let (mut login, _) = begin(SHA2, Some(b"hush"), false);
    let why = "the server wants the password itself (caching_sha2_password), which is sent over TLS or a socket only";
    assert_eq!(login.next(&in_full), LoginStep::GiveUp(vec![0], why.into()));
    // Whatever else the server calls itself.
    let (mut login, _) = begin(NATIVE, Some(b"hush"), true);
    assert_eq!(login.next(&in_full), LoginStep::Strange);
}

#[test]
fn what_is_not_supported_is_named_and_ended_as_the_server_expects() {
    let (mut login, _) = begin(NATIVE, Some(b"hush"), true);
    let why = |name| format!("the account logs in with {name}, which is not supported");
    let ed25519 = login.next(&switch_to(b"client_ed25519"));
    assert_eq!(ed25519, LoginStep::GiveUp(vec![0; 64], why("\"client_ed25519\"")));
    assert_eq!(login.next(&switch_to(b"\x1b[0m")), LoginStep::GiveUp(vec![], why(r#""\u{1b}[0m""#)));
    let old = "the account has a password of before MySQL 4.1, which is not supported";
    assert_eq!(login.next(&[SWITCH_OR_END]), LoginStep::GiveUp(vec![], old.into()));
    let refused = error(1045, "#28000Access denied");
    assert_eq!(login.next(&refused), LoginStep::Refused(ServerError::read(&refused).expect("an error")));
    for strange in [&[][..], b"\x42", b"\xfemysql", &[MORE], &[MORE, 9]] {
        assert_eq!(login.next(strange), LoginStep::Strange, "{strange:?}");
    }
}

proptest! {
    #[test]
    fn whatever_a_server_says_the_password_stays_here(
        messages in prop::collection::vec((prop::sample::select(vec![0_u8, 1, 3, 0xfe, 0xff]), any::<Vec<u8>>()), 0..8),
        to_sha2: bool,
    ) {
        let (mut login, first) = begin(if to_sha2 { SHA2 } else { NATIVE }, Some(b"a-long-password"), false);
        let hidden = |sent: &[u8]| !sent.windows(15).any(|window| window == b"a-long-password");
        prop_assert!(hidden(&first));
        for (kind, rest) in messages {
            match login.next(&[&[kind], &rest[..]].concat()) {
                LoginStep::Send(sent) | LoginStep::GiveUp(sent, _) => prop_assert!(hidden(&sent)),
                LoginStep::Wait | LoginStep::In | LoginStep::Refused(_) | LoginStep::Strange => {}
            }
        }
    }
}
