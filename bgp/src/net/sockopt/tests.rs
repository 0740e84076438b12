//! The kernel's behaviour with the options, over loopback.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::*;

const QUICK: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(20);

fn secret(key: &str) -> Secret {
    Secret::new(key.as_bytes()).unwrap()
}

/// A listening socket, and one that may connect to it.
fn pair(ip: IpAddr) -> (Socket, Socket, SockAddr) {
    let at = SocketAddr::new(ip, 0);
    let listener = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    listener.bind(&at.into()).unwrap();
    listener.listen(8).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap(), address)
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

#[test]
fn equal_md5_keys_connect_and_others_do_not() {
    for ip in LOOPBACK {
        let cases = [(Some("one"), "one", true), (Some("one"), "two", false), (None, "one", false)];
        for (ours, theirs, connects) in cases {
            let (listener, socket, address) = pair(ip);
            set_md5_key(&SockRef::from(&listener), ip, &secret(theirs)).unwrap();
            if let Some(ours) = ours {
                set_md5_key(&SockRef::from(&socket), ip, &secret(ours)).unwrap();
            }
            let result = socket.connect_timeout(&address, if connects { LONG } else { QUICK });
            assert_eq!(result.is_ok(), connects, "{ip} {ours:?} {theirs}: {result:?}");
        }
    }
}

#[test]
fn a_signed_connection_is_not_answered_where_no_key_is_and_a_cleared_key_is_none() {
    for ip in LOOPBACK {
        let (listener, socket, address) = pair(ip);
        set_md5_key(&SockRef::from(&socket), ip, &secret("one")).unwrap();
        let error = socket.connect_timeout(&address, QUICK).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{ip}");
        let (_, socket, _) = pair(ip);
        set_md5_key(&SockRef::from(&listener), ip, &secret("one")).unwrap();
        clear_md5_key(&SockRef::from(&listener), ip).unwrap();
        socket.connect_timeout(&address, LONG).unwrap();
        let error = clear_md5_key(&SockRef::from(&listener), ip).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{ip}");
    }
}

/// A socket that takes both families knows an IPv4 peer as `::ffff:127.0.0.1`.
#[test]
fn an_ipv4_peer_of_an_ipv6_socket_has_its_key() {
    let listener = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    listener.set_only_v6(false).unwrap();
    listener.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
    listener.listen(8).unwrap();
    let port = listener.local_addr().unwrap().as_socket().unwrap().port();
    let v4 = IpAddr::from(Ipv4Addr::LOCALHOST);
    set_md5_key(&SockRef::from(&listener), v4, &secret("one")).unwrap();
    let address = SocketAddr::new(v4, port).into();
    for (key, connects) in [("one", true), ("two", false)] {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        set_md5_key(&SockRef::from(&socket), v4, &secret(key)).unwrap();
        let result = socket.connect_timeout(&address, if connects { LONG } else { QUICK });
        assert_eq!(result.is_ok(), connects, "{key}: {result:?}");
    }
}

#[test]
fn a_ttl_below_the_least_is_not_heard() {
    for ip in LOOPBACK {
        for (ttl, connects) in [(254, false), (255, true)] {
            let (listener, socket, address) = pair(ip);
            set_min_ttl(&SockRef::from(&listener), 255).unwrap();
            set_ttl(&SockRef::from(&socket), ttl).unwrap();
            let result = socket.connect_timeout(&address, if connects { LONG } else { QUICK });
            assert_eq!(result.is_ok(), connects, "{ip} {ttl}: {result:?}");
        }
    }
}

/// On a kernel with TCP-AO equal keys connect; on one without, the error is the one that is reported by name. This is
/// all that was ever seen of TCP-AO: the machines of the tests do not have it.
#[test]
fn tcp_ao_works_or_is_missing_by_name() {
    let ip = LOOPBACK[0];
    let (listener, socket, address) = pair(ip);
    let key = secret("one");
    let parameters = AoParameters { secret: &key, algorithm: "hmac(sha1)", send_id: 1, receive_id: 1 };
    match add_ao_key(&SockRef::from(&listener), ip, &parameters) {
        Ok(()) => {
            add_ao_key(&SockRef::from(&socket), ip, &parameters).unwrap();
            socket.connect_timeout(&address, LONG).unwrap();
            delete_ao_key(&SockRef::from(&listener), ip, 1, 1).unwrap();
        }
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT), "{error}");
            println!("SKIPPED: TCP-AO is not in this kernel");
        }
    }
}
