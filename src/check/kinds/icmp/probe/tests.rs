use std::net::Ipv4Addr;
use std::sync::OnceLock;

use vipcast_node::model::Via;

use super::*;
use crate::check::file_reader::{FileReader, LastRead};
use crate::check::limit::Limit;
use crate::check::owners::Owner;
use crate::check::probe::Prober;
use crate::check::probe::tests::{PATIENT, SHORT, asked, check as any_check, fail, outcome, pass, pass_from};
use crate::check::resolve::Resolver;
use crate::check::shared::Shared;
use crate::vip::Here;

/// Whether this user may ask at all; says so when not.
fn permitted() -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let opened = EchoSocket::open(Ipv4Addr::LOCALHOST.into(), &Via::default());
    let permitted = !opened.is_err_and(|error| error.to_string() == socket::NEEDED);
    if !permitted {
        eprintln!("SKIPPED: {}", socket::NEEDED);
    }
    permitted
}

fn icmp(host: &str) -> IcmpCheck {
    IcmpCheck { host: host.into(), spacing: Duration::from_millis(2), ..IcmpCheck::default() }
}

/// Of how many asked how many were answered, in half a millisecond each, and why the others were not.
fn tally(answered: u16, count: u16, refusal: Option<&str>) -> Tally {
    let now = Instant::now();
    let took = |n| (n < answered).then_some(Duration::from_micros(500));
    Tally {
        sent: (0..count).map(|n| (now, took(n))).collect(),
        refused: refusal.map_or(0, |_| count - answered),
        refusal: refusal.map(String::from),
    }
}

fn verdict(tally: &Tally, loss: u8) -> Answer {
    let count = u16::try_from(tally.sent.len()).unwrap();
    let check = IcmpCheck { count, loss, ..icmp("192.0.2.1") };
    let (resolver, via) = (Resolver::system(), Via::default());
    let (owner, remark) = (Owner::nobody(&"up".into()), OnceLock::new());
    let limit = Limit::starting_now(SHORT);
    let (file_reader, last_read) = (FileReader::default(), LastRead::default());
    let context = ProbeContext {
        limit,
        resolver: &resolver,
        via: &via,
        owner: &owner,
        here: &Here::default(),
        remark: &remark,
        file_reader: &file_reader,
        last_read: &last_read,
    };
    tally.verdict(&check, &context)
}

#[tokio::test]
async fn as_many_may_be_lost_as_is_said() {
    assert_eq!(verdict(&tally(3, 3, None), 0).unwrap(), "3 of 3 answered, 0.50 ms");
    assert_eq!(verdict(&tally(2, 3, None), 34).unwrap(), "2 of 3 answered, 0.50 ms");
    assert_eq!(
        verdict(&tally(2, 3, None), 33).unwrap_err(),
        "2 of 3 answered, 0.50 ms, at most 33 % may be lost"
    );
    assert_eq!(
        verdict(&tally(1, 3, Some("host unreachable")), 34).unwrap_err(),
        "1 of 3 answered, 0.50 ms, at most 34 % may be lost: host unreachable"
    );
    assert_eq!(verdict(&tally(0, 3, None), 34).unwrap_err(), "no answer within 200 ms");
    assert_eq!(verdict(&tally(0, 3, Some("no route")), 34).unwrap_err(), "no route");
    assert_eq!(verdict(&tally(1, 100, None), 99).unwrap(), "1 of 100 answered, 0.50 ms");
}

#[tokio::test]
async fn it_ends_when_all_is_known_or_too_much_is_lost() {
    let check = IcmpCheck { count: 3, ..icmp("192.0.2.1") };
    assert!(tally(3, 3, None).is_settled(&check));
    assert!(!tally(2, 3, None).is_settled(&check), "the third may still come");
    assert!(tally(2, 3, Some("no route")).is_settled(&check));
    assert!(!tally(2, 2, None).is_settled(&check), "the third is not sent yet");
    let mut refused = tally(0, 1, None);
    refused.refused = 2;
    assert!(refused.is_settled(&check), "two of three are too many already");
}

#[tokio::test]
async fn an_answer_counts_once_and_only_to_what_was_asked() {
    let mut tally = tally(0, 2, None);
    let later = Instant::now() + Duration::from_millis(1);
    tally.answer(1, later);
    let first = tally.sent[1].1;
    tally.answer(1, later + Duration::from_secs(1));
    tally.answer(2, later);
    assert_eq!((tally.answered(), tally.sent[1].1), (1, first));
}

#[test]
fn round_trips_have_as_many_digits_as_matter() {
    assert_eq!(round_trip(Duration::from_micros(54)), "0.05 ms");
    assert_eq!(round_trip(Duration::from_micros(12_345)), "12.3 ms");
}

#[test]
fn this_host_answers_over_both_families() {
    if !permitted() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for host in ["127.0.0.1", "::1", "localhost"] {
            let detail = pass(asked(icmp(host))).await;
            assert!(detail.starts_with("3 of 3 answered, 0.") && detail.ends_with(" ms"), "{detail}");
        }
        let large = IcmpCheck { size: 9000, count: 1, ..icmp("127.0.0.1") };
        assert!(pass(asked(large)).await.starts_with("1 of 1 answered, "));
        // Many at a time, each of which hears, with raw sockets, the answers to all.
        let many = (0..50).map(|_| outcome(asked(icmp("127.0.0.1")), PATIENT));
        for outcome in futures_util::future::join_all(many).await {
            assert!(outcome.passed && outcome.detail.starts_with("3 of 3 answered"), "{outcome:?}");
        }
    });
}

#[test]
fn source_and_interface_hold_for_it() {
    if !permitted() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kind = || asked(icmp("127.0.0.1"));
        pass_from(Ipv4Addr::new(127, 0, 0, 9).into(), kind()).await;
        let via = async |via: Via| {
            let mut check = any_check(kind(), SHORT);
            check.via = via;
            Prober::new("up".into(), check.into(), Shared::new().0).probe().await.detail
        };
        let elsewhere = via(Via { source: Some("192.0.2.77".parse().unwrap()), interface: None }).await;
        assert_eq!(elsewhere, "192.0.2.77, where it is to come from, is not on this host");
        let lo = via(Via { source: None, interface: Some("lo".into()) }).await;
        assert!(lo.starts_with("3 of 3 answered"), "{lo}");
        let missing = via(Via { source: None, interface: Some("nowhere0".into()) }).await;
        assert_eq!(missing, "there is no interface nowhere0");
    });
}

#[test]
fn what_cannot_be_sent_says_so_at_once() {
    if !permitted() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Without SO_BROADCAST nobody may.
        assert_eq!(fail(asked(icmp("255.255.255.255"))).await, "permission denied");
    });
}
