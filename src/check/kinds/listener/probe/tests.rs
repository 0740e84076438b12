use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use futures_util::FutureExt as _;
use socket2::{Domain, Socket, Type};
use vipcast_node::model::Question;

use super::*;
use crate::check::probe::Prober;
use crate::check::probe::tests::{PATIENT, asked, check, fail, pass};
use crate::check::shared::Shared;
use crate::check::target::Transport;

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn listener(transport: Transport, port: u16, address: Option<&str>) -> Question {
    asked(of(transport, port, address))
}

fn of(transport: Transport, port: u16, address: Option<&str>) -> ListenerCheck {
    ListenerCheck { transport, port, address: address.map(|address| address.parse().unwrap()) }
}

fn listening<const N: usize>(sockets: [(&str, bool); N]) -> BTreeSet<Listening> {
    sockets.map(|(address, only_v6)| Listening { address: address.parse().unwrap(), only_v6 }).into()
}

/// A socket of IPv6 that takes IPv4, too, or does not.
fn any_v6(kind: Type, only_v6: bool) -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV6, kind, None).unwrap();
    socket.set_only_v6(only_v6).unwrap();
    socket.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    if kind == Type::STREAM {
        socket.listen(1).unwrap();
    }
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

#[test]
fn an_address_is_covered_by_itself_and_by_the_wildcards_of_its_family() {
    let table = [
        (None, listening([]), Err("no program listens on tcp 80")),
        (None, listening([("0.0.0.0", false)]), Ok("a program listens on tcp 80 (0.0.0.0)")),
        (
            None,
            listening([
                ("127.0.0.1", false),
                ("192.0.2.1", false),
                ("192.0.2.2", false),
                ("::", true),
                ("::1", false),
            ]),
            Ok("a program listens on tcp 80 (127.0.0.1, 192.0.2.1, 192.0.2.2 and 2 more)"),
        ),
        (Some("192.0.2.10"), listening([]), Err("no program listens on tcp 192.0.2.10:80")),
        (
            Some("192.0.2.10"),
            listening([("192.0.2.10", false), ("0.0.0.0", false)]),
            Ok("a program listens on tcp 192.0.2.10:80"),
        ),
        (
            Some("192.0.2.10"),
            listening([("0.0.0.0", false)]),
            Ok("a program listens on tcp 192.0.2.10:80 (0.0.0.0)"),
        ),
        (Some("192.0.2.10"), listening([("::", false)]), Ok("a program listens on tcp 192.0.2.10:80 (::)")),
        (
            Some("192.0.2.10"),
            listening([("::ffff:192.0.2.10", false)]),
            Ok("a program listens on tcp 192.0.2.10:80 (::ffff:192.0.2.10)"),
        ),
        (
            Some("192.0.2.10"),
            listening([("::", true), ("127.0.0.1", false)]),
            Err("no program listens on tcp 192.0.2.10:80, only on 127.0.0.1:80, [::]:80 (IPv6 alone)"),
        ),
        (
            Some("2001:db8::10"),
            listening([("::", true)]),
            Ok("a program listens on tcp [2001:db8::10]:80 (::)"),
        ),
        (
            Some("2001:db8::10"),
            listening([("0.0.0.0", false)]),
            Err("no program listens on tcp [2001:db8::10]:80, only on 0.0.0.0:80"),
        ),
        (
            Some("2001:db8::10"),
            listening([("2001:db8::10", false)]),
            Ok("a program listens on tcp [2001:db8::10]:80"),
        ),
        (
            Some("2001:db8::10"),
            listening([("2001:db8::11", false)]),
            Err("no program listens on tcp [2001:db8::10]:80, only on [2001:db8::11]:80"),
        ),
    ];
    for (address, sockets, expected) in table {
        let judged = judge(&of(Transport::Tcp, 80, address), &sockets);
        assert_eq!(judged.as_deref().map_err(|error| error.as_str()), expected, "{address:?} {sockets:?}");
    }
}

#[tokio::test]
async fn the_kernel_tells_sockets_that_listen_from_others() {
    let (_held, port, tcp) = std::iter::repeat_with(held)
        .find_map(|(held, port)| Some((held, port, TcpListener::bind((LOCAL.ip(), port)).ok()?)))
        .unwrap();
    assert_eq!(
        pass(listener(Transport::Tcp, port, None)).await,
        format!("a program listens on tcp {port} (127.0.0.1)")
    );
    assert_eq!(
        fail(listener(Transport::Tcp, port, Some("192.0.2.10"))).await,
        format!("no program listens on tcp 192.0.2.10:{port}, only on 127.0.0.1:{port}")
    );
    assert_eq!(fail(listener(Transport::Udp, port, None)).await, format!("no program listens on udp {port}"));
    // A connection has the port, too, and listens no more than a client does.
    let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let (_server, _) = tcp.accept().unwrap();
    drop(tcp);
    assert_eq!(fail(listener(Transport::Tcp, port, None)).await, format!("no program listens on tcp {port}"));
    drop(client);

    let udp = UdpSocket::bind(LOCAL).unwrap();
    let port = udp.local_addr().unwrap().port();
    assert_eq!(
        pass(listener(Transport::Udp, port, Some("127.0.0.1"))).await,
        format!("a program listens on udp 127.0.0.1:{port}")
    );
    udp.connect(UdpSocket::bind(LOCAL).unwrap().local_addr().unwrap()).unwrap();
    assert_eq!(fail(listener(Transport::Udp, port, None)).await, format!("no program listens on udp {port}"));
}

#[tokio::test]
async fn a_socket_of_ipv6_takes_ipv4_unless_it_says_otherwise() {
    for (kind, transport) in [(Type::STREAM, Transport::Tcp), (Type::DGRAM, Transport::Udp)] {
        let (_both, port) = any_v6(kind, false);
        assert_eq!(
            pass(listener(transport, port, Some("192.0.2.10"))).await,
            format!("a program listens on {transport} 192.0.2.10:{port} (::)")
        );
        let (_only, port) = any_v6(kind, true);
        let failed = fail(listener(transport, port, Some("192.0.2.10"))).await;
        assert!(
            failed.starts_with(&format!("no program listens on {transport} 192.0.2.10:{port}, only on ")),
            "{failed}"
        );
        // Another test may have the port of an address of IPv4.
        assert!(failed.contains(&format!("[::]:{port} (IPv6 alone)")), "{failed}");
        pass(listener(transport, port, Some("2001:db8::10"))).await;
    }
}

fn prober(kind: Question, listeners: &Listeners) -> Prober {
    let (shared, _drained) = Shared::new();
    shared.of_kind(|| listeners.clone());
    Prober::new("web".into(), Arc::new(check(kind, PATIENT)), shared)
}

#[tokio::test]
async fn the_end_of_a_socket_is_told_and_any_that_is_left_keeps_it_up() {
    for (kind, transport) in [(Type::STREAM, Transport::Tcp), (Type::DGRAM, Transport::Udp)] {
        let socket = |port| {
            let socket = Socket::new(Domain::IPV4, kind, None).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(&SocketAddr::new(LOCAL.ip(), port).into()).unwrap();
            if kind == Type::STREAM {
                socket.listen(1).unwrap();
            }
            socket
        };
        let old = socket(0);
        let port = old.local_addr().unwrap().as_socket().unwrap().port();
        let mut prober = prober(listener(transport, port, None), &Listeners::default());
        assert!(prober.probe().await.passed);
        let new = socket(port);
        drop(old);
        tokio::time::timeout(PATIENT, prober.changed()).await.expect("not told of the old one");
        assert!(prober.probe().await.passed, "the new one listens");
        drop(new);
        tokio::time::timeout(PATIENT, prober.changed()).await.expect("not told of the new one");
        assert_eq!(prober.probe().await.detail, format!("no program listens on {transport} {port}"));
    }
}

#[tokio::test]
async fn i4_a_busy_server_that_closes_its_connections_wakes_nobody() {
    // Sockets of other tests end meanwhile. More of them than fit into the buffer of events wake everybody.
    for _ in 0..20 {
        if let Some(woken) = is_woken_by_connections().await {
            return assert!(!woken, "a closed connection wakes the check of its listener");
        }
    }
    panic!("the events of this host overflow every time");
}

/// Whether the end of connections wakes the check of their listener; `None`: events were lost meanwhile.
async fn is_woken_by_connections() -> Option<bool> {
    let listeners = Listeners::default();
    let (busy, other) = (TcpListener::bind(LOCAL).unwrap(), UdpSocket::bind(LOCAL).unwrap());
    let address = busy.local_addr().unwrap();
    let of_busy = listeners.subscribe(&of(Transport::Tcp, address.port(), None));
    let of_other = listeners.subscribe(&of(Transport::Udp, other.local_addr().unwrap().port(), None));
    // Nobody can listen there: only an overflow wakes it.
    let of_nobody = listeners.subscribe(&of(Transport::Tcp, 0, None));
    tokio::task::yield_now().await;
    for _ in 0..200 {
        let client = Socket::from(TcpStream::connect(address).unwrap());
        // No TIME_WAIT: both sockets are gone at once.
        client.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop((client, busy.accept().unwrap()));
    }
    drop(other);
    // Events come in order, so all of the above have arrived.
    tokio::time::timeout(PATIENT, of_other.notified()).await.expect("not told of the other one");
    let woken = of_busy.notified().now_or_never().is_some();
    if of_nobody.notified().now_or_never().is_some() {
        return None;
    }
    drop(busy);
    tokio::time::timeout(PATIENT, of_busy.notified()).await.expect("not told of the busy one");
    Some(woken)
}

#[tokio::test]
async fn i4_checks_that_ask_together_share_a_dump_of_many_parts() {
    // More than the kernel writes at a time.
    let sockets: Vec<_> = (0..600).map(|_| UdpSocket::bind(LOCAL).unwrap()).collect();
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let listeners = Listeners::default();
    let dumps = monitor::Dump::take(Transport::Udp, None, &Asker::default()).await.unwrap();
    assert!(dumps.may_lack_some);
    assert!(sockets.iter().all(|socket| dumps.judge(&of(Transport::Udp, port(socket), None)).is_ok()));
    let limit = Limit::starting_now(PATIENT);
    let (_held, closed) = held();
    let nobody = of(Transport::Udp, closed, None);
    let asked = sockets.iter().map(|socket| of(Transport::Udp, port(socket), None)).chain([nobody]);
    let answers = asked.map(|check| {
        let listeners = listeners.clone();
        tokio::spawn(async move { probe(&check, &listeners, limit).await })
    });
    // The monitor lives while somebody has a subscription.
    let _subscription = listeners.subscribe(&of(Transport::Udp, port(&sockets[0]), None));
    let answers = futures_util::future::join_all(answers.collect::<Vec<_>>()).await;
    let failed: Vec<_> = answers.into_iter().filter_map(|answer| answer.unwrap().err()).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].starts_with("no program listens on udp"), "{failed:?}");
}

/// A port of UDP that nobody listens on, and that no other test can take: its socket has a peer.
fn held() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind(LOCAL).unwrap();
    let port = socket.local_addr().unwrap().port();
    socket.connect(SocketAddr::new(LOCAL.ip(), 9)).unwrap();
    (socket, port)
}
