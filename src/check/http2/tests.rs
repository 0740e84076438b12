use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use h2::server::SendResponse;
use hyper::HeaderMap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use vipcast_node::model::Question;

use super::*;
use crate::check::kinds::http::{HttpCheck, HttpVersion, Method};
use crate::check::pattern::Pattern;
use crate::check::probe::tests::{
    answer, asked, closed_port, definition_of, fail, http, pass, request, server, time_out, wait_for_close,
};
use crate::check::tls::TlsOptions;
use crate::check::tls::tests::{Authority, served};

/// An HTTP/2 server that treats every request with `serve`.
pub(in crate::check) fn h2_server(
    tls: Option<Arc<ServerConfig>>,
    serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) + Clone + Send + Sync + 'static,
) -> SocketAddr {
    server(move |stream| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            stream.set_nonblocking(true).unwrap();
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            match &tls {
                None => treat(stream, &serve).await,
                Some(config) => {
                    if let Ok(stream) = TlsAcceptor::from(Arc::clone(config)).accept(stream).await {
                        treat(stream, &serve).await;
                    }
                }
            }
        });
    })
}

async fn treat(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    serve: &impl Fn(Request<RecvStream>, SendResponse<Bytes>),
) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        serve(request, respond);
    }
}

/// An answer with these headers, this body and, if there are any, these trailers.
pub(in crate::check) fn respond(
    mut to: SendResponse<Bytes>,
    status: u16,
    headers: &[(&'static str, &str)],
    body: &[u8],
    trailers: Option<&[(&'static str, &str)]>,
) {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    let answer = answer.body(()).unwrap();
    if body.is_empty() && trailers.is_none() {
        to.send_response(answer, true).unwrap();
        return;
    }
    let mut stream = to.send_response(answer, false).unwrap();
    stream.send_data(Bytes::copy_from_slice(body), trailers.is_none()).unwrap();
    if let Some(trailers) = trailers {
        let trailers: HeaderMap =
            trailers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect();
        stream.send_trailers(trailers).unwrap();
    }
}

/// Sends these frames as soon as a client says hello, after our own settings.
fn frames(frames: &'static [u8]) -> SocketAddr {
    server(move |mut stream| {
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        stream.write_all(frames).unwrap();
        wait_for_close(stream);
    })
}

/// Reads the preface and frames up to a HEADERS.
fn until_asked(stream: &mut std::net::TcpStream) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).unwrap();
    let mut head = [0; 9];
    while head[3] != 1 {
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).unwrap();
    }
}

fn h2(address: SocketAddr, tls: Option<TlsOptions>) -> Question {
    let mut check: HttpCheck = definition_of(&http(address, "web.example", tls));
    check.version = HttpVersion::Http2;
    asked(check)
}

fn wanting(address: SocketAddr, body: &str) -> Question {
    let mut check: HttpCheck = definition_of(&h2(address, None));
    check.body = Some(Pattern::Text(body.into()));
    asked(check)
}

/// For both, which h2 does not tell apart.
const CUT_OFF: &str = "the answer is not HTTP/2, or its head is longer than 32 KiB";

fn healthy(asked: Request<RecvStream>, to: SendResponse<Bytes>) {
    assert_eq!(asked.uri().path_and_query().unwrap(), "/healthz?full=1");
    assert_eq!(asked.uri().authority().unwrap(), "web.example");
    assert_eq!(asked.headers()["accept"], "*/*");
    assert!(!asked.headers().contains_key("host") && !asked.headers().contains_key("connection"));
    respond(to, 200, &[], b"all is ready", None);
}

#[tokio::test]
async fn the_status_decides_in_plain_text_and_over_tls() {
    assert_eq!(pass(h2(h2_server(None, healthy), None)).await, "200 OK");
    let sick = h2_server(None, |_, to| respond(to, 503, &[], b"", None));
    assert_eq!(fail(h2(sick, None)).await, "503 Service Unavailable, wanted 200");

    let authority = Authority::new("http2");
    let mut certificate = served(Duration::from_secs(86_400));
    certificate.alpn = vec![b"h2".into()];
    let config = authority.config(certificate);
    assert_eq!(pass(h2(h2_server(Some(config), healthy), authority.trusted())).await, "200 OK");
}

#[tokio::test]
async fn a_body_is_sent_and_looked_at() {
    let echo = h2_server(None, |mut asked, to| {
        assert_eq!(asked.method(), "POST");
        tokio::spawn(async move {
            let mut body = Vec::new();
            while let Some(Ok(piece)) = asked.body_mut().data().await {
                body.extend_from_slice(&piece);
            }
            respond(to, 200, &[], &body, None);
        });
    });
    let mut check: HttpCheck = definition_of(&wanting(echo, "ping"));
    check.method = Method::Post;
    check.request_body = "ping".into();
    assert_eq!(pass(asked(check)).await, "200 OK");
    assert_eq!(pass(wanting(h2_server(None, healthy), "ready")).await, "200 OK");
    assert_eq!(
        fail(wanting(h2_server(None, healthy), "steady")).await,
        r#"200 OK, but "steady" is not in the body"#
    );
    let long = h2_server(None, |_, to| respond(to, 200, &[], &vec![b'x'; 1 << 20], None));
    assert_eq!(fail(wanting(long, "y")).await, r#"200 OK, but "y" is not in the first 64 KiB of the body"#);
}

#[tokio::test]
async fn i5_a_body_that_does_not_end() {
    let half = h2_server(None, |_, mut to| {
        let mut stream = to.send_response(Response::new(()), false).unwrap();
        stream.send_data("all is".into(), false).unwrap();
        tokio::spawn(async move {
            let _open = stream;
            std::future::pending::<()>().await;
        });
    });
    assert_eq!(time_out(wanting(half, "ready")).await, "200 OK, but the body did not end within 200 ms");
}

#[tokio::test]
async fn whoever_speaks_something_else_is_found_out() {
    let authority = Authority::new("http1");
    let old = server(|stream| answer(stream, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(fail(h2(old, None)).await, "the answer is not HTTP/2: FRAME_SIZE_ERROR");
    let config = authority.config(served(Duration::from_secs(86_400)));
    let no_alpn = h2_server(Some(config), healthy);
    assert_eq!(fail(h2(no_alpn, authority.trusted())).await, "the server does not speak h2 on this port");
    let mut certificate = served(Duration::from_secs(86_400));
    certificate.alpn = vec![b"http/1.1".into()];
    let only_old = h2_server(Some(authority.config(certificate)), healthy);
    assert_eq!(fail(h2(only_old, authority.trusted())).await, "the server does not speak h2 on this port");
}

#[tokio::test]
async fn a_server_that_refuses_us_after_the_handshake_is_heard() {
    let authority = Authority::new("h2-refusing");
    let mut certificate = served(Duration::from_secs(86_400));
    certificate.alpn = vec![b"h2".into()];
    certificate.clients = Some(authority.file.clone());
    let address = h2_server(Some(authority.config(certificate)), healthy);
    for _ in 0..50 {
        let detail = fail(h2(address, authority.trusted())).await;
        // It closes at once, so that its alert may be lost on the way.
        let words = [
            "the server demands a client certificate",
            "connection reset by peer; the server had asked for a client certificate",
            "connection closed before the answer; the server had asked for a client certificate",
        ];
        assert!(words.contains(&&*detail), "{detail}");
    }
}

#[tokio::test]
async fn nobody_or_nothing_there() {
    assert_eq!(fail(h2(closed_port(), None)).await, "connection refused");
    assert_eq!(time_out(h2(server(wait_for_close), None)).await, "no answer within 200 ms");
    let closing = server(|mut stream| drop(request(&mut stream)));
    let detail = fail(h2(closing, None)).await;
    assert!(
        ["connection closed before the answer", "connection reset by peer"].contains(&&*detail),
        "{detail}"
    );
}

#[tokio::test]
async fn whoever_breaks_off_is_told() {
    let reset = h2_server(None, |_, mut to| to.send_reset(Reason::REFUSED_STREAM));
    assert_eq!(fail(h2(reset, None)).await, "the server broke the request off (RST_STREAM): REFUSED_STREAM");
    // GOAWAY, the last stream is 0, the reason ENHANCE_YOUR_CALM.
    let away = frames(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11]);
    assert_eq!(fail(h2(away, None)).await, "the server broke the connection off (GOAWAY): ENHANCE_YOUR_CALM");
    // HEADERS of a stream that nobody has opened.
    let garbage = frames(&[0, 0, 1, 1, 4, 0, 0, 0, 9, 0x88]);
    assert_eq!(fail(h2(garbage, None)).await, CUT_OFF);
}

#[tokio::test]
async fn i5_endless_headers_are_cut_off() {
    let long = h2_server(None, |_, to| {
        let value = "x".repeat(8 * 1024);
        let names = ["a", "b", "c", "d", "e"];
        respond(to, 200, &names.map(|name| (name, value.as_str())), b"", None);
    });
    assert_eq!(fail(h2(long, None)).await, CUT_OFF);
    // HEADERS without END_HEADERS, and no end of CONTINUATION.
    let endless = server(|mut stream| {
        until_asked(&mut stream);
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        let mut sent = stream.write_all(&[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x88]);
        while sent.is_ok() {
            let mut frame = vec![0, 0x20, 0, 9, 0, 0, 0, 0, 1];
            // A literal header field that is never indexed, again and again.
            while frame.len() < 0x2000 + 9 {
                frame.extend_from_slice(&[0x10, 1, b'a', 1, b'b']);
            }
            frame.truncate(0x2000 + 9);
            sent = stream.write_all(&frame);
        }
    });
    assert_eq!(fail(h2(endless, None)).await, CUT_OFF);
}
