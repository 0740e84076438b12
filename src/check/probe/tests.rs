//! Shared by the tests of all kinds, and tests of the shared parts.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use vipcast_bgp::net::clock;
use vipcast_node::model::Question;

use super::*;
use crate::check::kind::{Definition, behind, question};
use crate::check::kinds::exec::ExecCheck;
use crate::check::kinds::http::HttpCheck;
use crate::check::kinds::tcp::TcpCheck;
use crate::check::target::Target;
use crate::check::tls::TlsOptions;

/// Long enough for a loaded machine, where the time-out is not what is tested.
pub(in crate::check) const PATIENT: Duration = Duration::from_secs(20);
/// Where it is.
pub(in crate::check) const SHORT: Duration = Duration::from_millis(200);

/// The definition that a question was made from.
pub(crate) fn definition_of<T: Clone + 'static>(question: &Question) -> T {
    let any: &dyn std::any::Any = &**behind(question);
    any.downcast_ref::<T>().expect("it is of this kind").clone()
}

/// The question of a definition.
pub(crate) fn asked(definition: impl Definition) -> Question {
    question(Arc::new(definition))
}

pub(in crate::check) fn check(kind: Question, timeout: Duration) -> Check {
    Check {
        interval: Duration::from_millis(50),
        fast_interval: Duration::from_millis(5),
        timeout,
        rise: NonZeroU32::MIN,
        fall: NonZeroU32::MIN,
        ..Check::new(kind)
    }
}

pub(in crate::check) fn target(address: SocketAddr) -> Target {
    Target { host: address.ip().to_string(), port: address.port() }
}

pub(in crate::check) fn tcp(address: SocketAddr) -> Question {
    asked(TcpCheck::connecting(target(address)))
}

pub(in crate::check) fn http(address: SocketAddr, host: &str, tls: Option<TlsOptions>) -> Question {
    asked(HttpCheck::get(target(address), host.into(), "/healthz?full=1".into(), tls))
}

pub(in crate::check) fn sh(script: &str) -> Question {
    asked(ExecCheck { command: ["/bin/sh", "-c", script].map(String::from).into(), ..ExecCheck::default() })
}

/// For several probes, one after the other.
pub(in crate::check) fn prober(kind: Question, timeout: Duration) -> Prober {
    Prober::new("web".into(), Arc::new(check(kind, timeout)), Shared::new().0)
}

/// One probe by itself.
pub(in crate::check) async fn outcome(kind: Question, timeout: Duration) -> Outcome {
    prober(kind, timeout).probe().await
}

/// Asserts that a probe passes, and returns what it saw.
pub(in crate::check) async fn pass(kind: Question) -> String {
    let outcome = outcome(kind, PATIENT).await;
    assert!(outcome.passed, "{}", outcome.detail);
    outcome.detail
}

/// Asserts that a probe that comes from `source` passes, and returns what it saw.
pub(in crate::check) async fn pass_from(source: IpAddr, kind: Question) -> String {
    let mut check = check(kind, PATIENT);
    check.via.source = Some(source);
    let outcome = Prober::new("web".into(), Arc::new(check), Shared::new().0).probe().await;
    assert!(outcome.passed, "{}", outcome.detail);
    outcome.detail
}

/// Asserts that a probe fails long before its time-out, and returns why.
pub(in crate::check) async fn fail(kind: Question) -> String {
    let outcome = outcome(kind, PATIENT).await;
    assert!(!outcome.passed, "{}", outcome.detail);
    assert!(outcome.took < PATIENT / 2, "{outcome:?}");
    outcome.detail
}

/// Asserts that a probe fails at its time-out, and returns why.
pub(in crate::check) async fn time_out(kind: Question) -> String {
    let outcome = outcome(kind, SHORT).await;
    assert!(!outcome.passed, "{}", outcome.detail);
    assert!(outcome.took >= SHORT && outcome.took < PATIENT / 2, "{outcome:?}");
    outcome.detail
}

/// A server that treats every connection with `serve`, each on its own thread, for as long as the tests run.
pub(in crate::check) fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

/// A port that nobody listens on.
pub(in crate::check) fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Reads the head of a request.
pub(in crate::check) fn request(stream: &mut impl std::io::Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Answers one request.
pub(in crate::check) fn answer(mut stream: TcpStream, answer: &str) {
    request(&mut stream);
    stream.write_all(answer.as_bytes()).unwrap();
    wait_for_close(stream);
}

/// Keeps the connection until the client closes it.
pub(in crate::check) fn wait_for_close(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
}

/// Waits until `condition` returns `Ok`, and shows its last `Err` when it does not.
pub(in crate::check) fn eventually<T>(mut condition: impl FnMut() -> Result<T, String>) -> T {
    let begin = clock::now();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(status) => assert!(clock::now() - begin < PATIENT, "still not: {status}"),
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[tokio::test]
async fn i4_a_panic_is_a_failed_probe_with_the_words_of_the_panic() {
    let result: Result<(), String> = caught(Box::pin(async {
        tokio::task::yield_now().await;
        panic!("no {}", "luck")
    }))
    .await;
    assert_eq!(result.unwrap_err(), "no luck");
}

#[tokio::test]
async fn what_a_program_writes_is_cleaned_before_it_is_shown() {
    let detail = pass(sh(r"printf '\n  \033[31mred\a\nsecond'")).await;
    assert_eq!(detail, "exit code 0: [31mred");
}

/// Anonymous memory of this process, in bytes.
fn anonymous() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    1024 * line.trim_end_matches("kB").trim().parse::<usize>().unwrap()
}

/// What each of so many probes holds while it waits for an answer.
fn held(kind: &Question, count: usize) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut probers: Vec<_> = (0..count).map(|_| prober(kind.clone(), PATIENT)).collect();
    runtime.block_on(async {
        let before = anonymous();
        let probes = futures_util::future::join_all(probers.iter_mut().map(Prober::probe));
        let mut probes = std::pin::pin!(probes);
        // Every one has begun after the first poll; the rest of the time is for those with a handshake to prepare.
        let waiting = tokio::time::timeout(Duration::from_secs(2), &mut probes).await;
        assert!(waiting.is_err(), "somebody has answered: {:?}", waiting.map(|outcomes| outcomes[0].clone()));
        (anonymous() - before) / count
    })
}

#[test]
fn a_probe_that_waits_for_an_answer_holds_little() {
    // Other tests take memory meanwhile, so this one runs in a process of its own.
    const ALONE: &str = "VIPCAST_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "check::probe::tests::a_probe_that_waits_for_an_answer_holds_little";
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    // It takes connections, and nobody reads.
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    silent.listen(4096).unwrap();
    let address = silent.local_addr().unwrap().as_socket().unwrap();
    let plain = held(&http(address, "web", None), 1000);
    assert!(plain <= 4 * 1024, "{plain} bytes");
}
