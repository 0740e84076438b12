use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use vipcast_node::model::Question;

use super::*;
use crate::check::file_reader::LastRead;
use crate::check::kinds::http::HttpCheck;
use crate::check::owners::Owner;
use crate::check::pattern::{Pattern, Regex};
use crate::check::probe::tests::{
    PATIENT, answer, asked, closed_port, definition_of, fail, http, pass, request, server, time_out,
    wait_for_close,
};

fn plain(address: SocketAddr) -> Question {
    http(address, "web.example", None)
}

fn answering(text: &'static str) -> Question {
    plain(server(move |stream| answer(stream, text)))
}

fn wanting(kind: Question, status: &[(u16, u16)]) -> Question {
    let check: HttpCheck = definition_of(&kind);
    asked(HttpCheck { status: status.into(), ..check })
}

/// Writes until the client closes.
fn endlessly(mut stream: TcpStream, head: &str, chunk: &[u8]) {
    request(&mut stream);
    let mut written = stream.write_all(head.as_bytes());
    while written.is_ok() {
        written = stream.write_all(chunk);
    }
}

#[tokio::test]
async fn a_200_passes_and_the_request_is_as_documented() {
    let (seen, requests) = mpsc::channel();
    let address = server(move |mut stream| {
        seen.send(request(&mut stream)).unwrap();
        stream.write_all(b"HTTP/1.1 200 Fine by me\r\nContent-Length: 2\r\n\r\nok").unwrap();
        wait_for_close(stream);
    });
    assert_eq!(pass(plain(address)).await, "200 OK");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        requests.recv_timeout(PATIENT).unwrap(),
        format!(
            "GET /healthz?full=1 HTTP/1.1\r\nhost: web.example\r\nuser-agent: vipcast/{version}\r\n\
             accept: */*\r\nconnection: close\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn the_status_decides() {
    let unavailable = "HTTP/1.1 503 Whatever\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(fail(answering(unavailable)).await, "503 Service Unavailable, wanted 200");
    let redirect = "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(fail(answering(redirect)).await, "301 Moved Permanently, wanted 200");
    let odd = "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n";
    assert_eq!(fail(wanting(answering(odd), &[(200, 299), (404, 404)])).await, "599, wanted 200-299 or 404");
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(pass(wanting(answering(missing), &[(200, 299), (404, 404)])).await, "404 Not Found");
    let old = "HTTP/1.0 200 OK\r\n\r\nbody until the end";
    assert_eq!(pass(answering(old)).await, "200 OK");
    let early = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(fail(answering(early)).await, "500 Internal Server Error, wanted 200");
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    assert_eq!(fail(plain(closed_port())).await, "connection refused");
}

#[tokio::test]
async fn a_server_that_closes_without_an_answer() {
    let silent = server(|mut stream| drop(request(&mut stream)));
    assert_eq!(fail(plain(silent)).await, "connection closed before the answer");
    let half_way = server(|mut stream| {
        request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nServer: h").unwrap();
    });
    assert_eq!(fail(plain(half_way)).await, "connection closed before the answer");
}

#[tokio::test]
async fn a_server_that_resets_half_way() {
    // Closing with unread data in the socket sends a reset.
    let address = server(|mut stream| {
        let mut first = [0];
        std::io::Read::read_exact(&mut stream, &mut first).unwrap();
    });
    assert_eq!(fail(plain(address)).await, "connection reset by peer");
}

#[tokio::test]
async fn garbage_is_not_http() {
    let ssh = "SSH-2.0-OpenSSH_9.9\r\n";
    assert_eq!(fail(answering(ssh)).await, "the answer is not HTTP: \"SSH-2.0-OpenSSH_9.9\"");
    let nonsense = "HTTP/1.1 two hundred\r\n\r\n";
    assert_eq!(fail(answering(nonsense)).await, "the answer has no status: \"HTTP/1.1 two hundred\"");
    let binary = "\x16\x03\x01\x02\x00\x01\r\n\r\n";
    let said = r#"the answer is not HTTP: "\u{16}\u{3}\u{1}\u{2}\0\u{1}""#;
    assert_eq!(fail(answering(binary)).await, said);
    // It never ends its first line.
    let endless = server(|stream| endlessly(stream, "", b"nothing that we know"));
    assert!(fail(plain(endless)).await.starts_with("the answer is not HTTP: \"nothing that we know"));
}

#[tokio::test]
async fn i5_a_server_that_never_answers_ends_in_the_time_out() {
    assert_eq!(time_out(plain(server(wait_for_close))).await, "no answer within 200 ms");
}

#[tokio::test]
async fn i5_a_head_that_drips_ends_in_the_time_out() {
    let address = server(|mut stream| {
        request(&mut stream);
        let mut dripped = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while dripped.is_ok() {
            dripped = stream.write_all(b"x");
            thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(time_out(plain(address)).await, "no answer within 200 ms");
}

#[tokio::test]
async fn i5_an_endless_head_is_cut_off() {
    let one = server(|stream| endlessly(stream, "HTTP/1.1 200 OK\r\nX: ", &[b'x'; 1024]));
    assert_eq!(fail(plain(one)).await, "a line in the head of the answer is longer than 100 KiB");
    let many = server(|stream| endlessly(stream, "HTTP/1.1 200 OK\r\n", b"X: y\r\n"));
    let cut_off = "the head of the answer is longer than 300 KiB";
    assert_eq!(fail(plain(many)).await, cut_off);
    let early = server(|stream| endlessly(stream, "HTTP/1.1 100 X\r\n\r\n", b"HTTP/1.1 100 X\r\n\r\n"));
    assert_eq!(fail(plain(early)).await, cut_off);
}

#[tokio::test]
async fn an_endless_body_is_not_read() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (closed, was_closed) = mpsc::channel();
    let address = server(move |stream| {
        endlessly(stream, chunked, b"4\r\nbody\r\n");
        closed.send(()).unwrap();
    });
    assert_eq!(pass(plain(address)).await, "200 OK");
    was_closed.recv_timeout(PATIENT).unwrap();
}

#[tokio::test]
async fn a_request_that_cannot_be_made_fails_in_words() {
    let kind = http(server(wait_for_close), "bad\nhost", None);
    assert_eq!(fail(kind).await, "cannot ask for \"/healthz?full=***\": a control character in the host");
}

/// The check, changed.
fn changed(kind: Question, change: impl FnOnce(&mut HttpCheck)) -> Question {
    let mut check: HttpCheck = definition_of(&kind);
    change(&mut check);
    asked(check)
}

#[tokio::test]
async fn method_headers_and_body_are_sent_as_they_are_written() {
    let (seen, requests) = mpsc::channel();
    let address = server(move |mut stream| {
        let mut asked = request(&mut stream);
        let mut body = [0; 4];
        if asked.contains("content-length: 4") {
            std::io::Read::read_exact(&mut stream, &mut body).unwrap();
            asked.push_str(&String::from_utf8_lossy(&body));
        }
        seen.send(asked).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").unwrap();
        wait_for_close(stream);
    });
    let header = |name: &'static str, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let posting = changed(plain(address), |check| {
        check.method = Method::Post;
        check.request_body = "ping".into();
        check.headers = vec![header("authorization", "Basic eA=="), header("user-agent", "me")];
    });
    assert_eq!(pass(posting).await, "200 OK");
    assert_eq!(
        requests.recv_timeout(PATIENT).unwrap(),
        "POST /healthz?full=1 HTTP/1.1\r\nhost: web.example\r\nuser-agent: me\r\naccept: */*\r\nconnection: close\r\n\
         authorization: Basic eA==\r\ncontent-length: 4\r\n\r\nping"
    );
    for (method, line) in [
        (Method::Head, "HEAD /healthz?full=1 HTTP/1.1\r\n"),
        (Method::Options, "OPTIONS /healthz?full=1 HTTP/1.1\r\n"),
        (Method::Put, "PUT /healthz?full=1 HTTP/1.1\r\n"),
    ] {
        assert_eq!(pass(changed(plain(address), |check| check.method = method)).await, "200 OK");
        let asked = requests.recv_timeout(PATIENT).unwrap();
        assert!(asked.starts_with(line), "{asked}");
        assert_eq!(asked.contains("content-length: 0"), method == Method::Put, "{asked}");
    }
}

mod bodies {
    use super::*;

    fn wanting(address: SocketAddr, body: Pattern) -> Question {
        changed(plain(address), |check| check.body = Some(body))
    }

    fn text(text: &str) -> Pattern {
        Pattern::Text(text.into())
    }

    fn regex(expression: &str) -> Pattern {
        Pattern::Regex(Regex::new(expression).unwrap())
    }

    /// A server that answers like this and closes.
    fn closing(text: &'static str) -> SocketAddr {
        server(move |mut stream| {
            request(&mut stream);
            stream.write_all(text.as_bytes()).unwrap();
        })
    }

    const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is ready";
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nall is re\r\n3\r\nady\r\n0\r\n\r\n";
    const UNTIL_CLOSE: &str = "HTTP/1.0 200 OK\r\n\r\nall is ready";

    #[tokio::test]
    async fn what_must_be_there_is() {
        for answer in [WHOLE, CHUNKED, UNTIL_CLOSE] {
            assert_eq!(pass(wanting(closing(answer), text("ready"))).await, "200 OK", "{answer}");
            assert_eq!(pass(wanting(closing(answer), regex("^all .* ready$"))).await, "200 OK", "{answer}");
        }
    }

    #[tokio::test]
    async fn a_wrong_body_fails_and_a_wrong_status_goes_before_it() {
        let fails = |answer, pattern| fail(wanting(closing(answer), pattern));
        assert_eq!(fails(WHOLE, text("Ready")).await, r#"200 OK, but "Ready" is not in the body"#);
        assert_eq!(fails(CHUNKED, regex("ready.")).await, "200 OK, but /ready./ is not in the body");
        let empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(fails(empty, text("x")).await, "200 OK, but the body is empty");
        let down = "HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nready";
        assert_eq!(fails(down, text("ready")).await, "503 Service Unavailable, wanted 200");
        let zipped = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\n\x1f\x1f";
        assert_eq!(
            fails(zipped, text("x")).await,
            r#"200 OK, but "x" is not in the body, which is compressed (gzip)"#
        );
    }

    #[tokio::test]
    async fn a_body_that_breaks_off() {
        let fails = |answer, pattern| fail(wanting(closing(answer), pattern));
        let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nall is";
        assert_eq!(fails(short, text("ready")).await, "200 OK, but the body broke off: connection closed");
        let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nall";
        assert_eq!(fails(cut, text("ready")).await, "200 OK, but the body broke off: connection closed");
        let garbage = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
        assert_eq!(
            fails(garbage, text("ready")).await,
            "200 OK, but the body broke off: a chunk without a size: \"xyz\""
        );
        let resetting = server(|mut stream| {
            let mut first = [0; 8];
            std::io::Read::read_exact(&mut stream, &mut first).unwrap();
            stream.write_all(short.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(50));
        });
        assert_eq!(
            fail(wanting(resetting, text("ready"))).await,
            "200 OK, but the body broke off: connection reset by peer"
        );
    }

    #[tokio::test]
    async fn i5_a_slow_body_ends_in_the_time_out() {
        let drip = || {
            server(|mut stream| {
                request(&mut stream);
                let mut dripped = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nready? ");
                while dripped.is_ok() {
                    dripped = stream.write_all(b"x");
                    thread::sleep(Duration::from_millis(1));
                }
            })
        };
        let ended = "200 OK, but the body did not end within 200 ms";
        assert_eq!(time_out(wanting(drip(), text("steady"))).await, ended);
        assert_eq!(time_out(wanting(drip(), regex("ready"))).await, ended);
        assert_eq!(pass(wanting(drip(), text("ready"))).await, "200 OK");
    }

    #[tokio::test]
    async fn i5_an_endless_body_is_cut_off() {
        let endless = || server(|stream| endlessly(stream, "HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 1024]));
        let cut = "is not in the first 64 KiB of the body";
        assert_eq!(fail(wanting(endless(), text("y"))).await, format!("200 OK, but \"y\" {cut}"));
        assert_eq!(fail(wanting(endless(), regex("y$"))).await, format!("200 OK, but /y$/ {cut}"));
        assert_eq!(pass(wanting(endless(), regex("^x+$"))).await, "200 OK");
    }
}

mod redirects {
    use super::*;

    /// A server of pages: path, status, where it leads. What is asked for is sent on.
    fn site(
        seen: mpsc::Sender<String>,
        pages: impl Fn(&str, SocketAddr) -> (u16, Option<String>) + Send + Sync + 'static,
    ) -> SocketAddr {
        server(move |mut stream| {
            let asked = request(&mut stream);
            let path = asked.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, location) = pages(&path, stream.local_addr().unwrap());
            let location = location.map_or(String::new(), |to| format!("Location: {to}\r\n"));
            // Nobody listens where the test looks at the outcome alone.
            let _unheard = seen.send(asked);
            let answer = format!("HTTP/1.1 {status} X\r\n{location}Content-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            wait_for_close(stream);
        })
    }

    fn following(address: SocketAddr, redirects: u8) -> Question {
        let host = address.ip().to_string();
        changed(http(address, &host, None), |check| check.redirects = redirects)
    }

    #[tokio::test]
    async fn they_are_followed_as_often_as_is_allowed() {
        let (seen, _) = mpsc::channel();
        let address = site(seen, |path, _| match path {
            "/healthz?full=1" => (302, Some("/2".into())),
            "/2" => (308, Some("3".into())),
            "/3" => (307, Some("/end".into())),
            _ => (200, None),
        });
        assert_eq!(pass(following(address, 3)).await, "200 OK");
        assert_eq!(
            fail(following(address, 2)).await,
            format!("http://{address}/3: 307 Temporary Redirect to /end, and 2 were followed")
        );
        assert_eq!(fail(following(address, 0)).await, "302 Found, wanted 200");
        let wanted = changed(following(address, 0), |check| check.status = vec![(302, 302)]);
        assert_eq!(pass(wanted).await, "302 Found");
    }

    #[tokio::test]
    async fn a_token_in_a_location_is_in_no_cause() {
        let (seen, _) = mpsc::channel();
        let address = site(seen, |path, _| match path {
            "/healthz?full=1" => (302, Some("/next?token=S3CRET".into())),
            "/next?token=S3CRET" => (302, Some("/healthz?full=1".into())),
            "/ftp" => (302, Some("ftp://me:S3CRET@x/?S3CRET".into())),
            _ => (404, None),
        });
        let at = |path: &str, most| changed(following(address, most), |check| check.path = path.into());
        let first = format!("http://{address}/next?token=***");
        assert_eq!(
            fail(at("/healthz?full=1", 1)).await,
            format!("{first}: 302 Found to /healthz?full=***, and 1 were followed")
        );
        assert_eq!(
            fail(at("/healthz?full=1", 9)).await,
            format!("the redirects go round in circles, back to http://{address}/healthz?full=***")
        );
        assert_eq!(fail(at("/ftp", 9)).await, "302 Found leads nowhere: \"ftp://***@x/?***\"");
    }

    #[tokio::test]
    async fn circles_and_dead_ends_are_named() {
        let (seen, _) = mpsc::channel();
        let address = site(seen, |path, _| match path {
            "/healthz?full=1" => (301, Some("/a".into())),
            "/a" => (301, Some("/b".into())),
            "/b" => (301, Some("/a".into())),
            "/none" => (301, None),
            "/ftp" => (301, Some("ftp://x/".into())),
            "/gone" => (301, Some("/404".into())),
            _ => (404, None),
        });
        assert_eq!(
            fail(following(address, 10)).await,
            format!("the redirects go round in circles, back to http://{address}/a")
        );
        let at = |path: &str| changed(following(address, 1), |check| check.path = path.into());
        assert_eq!(fail(at("/none")).await, "301 Moved Permanently, wanted 200");
        assert_eq!(fail(at("/ftp")).await, "301 Moved Permanently leads nowhere: \"ftp://x/\"");
        assert_eq!(fail(at("/gone")).await, format!("http://{address}/404: 404 Not Found, wanted 200"));
        let refused = format!("http://{}/", closed_port());
        let to = refused.clone();
        let (seen, _) = mpsc::channel();
        let leading_away = site(seen, move |_, _| (302, Some(to.clone())));
        assert_eq!(fail(following(leading_away, 1)).await, format!("{refused}: connection refused"));
    }

    #[tokio::test]
    async fn another_host_is_told_no_secrets() {
        let (seen, asked) = mpsc::channel();
        let address = site(seen, |path, here| match path {
            "/healthz?full=1" => (302, Some("/same".into())),
            "/same" => (302, Some(format!("http://localhost:{}/other", here.port()))),
            _ => (200, None),
        });
        let kind = changed(following(address, 2), |check| {
            let secret = HeaderValue::from_static("s3cret");
            check.headers = vec![(HeaderName::from_static("x-token"), secret)];
        });
        assert_eq!(pass(kind).await, "200 OK");
        let told: Vec<bool> = asked.iter().take(3).map(|asked| asked.contains("x-token: s3cret")).collect();
        assert_eq!(told, [true, true, false]);
    }
}

#[tokio::test]
async fn a_probe_in_plain_text_takes_little_room_while_it_hangs() {
    let shared = crate::check::shared::Shared::new().0;
    let via = vipcast_node::model::Via::default();
    let (owner, remark) = (Owner::nobody(&"up".into()), OnceLock::new());
    let limit = Limit::starting_now(PATIENT);
    let last_read = LastRead::default();
    let context = ProbeContext {
        limit,
        resolver: &shared.resolver,
        via: &via,
        owner: &owner,
        here: &shared.here,
        remark: &remark,
        file_reader: &shared.file_reader,
        last_read: &last_read,
    };
    let check: HttpCheck = definition_of(&plain(closed_port()));
    let trust = Trust::new(Some(&check.tls), &shared.system_trust);
    // A thousand that hang are in memory at the same time.
    let room = size_of_val(&super::probe(&check, context, &trust));
    assert!(room <= 8 * 1024, "{room} bytes");
}
