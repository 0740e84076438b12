use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream as Blocking;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use vipcast_node::commands::{Answer as Said, Command as Wish};
use vipcast_node::model::Control;

use super::super::upkeep::LOOK;
use super::*;
use crate::control::routes::{self, Reading};
use crate::control::snapshot::fixture::snapshot;

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
        let (server, requests) = Server::start(&config(&control), Ring::new(), false).await;
        Self { control, server, requests }
    }

    fn path(&self) -> PathBuf {
        self.control.socket.clone()
    }

    /// Answers every request from now on: with this many VIPs, or that it was done.
    fn answer(mut self, vips: usize) -> (PathBuf, Server) {
        tokio::spawn(async move {
            while let Some(request) = self.requests.recv().await {
                match request {
                    Request::Snapshot(asker) => drop(asker.send(Box::new(snapshot(vips)))),
                    Request::Order { reply, .. } => reply.send(Said::done("done".to_owned())),
                }
            }
        });
        (self.control.socket, self.server)
    }
}

fn config(control: &Control) -> Config {
    Config { control: control.clone(), ..Config::new([], []) }
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: vipcast\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

const GET_STATUS: &str = "GET /v1/status HTTP/1.1\r\nhost: vipcast\r\n\r\n";

/// A connection, as soon as the queue of the socket has room for it.
async fn connected(path: &PathBuf) -> UnixStream {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            connected => break connected.unwrap(),
        }
    }
}

/// The whole answer to `request`, from a connection that the server closes.
async fn asked(path: &PathBuf, request: &str) -> String {
    let mut stream = connected(path).await;
    // The server need not read all of what it refuses.
    drop(stream.write_all(request.replace("host: ", "connection: close\r\nhost: ").as_bytes()).await);
    let mut answer = Vec::new();
    drop(tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an end"));
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn at_a_hand_over_no_client_is_refused_and_streams_end_to_go_on_at_the_next_program() {
    let mut rig = Rig::new("handed").await;
    let path = rig.path();
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&path).unwrap());
    // One has its answer and keeps its connection, one follows events, one waits for its answer.
    let mut stream = connected(&path).await;
    stream.write_all(b"GET /v1/events/stream HTTP/1.1\r\nhost: vipcast\r\n\r\n").await.unwrap();
    let mut begun = [0; 15];
    stream.read_exact(&mut begun).await.unwrap();
    let ordering = tokio::spawn({
        let path = path.clone();
        async move { asked(&path, &post("/v1/reload", "", "")).await }
    });
    let Some(Request::Order { reply, .. }) = rig.requests.recv().await else { panic!("no order") };
    let answers = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        reply.send(Said::done("done".to_owned()));
    };
    let ((handed, has_ended), ()) = tokio::join!(rig.server.freeze(), answers);
    assert!(has_ended);
    assert!(ordering.await.unwrap().contains("done"));
    let mut rest = String::new();
    tokio::time::timeout(LONG, stream.read_to_string(&mut rest)).await.expect("an end").unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "a whole answer: {rest}");
    // Nobody accepts, and a client waits.
    let waiting = tokio::spawn({
        let path = path.clone();
        async move { asked(&path, GET_STATUS).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(rig.server);
    assert!(handed.control.is_some() && path.exists() && !waiting.is_finished());
    let (server, requests) = Server::thaw(&config(&rig.control), Ring::new(), false, handed).await;
    let (path, server) = Rig { control: rig.control, server, requests }.answer(3);
    assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&fs::metadata(&path).unwrap()), inode, "the same file");
    drop(server);
    assert!(!path.exists(), "the next program removes it");
}

#[tokio::test]
async fn an_order_for_the_next_program_is_503_and_one_that_nobody_answers_409() {
    let mut rig = Rig::new("order").await;
    for (code, is_for_the_next) in [(503, true), (409, false)] {
        let path = rig.path();
        let ordering = tokio::spawn(async move { asked(&path, &post("/v1/upgrade", "", "{}")).await });
        let Some(Request::Order { command, reply, .. }) = rig.requests.recv().await else {
            panic!("no order")
        };
        assert_eq!(command, Wish::Upgrade { dry: false });
        if is_for_the_next {
            reply.hand_over();
        } else {
            drop(reply);
        }
        let answer = ordering.await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_comes_while_the_doors_close_is_answered_by_this_program_or_the_next() {
    const CLIENTS: usize = 8;
    let mut rig = Rig::new("closing").await;
    for _ in 0..5 {
        let path = rig.path();
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            // Connected before the doors close; the request comes when they do.
            clients.push(connected(&path).await);
        }
        let ask = async {
            // The doors are closing by then.
            tokio::time::sleep(Duration::from_millis(20)).await;
            for client in &mut clients {
                let close = GET_STATUS.replace("host: ", "connection: close\r\nhost: ");
                client.write_all(close.as_bytes()).await.unwrap();
            }
        };
        let answer = async {
            while let Some(Request::Snapshot(asker)) = rig.requests.recv().await {
                drop(asker.send(Box::new(snapshot(1))));
            }
            pending::<()>().await;
        };
        let freezing = async { tokio::join!(rig.server.freeze(), ask).0 };
        let (handed, has_ended) = tokio::select! {
            frozen = freezing => frozen,
            () = answer => panic!("the server has gone"),
        };
        assert!(has_ended);
        (rig.server, rig.requests) = Server::thaw(&config(&rig.control), Ring::new(), false, handed).await;
        let answer = async {
            while let Some(Request::Snapshot(asker)) = rig.requests.recv().await {
                drop(asker.send(Box::new(snapshot(1))));
            }
        };
        let read = async {
            for mut client in clients {
                let mut answer = String::new();
                client.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
            }
        };
        tokio::select! {
            read = tokio::time::timeout(LONG, read) => read.expect("all answers"),
            () = answer => panic!("the server has gone"),
        }
    }
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
        let Some(Request::Order { command, caller, reply }) = rig.requests.recv().await else {
            panic!("no order");
        };
        assert_eq!(caller.name, expected, "{command:?}");
        assert_eq!(caller.uid, me.as_raw());
        assert_eq!(caller.pid, i32::try_from(std::process::id()).ok());
        reply.send(Said::done("done".to_owned()));
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
    let Some(Request::Order { caller, .. }) = rig.requests.recv().await else { panic!("no order") };
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
            let Some(Request::Order { command, reply, .. }) = rig.requests.recv().await else {
                panic!("no order");
            };
            if !reply.is_abandoned() {
                break command;
            }
            assert!(matches!(command, Wish::Drain { .. }), "{command:?}");
        }
    };
    let command = tokio::time::timeout(LONG, carried_out).await.unwrap();
    assert!(matches!(command, Wish::Undrain { .. }), "{command:?}");
}

#[tokio::test]
async fn silent_clients_take_no_more_than_their_places_and_everybody_else_is_answered() {
    let (path, _server) = Rig::new("silent").await.answer(1);
    let mut silent = Vec::new();
    for n in 0..300 {
        silent.push(connected(&path).await);
        tokio::task::yield_now().await;
        if n % 50 == 0 {
            assert!(asked(&path, GET_STATUS).await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }
    assert!(asked(&path, GET_STATUS).await.starts_with("HTTP/1.1 200 OK\r\n"));
    let open = |stream: &&UnixStream| matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    let most = if nix::unistd::geteuid().is_root() { Limits::CONTROL.most } else { 16 };
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
        let mut stream = connected(&path).await;
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
async fn those_who_ask_while_an_answer_is_made_share_the_next_snapshot() {
    let (requests, mut receiver) = mpsc::channel(QUEUE);
    let board = Arc::new(Board::default());
    tokio::spawn({
        let board = Arc::clone(&board);
        async move { board.serve(requests).await }
    });
    let ask = |path: &'static str| {
        let board = Arc::clone(&board);
        let (row, parameter) = routes::find(Door::Control, "GET", path).unwrap();
        let Ok(Asked::Read(reading)) = row.asked(parameter, b"", "") else { panic!("nothing to read") };
        tokio::spawn(async move { board.read(path.to_owned(), reading).await })
    };
    async fn asked(receiver: &mut mpsc::Receiver<Request>) -> oneshot::Sender<Box<Snapshot>> {
        let Some(Request::Snapshot(asker)) = receiver.recv().await else { panic!("no snapshot") };
        asker
    }
    let first = ask("/v1/status");
    let asker = asked(&mut receiver).await;
    let before = snapshot(1);
    let others: Vec<_> = (0..50).map(|_| ask("/v1/status")).collect();
    let another = ask("/v1/explain/198.18.0.0");
    tokio::task::yield_now().await;
    asker.send(Box::new(before)).unwrap();
    asked(&mut receiver).await.send(Box::new(snapshot(100))).unwrap();
    let first = first.await.unwrap().unwrap();
    let mut shared = Vec::new();
    for other in others {
        shared.push(other.await.unwrap().unwrap());
    }
    assert!(first.len() < shared[0].len(), "what is so after the question");
    assert!(shared.iter().all(|other| other.as_ptr() == shared[0].as_ptr()), "one copy for all");
    assert!(another.await.unwrap().unwrap().starts_with(b"{"), "another answer of the same snapshot");
    assert!(receiver.try_recv().is_err(), "the loop was asked again");
}

#[tokio::test]
async fn those_who_ask_before_a_snapshot_is_taken_are_answered_from_it() {
    let (requests, mut receiver) = mpsc::channel(QUEUE);
    let board = Arc::new(Board::default());
    tokio::spawn({
        let board = Arc::clone(&board);
        async move { board.serve(requests).await }
    });
    let ask = || {
        let board = Arc::clone(&board);
        let reading: Reading = Box::new(|_| Ok(b"{}".to_vec()));
        tokio::spawn(async move { board.read("/".to_owned(), reading).await })
    };
    let first = ask();
    let Some(Request::Snapshot(asker)) = receiver.recv().await else { panic!("no snapshot") };
    let second = ask();
    tokio::task::yield_now().await;
    asker.send(Box::new(snapshot(1))).unwrap();
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    assert!(receiver.try_recv().is_err(), "the loop was asked again");
}

#[tokio::test]
async fn an_answer_that_panics_is_500_and_the_next_is_made() {
    let (requests, mut receiver) = mpsc::channel(QUEUE);
    let board = Arc::new(Board::default());
    tokio::spawn({
        let board = Arc::clone(&board);
        async move { board.serve(requests).await }
    });
    tokio::spawn(async move {
        while let Some(Request::Snapshot(asker)) = receiver.recv().await {
            asker.send(Box::new(snapshot(1))).unwrap();
        }
    });
    let panics = board.read("/a".to_owned(), Box::new(|_| panic!("a mistake"))).await;
    assert_eq!(panics.unwrap_err().why, Why::Broken);
    let (row, parameter) = routes::find(Door::Control, "GET", "/v1/status").unwrap();
    let Ok(Asked::Read(reading)) = row.asked(parameter, b"", "") else { panic!("nothing to read") };
    assert!(board.read("/v1/status".to_owned(), reading).await.is_ok());
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
    let (server, requests) = Server::start(&config(&control), Ring::new(), false).await;
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
    let (server, requests) = Server::start(&config(&control), Ring::new(), false).await;
    tokio::time::sleep(LOOK * 3).await;
    assert_eq!(inode(), theirs);
    let (_, _second) = Rig { control, server, requests }.answer(1);
    drop(first);
    answers_at(&path).await;
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}
