use std::net::SocketAddr;
use std::time::Duration;

use h2::Reason;
use vipcast_node::model::Question;

use super::*;
use crate::check::http2::tests::{h2_server, respond};
use crate::check::probe::tests::{
    answer, asked, closed_port, fail, pass, server, target, time_out, wait_for_close,
};
use crate::check::target::Dial;
use crate::check::tls::TlsOptions;
use crate::check::tls::tests::{Authority, served};

const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");
const OK: &[(&str, &str)] = &[("grpc-status", "0")];
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

fn grpc(address: SocketAddr, service: &str, tls: Option<TlsOptions>) -> Question {
    asked(GrpcCheck {
        dial: Dial::PLAIN,
        target: target(address),
        host: "web.example".into(),
        service: service.into(),
        authority: "web.example:50051".into(),
        tls,
    })
}

/// A server that always answers like this.
fn answering(
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
    trailers: Option<&'static [(&'static str, &'static str)]>,
) -> Question {
    grpc(h2_server(None, move |_, to| respond(to, 200, headers, body, trailers)), "a.B", None)
}

#[tokio::test]
async fn a_service_that_is_serving_passes_and_is_asked_as_the_protocol_says() {
    let serve = |mut asked: Request<RecvStream>, to| {
        tokio::spawn(async move {
            assert_eq!(asked.method(), "POST");
            assert_eq!(asked.uri().authority().unwrap(), "web.example:50051");
            assert_eq!(asked.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(asked.headers()["content-type"], "application/grpc");
            assert_eq!(asked.headers()["te"], "trailers");
            assert_eq!(asked.headers()["grpc-timeout"], "20000m");
            assert_eq!(asked.body_mut().data().await.unwrap().unwrap(), message::request("a.B"));
            respond(to, 200, &[GRPC], SERVING, Some(OK));
        });
    };
    assert_eq!(pass(grpc(h2_server(None, serve), "a.B", None)).await, "SERVING");
    let authority = Authority::new("grpc");
    let mut certificate = served(Duration::from_secs(86_400));
    certificate.alpn = vec![b"h2".into()];
    let address = h2_server(Some(authority.config(certificate)), serve);
    assert_eq!(pass(grpc(address, "a.B", authority.trusted())).await, "SERVING");
}

#[tokio::test]
async fn every_other_status_fails_by_its_name() {
    let status = |body| fail(answering(&[GRPC], body, Some(OK)));
    assert_eq!(status(&[0, 0, 0, 0, 2, 8, 2]).await, "NOT_SERVING, wanted SERVING");
    assert_eq!(status(&[0, 0, 0, 0, 0]).await, "UNKNOWN, wanted SERVING");
    assert_eq!(status(&[0, 0, 0, 0, 2, 8, 3]).await, "SERVICE_UNKNOWN, wanted SERVING");
    assert_eq!(status(&[0, 0, 0, 0, 2, 8, 9]).await, "status 9, wanted SERVING");
}

#[tokio::test]
async fn errors_of_grpc_are_told_with_what_the_server_said() {
    let only_trailers = |headers| fail(answering(headers, b"", None));
    assert_eq!(
        only_trailers(&[GRPC, ("grpc-status", "5"), ("grpc-message", "unknown%20service%21")]).await,
        "the server does not know the service \"a.B\": unknown service!"
    );
    assert_eq!(
        only_trailers(&[GRPC, ("grpc-status", "12")]).await,
        "the server has no health service (UNIMPLEMENTED)"
    );
    assert_eq!(
        only_trailers(&[GRPC, ("grpc-status", "99"), ("grpc-message", "100%")]).await,
        "grpc-status 99: 100%"
    );
    assert_eq!(only_trailers(&[GRPC, ("grpc-status", "0")]).await, "the answer is empty");
    let late: &[_] = &[("grpc-status", "14"), ("grpc-message", "draining")];
    assert_eq!(fail(answering(&[GRPC], SERVING, Some(late))).await, "UNAVAILABLE: draining");
}

#[tokio::test]
async fn what_is_not_grpc_is_told() {
    assert_eq!(
        fail(answering(&[GRPC], SERVING, None)).await,
        "the answer has no trailers, and so no grpc-status"
    );
    assert_eq!(
        fail(answering(&[GRPC], SERVING, Some(&[("x", "y")]))).await,
        "the trailers of the answer have no grpc-status"
    );
    assert_eq!(
        fail(answering(&[("content-type", "text/html")], b"<html>", None)).await,
        "the answer is not gRPC, it has the content type text/html"
    );
    assert_eq!(fail(answering(&[], b"", None)).await, "the answer is not gRPC, it has no content type");
    let missing = h2_server(None, |_, to| respond(to, 404, &[], b"", None));
    assert_eq!(fail(grpc(missing, "", None)).await, "404 Not Found, wanted an answer of gRPC");
    assert_eq!(fail(answering(&[GRPC], b"", Some(OK))).await, "the answer is empty");
    assert_eq!(fail(answering(&[GRPC], b"garbage", Some(OK))).await, "the answer is compressed");
    assert_eq!(
        fail(answering(&[GRPC], &[0, 0, 0, 0, 9, 8, 1], Some(OK))).await,
        "the answer is no message of the health protocol"
    );
    let old = server(|stream| answer(stream, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(fail(grpc(old, "", None)).await, "the answer is not HTTP/2: FRAME_SIZE_ERROR");
}

#[tokio::test]
async fn nobody_or_nothing_there() {
    assert_eq!(fail(grpc(closed_port(), "", None)).await, "connection refused");
    assert_eq!(time_out(grpc(server(wait_for_close), "", None)).await, "no answer within 200 ms");
    let insecure = Some(TlsOptions { insecure: true, ..TlsOptions::default() });
    let silent = grpc(server(wait_for_close), "", insecure);
    assert_eq!(time_out(silent).await, "no TLS handshake within 200 ms");
    let reset = h2_server(None, |_, mut to| to.send_reset(Reason::INTERNAL_ERROR));
    assert_eq!(
        fail(grpc(reset, "", None)).await,
        "the server broke the request off (RST_STREAM): INTERNAL_ERROR"
    );
}

#[tokio::test]
async fn i5_an_answer_that_does_not_end() {
    let endless = h2_server(None, |_, to| respond(to, 200, &[GRPC], &[0; 100_000], Some(OK)));
    assert_eq!(fail(grpc(endless, "", None)).await, "the answer is longer than 4 KiB");
    let half = h2_server(None, |_, mut to| {
        let head = Response::builder().header(GRPC.0, GRPC.1).body(()).unwrap();
        let mut stream = to.send_response(head, false).unwrap();
        stream.send_data(Bytes::from_static(SERVING), false).unwrap();
        tokio::spawn(async move {
            let _open = stream;
            std::future::pending::<()>().await;
        });
    });
    assert_eq!(time_out(grpc(half, "", None)).await, "no answer within 200 ms");
}

#[test]
fn a_message_is_decoded_as_far_as_it_is_encoded() {
    assert_eq!(decoded("a%20b%C3%A9%"), "a bé%");
    assert_eq!(decoded("%zz%+1%4"), "%zz%+1%4");
}
