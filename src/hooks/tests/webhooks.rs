//! Webhooks and a server that answers, hangs, refuses, or is not there.

use std::sync::Mutex;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

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

#[tokio::test]
async fn a_written_content_type_is_sent_once_and_instead_of_ours() {
    let web = Web::start(&[]).await;
    let fixture = Fixture::new(&web.hook(", headers: {Content-Type: application/cloudevents+json}"));
    fixture.push([1]);
    until("all", || fixture.counts("h") == (1, 0, 0, 0)).await;
    let head = web.got().remove(0).head.to_ascii_lowercase();
    let types: Vec<&str> = head.lines().filter(|line| line.starts_with("content-type")).collect();
    assert_eq!(types, ["content-type: application/cloudevents+json"]);
}
