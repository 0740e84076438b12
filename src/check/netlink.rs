//! A netlink socket on the thread of the checks: one question and its answers, or what the kernel tells by itself.
//!
//! Everything waits for the socket to be readable; nothing blocks. Between two datagrams of a long answer others get their turn.

#![expect(clippy::wildcard_enum_match_arm, reason = "the enums of netlink are the kernel's and grow with it")]

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;

use rtnetlink::packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use rtnetlink::sys::{AsyncSocket as _, SocketAddr, TokioSocket};

/// The kernel writes at most 32 KiB at a time.
const DATAGRAM: usize = 64 << 10;

/// A netlink socket, open for as long as it is there.
pub(super) struct Netlink(TokioSocket);

impl Netlink {
    /// A socket of this family of netlink, in no group.
    ///
    /// # Errors
    /// The system has none left.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = TokioSocket::new(protocol)?;
        socket.socket_mut().bind_auto()?;
        Ok(Self(socket))
    }

    /// Hears what the kernel tells this group.
    ///
    /// # Errors
    /// There is no such group, or it is not for us.
    pub(super) fn join(&self, group: u32) -> io::Result<()> {
        self.0.socket_ref().add_membership(group)
    }

    /// For options that have no place here.
    pub(super) fn as_fd(&self) -> impl AsFd + '_ {
        self.0.socket_ref()
    }

    /// The next datagram.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// ENOBUFS: more was to be said than fitted, and it is lost.
    pub(super) async fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        buffer.reserve(DATAGRAM);
        poll_fn(|cx| self.0.poll_recv(cx, buffer)).await
    }

    /// Asks the kernel, and hands over each of its answers: one, or with `NLM_F_DUMP` all there are. Returns how many
    /// datagrams they came in; what has changed between two of them may be missing.
    ///
    /// Only on a socket that is in no group, and that is dropped when the answers are not waited for.
    ///
    /// # Errors
    /// What the kernel says against it.
    pub(super) async fn ask<T>(&self, question: T, flags: u16, mut each: impl FnMut(T)) -> io::Result<usize>
    where
        T: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<T>>,
    {
        let is_dump = flags & NLM_F_DUMP != 0;
        let mut message = NetlinkMessage::from(question);
        message.header.flags = NLM_F_REQUEST | flags;
        message.finalize();
        let mut buffer = vec![0; message.buffer_len()];
        message.serialize(&mut buffer);
        self.0.socket_ref().send_to(&buffer, &SocketAddr::new(0, 0), 0)?;
        let mut parts = 0;
        loop {
            self.receive(&mut buffer).await?;
            let mut answers = false;
            for message in messages::<T>(&buffer) {
                match message.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                    NetlinkPayload::InnerMessage(answer) => {
                        answers = true;
                        each(answer);
                    }
                    NetlinkPayload::Done(done) if done.code == 0 => return Ok(parts + usize::from(answers)),
                    NetlinkPayload::Done(done) => return Err(io::Error::from_raw_os_error(-done.code)),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _other => {}
                }
            }
            parts += usize::from(answers);
            if answers && !is_dump {
                return Ok(parts);
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The messages of a datagram; what cannot be read is an error in their midst.
pub(super) fn messages<T: NetlinkDeserializable>(
    datagram: &[u8],
) -> impl Iterator<Item = Result<NetlinkPayload<T>, DecodeError>> {
    /// Length, type, flags, sequence number, port (struct nlmsghdr).
    const HEADER: usize = 16;
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk()?);
        let length = usize::try_from(length).ok().filter(|length| *length >= HEADER)?;
        let message = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(NetlinkMessage::deserialize(message).map(|message| message.payload))
    })
}
