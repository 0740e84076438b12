//! Netlink for the checks: the kernel's events on their thread, and queries on another.

#![expect(clippy::wildcard_enum_match_arm, reason = "the enums of netlink are the kernel's and grow with it")]

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rtnetlink::packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use rtnetlink::sys::{AsyncSocket as _, Socket, SocketAddr, TokioSocket};
use socket2::SockRef;
use tokio::sync::Semaphore;

use super::pool::{self, NoResult};

/// The kernel writes at most 32 KiB at a time.
const DATAGRAM: usize = 64 << 10;
/// The kernel answers while it is asked; when it has not by then, the answer was lost.
const SILENCE: Duration = Duration::from_secs(5);

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
}

/// Asks the kernel, one question at a time, on a thread beside the checks: the kernel answers within the call that asks, under
/// its own locks. Whoever holds that of the network configuration (RTNL) holds up everybody who asks for a link. Clones are
/// one.
#[derive(Debug, Clone)]
pub(super) struct Asker(Arc<Semaphore>);

impl Default for Asker {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Asker {
    /// Asks on a socket of this family, and returns what `pick` keeps of the answers: of one, or with `NLM_F_DUMP` of all there
    /// are. Says too how many datagrams they came in; what has changed between two of them may be missing.
    ///
    /// Cancel-safe: a question that hangs in the kernel goes on by itself, and those behind it wait.
    ///
    /// # Errors
    /// What the kernel says against it.
    pub(super) async fn ask<T, U>(
        &self,
        protocol: isize,
        question: T,
        flags: u16,
        pick: impl FnMut(T) -> Option<U> + Send + 'static,
    ) -> io::Result<(Vec<U>, usize)>
    where
        T: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<T>> + Send + 'static,
        U: Send + 'static,
    {
        let closed = |_| io::Error::other("nobody asks any more");
        let turn = Arc::clone(&self.0).acquire_owned().await.map_err(closed)?;
        match pool::run(turn, move || ask(protocol, question, flags, pick)).await {
            Ok(answer) => answer,
            Err(NoResult::NoThread) => Err(io::Error::other("this host has no thread left to ask it")),
            Err(NoResult::Panicked) => Err(io::Error::other("asking it panicked")),
        }
    }
}

#[cfg(test)]
impl Asker {
    /// As a question that the kernel does not answer.
    pub(super) async fn locked(&self) -> tokio::sync::OwnedSemaphorePermit {
        Arc::clone(&self.0).acquire_owned().await.unwrap()
    }
}

/// Asks on a socket of this family, as [`Asker::ask`] does. Blocks.
///
/// # Errors
/// What the kernel says against it.
pub(crate) fn ask<T, U>(
    protocol: isize,
    question: T,
    flags: u16,
    mut pick: impl FnMut(T) -> Option<U>,
) -> io::Result<(Vec<U>, usize)>
where
    T: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<T>>,
{
    // A socket for each question: no answer to another one is in it.
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    SockRef::from(&socket).set_read_timeout(Some(SILENCE))?;
    let is_dump = flags & NLM_F_DUMP != 0;
    let mut message = NetlinkMessage::from(question);
    message.header.flags = NLM_F_REQUEST | flags;
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    socket.send_to(&buffer, &SocketAddr::new(0, 0), 0)?;
    let (mut picked, mut parts) = (Vec::new(), 0);
    loop {
        buffer.clear();
        buffer.reserve(DATAGRAM);
        socket.recv(&mut buffer, 0)?;
        let mut answers = false;
        for message in messages::<T>(&buffer) {
            match message.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                NetlinkPayload::InnerMessage(answer) => {
                    answers = true;
                    picked.extend(pick(answer));
                }
                NetlinkPayload::Done(done) if done.code == 0 => {
                    return Ok((picked, parts + usize::from(answers)));
                }
                NetlinkPayload::Done(done) => return Err(io::Error::from_raw_os_error(-done.code)),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _other => {}
            }
        }
        parts += usize::from(answers);
        if answers && !is_dump {
            return Ok((picked, parts));
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
