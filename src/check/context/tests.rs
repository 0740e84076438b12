use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::check::kinds::tcp::TcpCheck;
use crate::check::probe::tests::{PATIENT, SHORT, asked, closed_port, fail, pass, server, wait_for_close};

#[tokio::test]
async fn a_name_is_looked_up_and_every_address_is_tried() {
    // localhost may be ::1 first, where nobody listens.
    let address = server(wait_for_close);
    let by_name = |host: &str, port| asked(TcpCheck::connecting(Target { host: host.into(), port }));
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
    assert!(is_to_itself((stream.local_addr().unwrap(), stream.peer_addr().unwrap())));

    let other = TcpStream::connect(server(wait_for_close)).await.unwrap();
    assert!(!is_to_itself((other.local_addr().unwrap(), other.peer_addr().unwrap())));
}

#[tokio::test]
async fn what_the_network_says_while_we_wait_ends_the_wait() {
    let to = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let resolver = Resolver::system();
    let via = Via::default();
    let (owner, remark) = (Owner::nobody(&"up".into()), OnceLock::new());
    let limit = Limit::starting_now(PATIENT);
    let (file_reader, last_read) = (FileReader::default(), LastRead::default());
    let context = ProbeContext {
        limit,
        resolver: &resolver,
        via: &via,
        owner: &owner,
        here: &Here::default(),
        remark: &remark,
        file_reader: &file_reader,
        last_read: &last_read,
    };
    let socket = context.datagrams(to.local_addr().unwrap()).await.unwrap();
    let sending = socket2::SockRef::from(&socket).try_clone().unwrap();
    let mut buffer = [0; 16];
    let (heard, ()) = tokio::join!(tokio::time::timeout(PATIENT / 4, socket.recv(&mut buffer)), async {
        // By now the other waits.
        drop(to);
        tokio::task::spawn_blocking(move || sending.send(b"x")).await.unwrap().unwrap();
    });
    assert_eq!(heard.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}
