use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::check::probe::tests::{SHORT, closed_port, fail, pass, server, tcp, time_out, wait_for_close};
use crate::config::model::CheckKind;

#[tokio::test]
async fn a_listener_passes() {
    assert_eq!(pass(tcp(server(wait_for_close))).await, "connected");
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    assert_eq!(fail(tcp(closed_port())).await, "connection refused");
}

#[tokio::test]
async fn packets_that_are_swallowed_end_in_the_time_out() {
    // A listener whose backlog is full drops the SYN.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut backlog = Vec::new();
    let full = loop {
        match tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
            Ok(stream) => backlog.push(stream.unwrap()),
            Err(_) => break true,
        }
    };
    assert!(full);
    assert_eq!(time_out(tcp(address)).await, "no connection within 200 ms");
}

#[tokio::test]
async fn a_name_is_looked_up_and_every_address_is_tried() {
    // localhost may be ::1 first, where nobody listens.
    let address = server(wait_for_close);
    let by_name = |host: &str, port| CheckKind::Tcp(TcpCheck { target: Target { host: host.into(), port } });
    assert_eq!(pass(by_name("localhost", address.port())).await, "connected");
    let refused = fail(by_name("localhost", closed_port().port())).await;
    assert!(["127.0.0.1: connection refused", "::1: connection refused"].contains(&&*refused), "{refused}");
    let unknown = crate::check::probe::tests::outcome(by_name("no.such.host.invalid", 80), SHORT).await;
    assert!(unknown.detail.starts_with("cannot resolve \"no.such.host.invalid\": "), "{}", unknown.detail);
}

#[tokio::test]
async fn a_connection_to_itself_is_seen_as_what_it_is() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let own = socket.local_addr().unwrap();
    let stream = socket.connect(own).await.unwrap();
    assert!(is_connected_to_itself(&stream).unwrap());

    let other = TcpStream::connect(server(wait_for_close)).await.unwrap();
    assert!(!is_connected_to_itself(&other).unwrap());
}

#[test]
fn i5_hanging_probe_fails_at_its_timeout_and_frees_its_socket() {
    let (closed, was_closed) = std::sync::mpsc::channel();
    let address = server(move |stream| {
        wait_for_close(stream);
        closed.send(()).unwrap();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kind = crate::check::probe::tests::http(address, "web", None);
        assert_eq!(time_out(kind).await, "no answer within 200 ms");
        // Nothing is left to the runtime: the socket went with the probe.
        was_closed.recv_timeout(crate::check::probe::tests::PATIENT).unwrap();
    });
}
