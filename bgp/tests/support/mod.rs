//! Shared by the tests of the speaker: settings, and a peer without a machine that a test controls.

#![allow(dead_code, reason = "each test is a crate of its own and uses a part")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests to us, not to clippy")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use vipcast_bgp::wire::{Asn, Capability, Family, Message, Open, SessionContext, next_frame};
use vipcast_bgp::{ConnectMode, HoldTime, NextHops, PeerConfig};

/// Long enough for a loaded machine; nothing here takes a tenth of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The identity of a [`Raw`], and its peers' view of it.
pub(crate) const RAW_AS: u32 = 65002;

pub(crate) fn config(local: u32, peer: u32, mode: ConnectMode, hold: u16) -> PeerConfig {
    PeerConfig {
        mode,
        hold_time: HoldTime::from_secs(hold).unwrap(),
        connect_retry: Duration::from_millis(100),
        next_hops: NextHops { v4: Some(Ipv4Addr::new(10, 0, 0, 1)), v6: None },
        ..PeerConfig::new(Asn(local), Asn(peer), Ipv4Addr::from(local))
    }
}

pub(crate) fn encode(message: &Message) -> Bytes {
    message.encode(&SessionContext::external()).unwrap()
}

pub(crate) fn open(hold: u16) -> Message {
    let capabilities =
        vec![Capability::Multiprotocol(Family::IPV4_UNICAST), Capability::FourOctetAs(Asn(RAW_AS))];
    Message::Open(Open::new(Asn(RAW_AS), hold, Ipv4Addr::new(9, 9, 9, 9), capabilities))
}

/// A peer without a machine, controlled by the test.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    pub(crate) buffer: BytesMut,
}

impl Raw {
    /// Listens at `ip`, and hands out the address to dial.
    pub(crate) fn listen(ip: [u8; 4]) -> (TcpListener, SocketAddr) {
        Self::listen_with(ip, |_| {})
    }

    /// The same with a buffer that is full soon, for one that will not read. One that reads must not have it: where the
    /// window is smaller than what a segment may hold, the kernel sends a piece each time its persist timer runs out, 200 ms.
    pub(crate) fn listen_small(ip: [u8; 4]) -> (TcpListener, SocketAddr) {
        Self::listen_with(ip, |socket| socket.set_recv_buffer_size(4096).unwrap())
    }

    fn listen_with(ip: [u8; 4], prepare: impl Fn(&TcpSocket)) -> (TcpListener, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        prepare(&socket);
        socket.bind((ip, 0).into()).unwrap();
        let listener = socket.listen(8).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("a connection").unwrap();
        Self { stream, buffer: BytesMut::new() }
    }

    pub(crate) async fn dial(from: [u8; 4], to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = timeout(PATIENCE, socket.connect(to)).await.expect("a connection").unwrap();
        Self { stream, buffer: BytesMut::new() }
    }

    pub(crate) async fn send(&mut self, message: &Message) {
        self.stream.write_all(&encode(message)).await.unwrap();
    }

    /// The next message, `None` at the end of the connection. Cancel-safe: bytes that were read are in the buffer.
    pub(crate) async fn receive(&mut self) -> Option<Message> {
        let read = async {
            loop {
                if let Some(frame) = next_frame(&mut self.buffer).unwrap() {
                    return Some(Message::decode(&frame, &SessionContext::external()).unwrap());
                }
                if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {
                    return None;
                }
            }
        };
        timeout(PATIENCE, read).await.expect("a message")
    }

    /// As [`RAW_AS`], up to Established.
    pub(crate) async fn establish(listener: &TcpListener, hold: u16) -> Self {
        let mut raw = Self::accept(listener).await;
        raw.send(&open(hold)).await;
        raw.send(&Message::Keepalive).await;
        assert!(matches!(raw.receive().await, Some(Message::Open(_))));
        assert_eq!(raw.receive().await, Some(Message::Keepalive));
        raw
    }
}
