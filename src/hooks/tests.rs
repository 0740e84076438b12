//! Hooks with real programs and a real server.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::control::api::{Event, EventKind, Level};

const LONG: Duration = Duration::from_secs(30);

/// A directory for a test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipcast-hooks-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The hooks of a configuration, and their ring.
struct Fixture {
    ring: Ring,
    hooks: Hooks,
}

impl Fixture {
    fn new(written: &str) -> Self {
        Self::with(written, 1 << 20)
    }

    fn with(written: &str, memory: usize) -> Self {
        let ring = Ring::with(Timestamp::UNIX_EPOCH, memory);
        let mut fixture = Self { hooks: Hooks::new(ring.clone()), ring };
        fixture.set(written);
        fixture
    }

    fn set(&mut self, written: &str) {
        let text = "local_as: 65001
peers: {tor: {address: 192.0.2.1, peer_as: 65000}}
services: {web: {vips: [192.0.2.10], checks: []}, dns: {vips: [192.0.2.20], checks: []}}
";
        self.hooks.set(&crate::config::tests::config(&format!("{text}hooks:\n{written}\n")).hooks);
    }

    fn push(&self, seqs: impl IntoIterator<Item = u64>) {
        seqs.into_iter().for_each(|seq| self.push_one(&event(seq)));
    }

    fn push_one(&self, event: &Event) {
        self.ring.push(event.seq, event.event.clone(), serde_json::to_vec(event).unwrap());
    }

    /// Delivered, failed, retried, missed.
    fn counts(&self, hook: &str) -> (u64, u64, u64, u64) {
        let all = self.hooks.tally().all(&self.ring);
        let found = all.iter().find(|(name, ..)| name == hook);
        found.map_or((0, 0, 0, 0), |(_, of, _)| (of.delivered, of.failed, of.retried, of.missed))
    }
}

fn event(seq: u64) -> Event {
    let is_up = seq.is_multiple_of(2);
    Event {
        seq,
        at: "2026-01-01T00:00:00.000Z".into(),
        event: if is_up { EventKind::Announced } else { EventKind::Withdrawn },
        level: if is_up { Level::Info } else { Level::Warning },
        message: "VIP".into(),
        vip: Some("192.0.2.10".into()),
        service: Some("web".into()),
        check: None,
        peer: None,
        by: None,
        reason: (!is_up).then(|| "down: it's \"gone\"".into()),
        details: [].into(),
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, waited).await.is_ok(), "{what}");
}

/// A hook `h` that runs this script with the options.
fn script(script: &str, options: &str) -> String {
    format!("  h: {{shell: {}{options}}}", serde_json::to_string(script).unwrap())
}

#[tokio::test]
async fn a_program_is_told_each_event_in_order_and_one_at_a_time() {
    let directory = Directory::new("order");
    let out = directory.file("out");
    let lines =
        format!("{{ echo begin; cat; echo $VIPCAST_HOOK $VIPCAST_ID $VIPCAST_EVENT; echo end; }} >> {out}");
    let fixture = Fixture::new(&script(&lines, ""));
    fixture.push(1..=20);
    until("all", || fixture.counts("h") == (20, 0, 0, 0)).await;
    let text = directory.text("out");
    let mut lines = text.lines();
    for seq in 1..=20 {
        assert_eq!(lines.next(), Some("begin"));
        let value: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!((&value["seq"], &value["id"]), (&seq.into(), &format!("0-{seq}").into()));
        let word = if seq % 2 == 0 { "announced" } else { "withdrawn" };
        assert_eq!(lines.next(), Some(format!("h 0-{seq} {word}").as_str()));
        assert_eq!(lines.next(), Some("end"));
    }
    assert_eq!(lines.next(), None);
}

#[tokio::test]
async fn the_environment_is_clean_and_has_the_event() {
    let directory = Directory::new("environment");
    let out = directory.file("out");
    let mut fixture = Fixture::new(&script(
        &format!("env > {out}.new; mv {out}.new {out}"),
        ", environment: {A: b}, timeout: 3s",
    ));
    fixture.push([1]);
    until("the first", || !directory.text("out").is_empty()).await;
    let text = directory.text("out");
    let ours = |line: &&str| {
        !["PATH=", "LANG=", "PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|of| line.starts_with(of))
    };
    let mut lines: Vec<&str> = text.lines().filter(ours).collect();
    lines.sort_unstable();
    let expected = [
        "A=b",
        "VIPCAST_AT=2026-01-01T00:00:00.000Z",
        "VIPCAST_EVENT=withdrawn",
        "VIPCAST_HOOK=h",
        "VIPCAST_ID=0-1",
        "VIPCAST_LEVEL=warning",
        "VIPCAST_MESSAGE=VIP",
        "VIPCAST_REASON=down: it's \"gone\"",
        "VIPCAST_SERVICE=web",
        "VIPCAST_TIMEOUT_MS=3000",
        "VIPCAST_VIP=192.0.2.10",
    ];
    assert_eq!(lines, expected);
    fixture.hooks.finish(LONG).await;
}

#[tokio::test]
async fn a_hook_is_told_only_what_it_asks_for() {
    let directory = Directory::new("filter");
    let all = directory.file("all");
    let dns = directory.file("dns");
    let up = directory.file("up");
    let write = |name: &str, file: &str, options: &str| {
        format!("  {name}: {{shell: \"echo $VIPCAST_ID >> {file}\"{options}}}\n")
    };
    let hooks = write("all", &all, "")
        + &write("dns", &dns, ", services: [dns]")
        + &write("up", &up, ", on: [announced, ready]");
    let mut fixture = Fixture::new(&hooks);
    fixture.push(1..=3);
    fixture.push_one(&Event { service: Some("dns".into()), ..event(4) });
    fixture.push_one(&Event { event: EventKind::Ready, level: Level::Debug, ..event(5) });
    fixture.hooks.finish(LONG).await;
    assert_eq!(directory.text("all"), "0-1\n0-2\n0-3\n0-4\n", "but for what is told only for debugging");
    assert_eq!(directory.text("dns"), "0-4\n");
    assert_eq!(directory.text("up"), "0-2\n0-4\n0-5\n");
}

#[tokio::test]
async fn a_program_that_fails_is_not_run_again_and_the_status_has_its_last_line() {
    let directory = Directory::new("fails");
    let (out, fixed) = (directory.file("out"), directory.file("fixed"));
    let lines = format!(
        "echo $VIPCAST_ID >> {out}; [ -e {fixed} ] || {{ echo why >&2; echo no such pager >&2; exit 3; }}"
    );
    let fixture = Fixture::new(&script(&lines, ""));
    fixture.push([1]);
    until("one failure", || fixture.counts("h") == (0, 1, 0, 0)).await;
    assert_eq!(
        fixture.hooks.warnings(),
        ["hook h: the last event was not delivered: exit code 3: no such pager"]
    );
    fixture.push([2]);
    until("two failures", || fixture.counts("h") == (0, 2, 0, 0)).await;
    assert_eq!(
        fixture.hooks.warnings(),
        ["hook h: the last 2 events were not delivered: exit code 3: no such pager"]
    );
    fs::write(&fixed, "").unwrap();
    fixture.push([3]);
    until("success", || fixture.counts("h") == (1, 2, 0, 0)).await;
    assert_eq!(fixture.hooks.warnings(), Vec::<String>::new());
    assert_eq!(directory.text("out"), "0-1\n0-2\n0-3\n");
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_its_group_and_delays_no_other_hook_and_no_writer() {
    let directory = Directory::new("hangs");
    let (pids, out) = (directory.file("pids"), directory.file("out"));
    let hangs =
        format!("sleep 1000 & echo $! >> {pids}; echo $$ >> {pids}; trap '' TERM INT HUP; sleep 1000");
    let hooks =
        script(&hangs, ", timeout: 300ms") + &format!("\n  quick: {{shell: \"echo $VIPCAST_ID >> {out}\"}}");
    let mut fixture = Fixture::new(&hooks);
    let began = Instant::now();
    fixture.push(1..=3);
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    until("the other", || directory.text("out") == "0-1\n0-2\n0-3\n").await;
    until("all killed", || fixture.counts("h") == (0, 3, 0, 0)).await;
    assert!(fixture.hooks.warnings()[0].contains("killed after 300 ms"), "{:?}", fixture.hooks.warnings());
    let alive =
        |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    until("none alive", || !directory.text("pids").lines().any(alive)).await;
    assert_eq!(directory.text("pids").lines().count(), 6);
    fixture.hooks.finish(LONG).await;
}

#[tokio::test]
async fn a_program_that_neither_reads_nor_ends_its_output_is_no_trouble() {
    let mut fixture = Fixture::new(&script("head -c 5000000 /dev/zero; exec 0<&-; exit 0", ""));
    fixture.push_one(&Event { message: "x".repeat(500_000), ..event(1) });
    fixture.push([2]);
    until("both", || fixture.counts("h") == (2, 0, 0, 0)).await;
    fixture.hooks.finish(LONG).await;
}

#[tokio::test]
async fn what_a_slow_hook_misses_is_counted_and_told() {
    let directory = Directory::new("missed");
    let (out, go) = (directory.file("out"), directory.file("go"));
    let lines =
        format!("while [ ! -e {go} ]; do sleep 0.01; done; echo $VIPCAST_ID $VIPCAST_MISSED >> {out}");
    let length = serde_json::to_vec(&event(1)).unwrap().len();
    let mut fixture = Fixture::with(&script(&lines, ""), length * 4);
    fixture.push([1]);
    until("the first is under way", || {
        fixture.hooks.tally().all(&fixture.ring).iter().any(|(.., waits)| *waits == 1)
    })
    .await;
    let first_is_taken = || {
        fixture.push_one(&Event { level: Level::Debug, ..event(2) });
        fixture.ring.end() > 1
    };
    until("more events", first_is_taken).await;
    let end = fixture.ring.end();
    for seq in 3..100 {
        fixture.push([seq]);
    }
    fs::write(&go, "").unwrap();
    fixture.hooks.finish(LONG).await;
    let text = directory.text("out");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("0-1"));
    let (_, _, _, missed) = fixture.counts("h");
    assert!(missed >= 90, "{missed} of {end} and 97: {text}");
    let first = lines.next().unwrap();
    assert!(first.ends_with(&format!(" {missed}")), "{text}");
    assert!(lines.all(|line| line.ends_with(' ') || !line.contains(' ')), "only the first of them: {text}");
    assert!(text.lines().last().unwrap().starts_with("0-99"), "{text}");
}

#[tokio::test]
async fn a_reload_restarts_changed_hooks_where_they_were_and_no_others() {
    let directory = Directory::new("reload");
    let (same, changed, new, go) =
        (directory.file("same"), directory.file("changed"), directory.file("new"), directory.file("go"));
    let waits = |file: &str| {
        format!("echo $$ >> {file}.pid; while [ ! -e {go} ]; do sleep 0.01; done; echo $VIPCAST_ID >> {file}")
    };
    let hook =
        |name: &str, script: &str, options: &str| format!("  {name}: {{shell: \"{script}\"{options}}}\n");
    let kept = hook("same", &waits(&same), "");
    let mut fixture = Fixture::new(&(kept.clone() + &hook("changed", &waits(&changed), "")));
    fixture.push(1..=3);
    until("both run", || !directory.text("same.pid").is_empty() && !directory.text("changed.pid").is_empty())
        .await;
    let next = hook("changed", &format!("echo $VIPCAST_ID >> {changed}"), "")
        + &hook("new", &format!("echo $VIPCAST_ID >> {new}"), "");
    fixture.set(&(kept + &next));
    until("the rest", || directory.text("changed") == "0-2\n0-3\n").await;
    fixture.push([4]);
    until("the new one", || directory.text("new") == "0-4\n").await;
    fs::write(&go, "").unwrap();
    until("the same one", || directory.text("same") == "0-1\n0-2\n0-3\n0-4\n").await;
    assert_eq!(directory.text("same.pid").lines().count(), 4, "the first was not run again");
    fixture.set(&hook("new", &format!("echo $VIPCAST_ID >> {new}"), ""));
    until("the others are gone", || fixture.hooks.tally().all(&fixture.ring).len() == 1).await;
    fixture.push([5]);
    fixture.hooks.finish(LONG).await;
    assert_eq!(directory.text("new"), "0-4\n0-5\n");
    assert_eq!(directory.text("changed"), "0-2\n0-3\n0-4\n");
}

#[tokio::test]
async fn the_end_waits_for_the_last_events_but_not_for_ever() {
    let directory = Directory::new("end");
    let out = directory.file("out");
    let mut fixture = Fixture::new(&script(&format!("sleep 0.1; echo $VIPCAST_ID >> {out}"), ""));
    fixture.push(1..=3);
    fixture.hooks.finish(LONG).await;
    assert_eq!(directory.text("out"), "0-1\n0-2\n0-3\n");
    let mut fixture = Fixture::new(&script(&format!("echo $$ > {out}; sleep 1000"), ""));
    fixture.push([1]);
    let pid = || directory.text("out").trim().parse::<u32>().ok();
    until("it runs", || pid().is_some() && !directory.text("out").starts_with('0')).await;
    let began = Instant::now();
    fixture.hooks.finish(Duration::from_millis(200)).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let path = format!("/proc/{}/stat", pid().unwrap());
    until("killed", || fs::read_to_string(&path).map_or(true, |stat| stat.contains(") Z "))).await;
}

/// A request that the server got.
#[derive(Debug, Clone)]
struct Got {
    head: String,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(its, _)| its.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }
}

/// A server that answers request number N with the Nth of `answers`, and with 204 from then on.
struct Web {
    port: u16,
    got: Arc<Mutex<Vec<Got>>>,
}

#[derive(Debug, Clone, Copy)]
enum Answered {
    Status(u16),
    Never,
    Closes,
    /// 200, and a body without an end.
    Endless,
}

impl Web {
    async fn start(answers: &[Answered]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, got) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<Got>>>::default());
        let (answers, requests) = (answers.to_vec(), Arc::clone(&got));
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answers.next().unwrap_or(Answered::Status(204));
                tokio::spawn(serve(stream, answer, Arc::clone(&requests)));
            }
        });
        Self { port, got }
    }

    fn hook(&self, options: &str) -> String {
        format!("  h: {{url: \"http://127.0.0.1:{}/hook?a=b\"{options}}}", self.port)
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    fn ids(&self) -> Vec<String> {
        self.got().iter().map(|got| got.header("webhook-id").unwrap()).collect()
    }
}

async fn serve(stream: TcpStream, answer: Answered, requests: Arc<Mutex<Vec<Got>>>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let mut got = Got { head, body: String::new() };
    let length: usize = got.header("content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    got.body = String::from_utf8(body).unwrap();
    requests.lock().unwrap().push(got);
    match answer {
        Answered::Status(status) => {
            let answer = format!("HTTP/1.1 {status} \r\ncontent-length: 0\r\n\r\n");
            drop(stream.write_all(answer.as_bytes()).await);
        }
        Answered::Never => std::future::pending().await,
        Answered::Closes => {}
        Answered::Endless => {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
    }
}

#[tokio::test]
async fn a_webhook_is_signed_and_told_in_order() {
    let web = Web::start(&[]).await;
    let fixture = Fixture::new(&web.hook(", secret: hush, headers: {X-Team: edge}"));
    fixture.push(1..=5);
    until("all", || fixture.counts("h") == (5, 0, 0, 0)).await;
    assert_eq!(web.ids(), ["0-1", "0-2", "0-3", "0-4", "0-5"]);
    let first = web.got().remove(0);
    assert!(first.head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{}", first.head);
    let header = |name| first.header(name).unwrap();
    assert_eq!((header("content-type"), header("x-team")), ("application/json".into(), "edge".into()));
    let value: serde_json::Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!((&value["id"], &value["event"]), (&"0-1".into(), &"withdrawn".into()));
    let at: i64 = header("webhook-timestamp").parse().unwrap();
    assert!((Timestamp::now().as_second() - at).abs() < 60);
    let signed = signature::headers("0-1", at, &first.body, Some(b"hush")).unwrap();
    assert_eq!(header("webhook-signature"), signed[2].1.to_str().unwrap());
}

#[tokio::test]
async fn a_request_is_repeated_with_its_id_until_it_is_accepted_or_refused_for_good() {
    let web = Web::start(&[
        Answered::Status(503),
        Answered::Closes,
        Answered::Endless,
        Answered::Status(400),
        Answered::Status(302),
    ])
    .await;
    let fixture = Fixture::new(&web.hook(""));
    fixture.push(1..=4);
    until("all", || fixture.counts("h") == (2, 2, 2, 0)).await;
    assert_eq!(web.ids(), ["0-1", "0-1", "0-1", "0-2", "0-3", "0-4"]);
}

#[tokio::test]
async fn a_receiver_that_hangs_or_is_not_there_is_given_up_and_named() {
    let web = Web::start(&[Answered::Never; 9]).await;
    let mut fixture = Fixture::new(&web.hook(", timeout: 200ms, retry_for: 0"));
    fixture.push([1]);
    until("given up", || fixture.counts("h") == (0, 1, 0, 0)).await;
    assert_eq!(
        fixture.hooks.warnings(),
        ["hook h: the last event was not delivered: no answer within 200 ms"]
    );
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    fixture.set(&format!("  h: {{url: \"http://127.0.0.1:{free}/\", retry_for: 0}}"));
    fixture.push([2]);
    until("given up", || fixture.counts("h") == (0, 2, 0, 0)).await;
    assert_eq!(
        fixture.hooks.warnings(),
        ["hook h: the last 2 events were not delivered: connection refused"]
    );
}

#[tokio::test]
async fn at_the_end_a_request_is_tried_once_more_and_no_longer() {
    let web = Web::start(&[Answered::Status(500); 9]).await;
    let mut fixture = Fixture::new(&web.hook(", retry_for: 1h"));
    fixture.push([1, 2]);
    until("the first try", || fixture.counts("h").2 == 1).await;
    let began = Instant::now();
    fixture.hooks.finish(LONG).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(web.ids(), ["0-1", "0-1", "0-2"]);
    assert_eq!(fixture.counts("h"), (0, 2, 1, 0));
}

#[tokio::test]
async fn a_reload_with_another_url_takes_the_event_under_way_along() {
    let (old, new) = (Web::start(&[Answered::Never; 9]).await, Web::start(&[]).await);
    let mut fixture = Fixture::new(&old.hook(""));
    fixture.push([1, 2]);
    until("under way", || old.ids() == ["0-1"]).await;
    fixture.set(&new.hook(""));
    until("both", || new.ids() == ["0-1", "0-2"]).await;
}
