use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream as Blocking;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use vipcast_node::commands::Command as Wish;

use super::super::upkeep::LOOK;
use super::*;
use crate::control::api::{Done, Probes, Status, Vip};

const LONG: Duration = Duration::from_secs(60);

/// A server whose daemon is the test.
struct Rig {
    control: Control,
    server: Server,
    requests: mpsc::Receiver<Request>,
}

impl Rig {
    async fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("vipcast-server-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir(&directory).unwrap();
        let control = Control { socket: directory.join("control.sock"), group: None };
        let (server, requests) = Server::start(&control).await;
        Self { control, server, requests }
    }

    fn path(&self) -> PathBuf {
        self.control.socket.clone()
    }

    /// Answers every request from now on: with this many VIPs, or that it was done.
    fn answer(mut self, vips: usize) -> (PathBuf, Server) {
        tokio::spawn(async move {
            while let Some(Request { command, answer, caller: _ }) = self.requests.recv().await {
                answer.send(match command {
                    Command::Status => Answer::status(status(vips)),
                    Command::Explain(_) | Command::Do { .. } => {
                        Answer::ok(&Done { message: "done".to_owned(), warning: None })
                    }
                });
            }
        });
        (self.control.socket, self.server)
    }
}

fn status(vips: usize) -> Status {
    let vip = |n: usize| Vip {
        vip: vipcast_node::vip::Vip::from(std::net::IpAddr::from(Ipv4Addr::from(
            0xc612_0000 + u32::try_from(n).unwrap(),
        ))),
        service: format!("service-{n}"),
        verdict: "announced".to_owned(),
        since_ms: 0,
        reason: None,
        why: None,
        bound: true,
        state: "announced".to_owned(),
        not_at: BTreeMap::new(),
        sent_to: 0,
        heard: Vec::new(),
    };
    Status {
        version: "1.2.3".to_owned(),
        router_id: Some(Ipv4Addr::new(10, 0, 0, 2)),
        warnings: Vec::new(),
        uptime_ms: 1,
        config: "/etc/vipcast/vipcast.yaml".to_owned(),
        shutdown: None,
        restarting: false,
        peers: BTreeMap::new(),
        checks: BTreeMap::new(),
        probes: Probes { started: 0, late_p50_us: 0, late_p99_us: 0 },
        vips: (0..vips).map(vip).collect(),
        drained: None,
        waiting_drains: BTreeMap::new(),
        unsaved: None,
    }
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: vipcast\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

const GET_STATUS: &str = "GET /v1/status HTTP/1.1\r\nhost: vipcast\r\n\r\n";

/// The whole answer to `request`, from a connection that the server closes.
async fn asked(path: &PathBuf, request: &str) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // The server need not read all of what it refuses.
    drop(stream.write_all(request.replace("host: ", "connection: close\r\nhost: ").as_bytes()).await);
    let mut answer = Vec::new();
    drop(tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an end"));
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_caller_is_who_the_kernel_says_and_only_root_may_speak_for_somebody() {
    let mut rig = Rig::new("caller").await;
    let path = rig.path();
    let login = fs::read_to_string("/proc/self/loginuid").unwrap_or_default().trim().parse::<u32>().ok();
    let login = login.filter(|uid| *uid != u32::MAX && *uid != 0);
    let me = nix::unistd::getuid();
    let name = |uid| nix::unistd::User::from_uid(uid).unwrap().map_or(format!("uid {uid}"), |user| user.name);
    let expected = match login {
        _ if !me.is_root() => name(me),
        Some(uid) => name(uid.into()),
        None => "alice".to_owned(),
    };
    let body = r#"{"services": "all", "by": "alice"}"#;
    let claims = [
        post("/v1/drain", "", body),
        post("/v1/drain", "vipcast-operator: alice\r\n", r#"{"services": "all"}"#),
        post("/v1/undrain", "vipcast-operator: alice\r\n", r#"{"services": "all"}"#),
        post("/v1/reload", "vipcast-operator: alice\r\n", ""),
    ];
    for claim in claims {
        let asked = tokio::spawn({
            let path = path.clone();
            async move { asked(&path, &claim).await }
        });
        let Request { command, caller, answer } = rig.requests.recv().await.unwrap();
        assert_eq!(caller.name, expected, "{command:?}");
        assert_eq!(caller.uid, me.as_raw());
        assert_eq!(caller.pid, i32::try_from(std::process::id()).ok());
        answer.send(Answer::ok(&Done { message: "done".to_owned(), warning: None }));
        assert!(asked.await.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn a_member_of_the_group_acts_in_no_name_but_its_own() {
    /// A user that no host has a name for.
    const UID: u32 = 4_000_000_001;
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let mut rig = Rig::new("member").await;
    let path = rig.path();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let client = std::thread::spawn(move || {
        // Of this thread alone.
        rustix::thread::set_thread_res_uid(None, rustix::process::Uid::from_raw(UID), None).unwrap();
        let mut client = Blocking::connect(&path).unwrap();
        let body = r#"{"services": "all", "by": "alice"}"#;
        client.write_all(post("/v1/drain", "vipcast-operator: alice\r\n", body).as_bytes()).unwrap();
        client
    });
    let Request { caller, .. } = rig.requests.recv().await.unwrap();
    assert_eq!((caller.uid, caller.name.as_str()), (UID, "uid 4000000001"));
    drop(client.join());
}

#[tokio::test]
async fn a_command_whose_client_has_given_up_is_not_carried_out() {
    let mut rig = Rig::new("given-up").await;
    let path = rig.path();
    let all = r#"{"services": "all"}"#;
    // The server does not run meanwhile, like a daemon that stands still.
    let mut gone = Blocking::connect(&path).unwrap();
    gone.write_all(post("/v1/drain", "", all).as_bytes()).unwrap();
    drop(gone);
    let mut waits = Blocking::connect(&path).unwrap();
    waits.write_all(post("/v1/undrain", "", all).as_bytes()).unwrap();
    let carried_out = async {
        loop {
            let request = rig.requests.recv().await.unwrap();
            if !request.answer.is_abandoned() {
                break request.command;
            }
            assert!(matches!(request.command, Command::Do { wish: Wish::Drain { .. }, .. }), "{request:?}");
        }
    };
    let command = tokio::time::timeout(LONG, carried_out).await.unwrap();
    assert!(matches!(command, Command::Do { wish: Wish::Undrain { .. }, .. }), "{command:?}");
}

#[tokio::test]
async fn silent_clients_take_no_more_than_their_places_and_everybody_else_is_answered() {
    let (path, _server) = Rig::new("silent").await.answer(1);
    let mut silent = Vec::new();
    for n in 0..300 {
        silent.push(UnixStream::connect(&path).await.unwrap());
        tokio::task::yield_now().await;
        if n % 50 == 0 {
            assert!(asked(&path, GET_STATUS).await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }
    assert!(asked(&path, GET_STATUS).await.starts_with("HTTP/1.1 200 OK\r\n"));
    let open = |stream: &&UnixStream| matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    let most = if nix::unistd::geteuid().is_root() { MOST } else { 16 };
    let settled = async {
        while silent.iter().filter(open).count() > most {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, settled).await.expect("the others to be closed");
}

#[tokio::test]
async fn clients_that_do_not_read_keep_nobody_from_the_status() {
    // An answer of 300 kB each: more than the socket takes.
    const CLIENTS: usize = 100;
    let (path, _server) = Rig::new("slow-readers").await.answer(1500);
    let mut slow = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        // Some are closed for others.
        drop(stream.write_all(GET_STATUS.repeat(20).as_bytes()).await);
        slow.push(stream);
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        let mut answer = asked(&path, GET_STATUS).await;
        while answer.starts_with("HTTP/1.1 503 ") {
            tokio::time::sleep(Duration::from_millis(20)).await;
            answer = asked(&path, GET_STATUS).await;
        }
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("}\n"),
            "{} bytes",
            answer.len()
        );
    }
}

#[tokio::test]
async fn those_who_ask_while_a_status_is_made_share_the_next_one() {
    let (requests, mut receiver) = mpsc::channel(QUEUE);
    let board = Arc::new(Board::default());
    tokio::spawn({
        let board = Arc::clone(&board);
        async move { board.serve(requests).await }
    });
    let caller = crate::control::Caller { uid: 0, pid: None, name: "root".to_owned() };
    let ask = || {
        let (board, caller) = (Arc::clone(&board), caller.clone());
        tokio::spawn(async move { board.status(caller).await })
    };
    let first = ask();
    let asked = receiver.recv().await.unwrap();
    let others: Vec<_> = (0..50).map(|_| ask()).collect();
    tokio::task::yield_now().await;
    asked.answer.send(Answer::status(status(1)));
    receiver.recv().await.unwrap().answer.send(Answer::status(status(100)));
    let bytes = |answer: Option<Answer>| match answer.unwrap().body {
        Body::Shared(bytes) => bytes,
        Body::Text(_) | Body::Status(_) => panic!("it is not shared"),
    };
    let first = bytes(first.await.unwrap());
    let mut shared = Vec::new();
    for other in others {
        shared.push(bytes(other.await.unwrap()));
    }
    assert!(first.len() < shared[0].len(), "what is so after the question");
    assert!(shared.iter().all(|other| other.as_ptr() == shared[0].as_ptr()), "one copy for all");
    assert!(receiver.try_recv().is_err(), "the loop was asked twice");
}

#[tokio::test]
async fn what_is_no_request_of_ours_is_refused_with_4xx() {
    let (path, _server) = Rig::new("bad").await.answer(1);
    let chunked = "POST /v1/drain HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n";
    let requests = [
        ("both lengths", format!("{chunked}content-length: 5\r\n\r\n0\r\n\r\n")),
        (
            "two lengths",
            "POST /v1/drain HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}"
                .to_owned(),
        ),
        ("a bad chunk", format!("{chunked}\r\nzz\r\n{{}}\r\n0\r\n\r\n")),
        ("no JSON", post("/v1/drain", "", "{")),
        ("deep JSON", post("/v1/drain", "", &"[".repeat(60_000))),
        ("another method", "PUT /v1/status HTTP/1.1\r\nhost: x\r\n\r\n".to_owned()),
        ("another path", "GET /v1/../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n".to_owned()),
        ("no VIP", "GET /v1/explain/web HTTP/1.1\r\nhost: x\r\n\r\n".to_owned()),
        (
            "a long head",
            format!("GET /v1/status HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1_000_000)),
        ),
    ];
    for (what, request) in requests {
        let answer = asked(&path, &request).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
    }
}

/// Waits until somebody listens at `path`.
async fn answers_at(path: &PathBuf) {
    let back = async {
        while UnixStream::connect(path).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, back).await.expect("the socket to come");
    assert!(asked(path, GET_STATUS).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_socket_that_was_removed_is_put_back_with_its_directory_and_that_of_somebody_else_is_left() {
    let (path, server) = Rig::new("removed").await.answer(1);
    fs::remove_file(&path).unwrap();
    answers_at(&path).await;
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    answers_at(&path).await;
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    tokio::time::sleep(LOOK * 3).await;
    drop(server);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_socket_that_cannot_be_made_ends_no_start_and_comes_when_it_can() {
    let rig = Rig::new("later").await;
    let directory = rig.path().parent().unwrap().join("run");
    drop(rig);
    let control = Control { socket: directory.join("control.sock"), group: None };
    fs::write(&directory, "precious").unwrap();
    let (server, requests) = Server::start(&control).await;
    let (path, _server) = Rig { control, server, requests }.answer(1);
    assert_eq!(fs::read_to_string(&directory).unwrap(), "precious");
    fs::remove_file(&directory).unwrap();
    answers_at(&path).await;
    fs::remove_dir_all(directory.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_socket_of_another_daemon_is_its_own_until_that_has_gone() {
    let rig = Rig::new("another").await;
    let control = rig.control.clone();
    let (path, first) = rig.answer(1);
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::symlink_metadata(&path).unwrap());
    let theirs = inode();
    let (server, requests) = Server::start(&control).await;
    tokio::time::sleep(LOOK * 3).await;
    assert_eq!(inode(), theirs);
    let (_, _second) = Rig { control, server, requests }.answer(1);
    drop(first);
    answers_at(&path).await;
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}
