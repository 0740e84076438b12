use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

use crate::check::probe::tests::{SHORT, closed_port, fail, pass, server, tcp, time_out, wait_for_close};

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
