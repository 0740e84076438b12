//! How a peer is reached: `password` and its kin, `tcp_ao`, `ttl_security`, `multihop`, `interface`.

use std::num::NonZeroU8;

use vipcast_bgp::transport::{AoAlgorithm, Authentication, Reach};

use super::diagnostic::{Report, Span};
use super::host::{KeyOrNot, Need};
use super::model::{KeyPlace, KeyPurpose, KeySource};
use super::read::tree::Node;
use super::read::{Field, Placed, Table, only_one, value};
use super::{keys, secret};

/// The keys of which one says the key of a session.
pub(super) const KEYS: [&str; 4] = ["password", "password_file", "password_credential", "tcp_ao"];

pub(super) fn session_key(table: &mut Table<'_>, report: &mut Report) -> Field<KeyOrNot> {
    let md5 = |field: Field<KeyPlace>, report: &mut Report| at(field, KeyPurpose::Md5, report);
    let written = table.field("password", report, secret::written);
    let file = table.field("password_file", report, secret::file);
    let credential = table.field("password_credential", report, secret::credential);
    let written = [
        ("password", written.map(|secret| KeyOrNot::Written(Some(Authentication::Md5(secret))))),
        ("password_file", md5(file, report)),
        ("password_credential", md5(credential, report)),
        ("tcp_ao", table.field("tcp_ao", report, ao_key).map(KeyOrNot::At)),
    ];
    only_one(written, "a session has one key", report)
}

/// A key that the host must have.
fn at(field: Field<KeyPlace>, purpose: KeyPurpose, report: &mut Report) -> Field<KeyOrNot> {
    let span = field.set().map(|field| field.span);
    let field = field.map(|place| KeySource { place, purpose });
    if let (Some(source), Some(span)) = (field.set(), span) {
        report.needs(span, Need::Key(source.value.clone()));
    }
    field.map(KeyOrNot::At)
}

pub(super) fn reach(table: &mut Table<'_>, report: &mut Report) -> Field<Reach> {
    let written = [
        ("ttl_security", table.field("ttl_security", report, hops).map(Reach::TtlSecurity)),
        ("multihop", table.field("multihop", report, hops).map(Reach::Multihop)),
    ];
    let why = "`ttl_security: N` itself allows N hops, and `multihop` accepts packets from anywhere";
    only_one(written, why, report)
}

fn hops(node: &Node, key: Span, report: &mut Report) -> Option<NonZeroU8> {
    let hops = value::integer(node, key, 1..=255, "a number of hops, 1 (the same link) to 255", report)?;
    u8::try_from(hops).ok().and_then(NonZeroU8::new)
}

/// `algorithm`.
pub(super) const ALGORITHMS: [(&str, AoAlgorithm); 2] =
    [("hmac-sha-1-96", AoAlgorithm::HmacSha1), ("aes-128-cmac-96", AoAlgorithm::AesCmac128)];

/// `tcp_ao: {key_file: …, send_id: 1, receive_id: 1}`.
fn ao_key(node: &Node, key: Span, report: &mut Report) -> Option<KeySource> {
    const ID: &str = "the id of a key";
    let mut table = Table::open(node, &keys::TCP_AO, "`tcp_ao`", key, report)?;
    let keys = [
        ("key_file", table.field("key_file", report, secret::file)),
        ("key_credential", table.field("key_credential", report, secret::credential)),
    ];
    let place = only_one(keys, "a session has one key", report);
    if !place.is_given() {
        report
            .error(key, "`key_file` of `tcp_ao` is missing")
            .hint("the file with the key, or `key_credential` with the name of a systemd credential");
    }
    let send_id =
        table.required_number("send_id", "the id of our key, the peer's receive id: 0 to 255", ID, report);
    let receive_id =
        table.required_number("receive_id", "the id of the peer's key, its send id: 0 to 255", ID, report);
    let algorithm = table
        .field("algorithm", report, |node, key, report| value::choice(node, key, &ALGORITHMS, report))
        .or(AoAlgorithm::HmacSha1);
    table.finish(report);
    let Placed { value: place, span } = place.set()?.clone();
    let purpose =
        KeyPurpose::Ao { send_id: send_id?.value, receive_id: receive_id?.value, algorithm: algorithm? };
    let source = KeySource { place, purpose };
    report.needs(span, Need::Key(source.clone()));
    Some(source)
}
