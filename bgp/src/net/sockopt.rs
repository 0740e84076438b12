//! Socket options that `socket2` lacks, and real-time priority: the only unsafe code of the crate.
//!
//! Each function makes one or two system calls and returns the kernel's result. The structs are those of the kernel's
//! `include/uapi/linux/tcp.h`; their sizes and offsets are asserted below. None has padding.

use std::io;
use std::mem::{offset_of, size_of};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_int, socklen_t};
use socket2::{SockAddr, SockAddrStorage, SockRef};

use crate::fsm::SendQueue;
use crate::secret::Secret;

pub(super) mod realtime;

/// Not in `libc`: `TCP_AO_ADD_KEY` and `TCP_AO_DEL_KEY`, Linux 6.7.
const TCP_AO_ADD_KEY: c_int = 38;
const TCP_AO_DEL_KEY: c_int = 39;

/// `struct tcp_md5sig`.
#[repr(C)]
struct Md5Sig {
    address: SockAddrStorage,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: c_int,
    key: [u8; 80],
}

const _: () = assert!(size_of::<Md5Sig>() == 216);
const _: () = assert!(offset_of!(Md5Sig, key_length) == 130 && offset_of!(Md5Sig, key) == 136);

/// `struct tcp_ao_add`; `flags` holds its bit fields. `set_current` and `set_rnext` are not needed with one key.
#[repr(C)]
struct AoAdd {
    address: SockAddrStorage,
    algorithm: [u8; 64],
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix_length: u8,
    send_id: u8,
    receive_id: u8,
    mac_length: u8,
    key_flags: u8,
    key_length: u8,
    key: [u8; 80],
}

const _: () = assert!(size_of::<AoAdd>() == 288);
const _: () = assert!(offset_of!(AoAdd, prefix_length) == 202 && offset_of!(AoAdd, key) == 208);

/// `struct tcp_ao_del`.
#[repr(C)]
struct AoDelete {
    address: SockAddrStorage,
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix_length: u8,
    send_id: u8,
    receive_id: u8,
    current_key: u8,
    next_key: u8,
    key_flags: u8,
}

const _: () = assert!(size_of::<AoDelete>() == 144);

/// A key of TCP-AO with the kernel's names for its parts.
#[derive(Debug)]
pub(super) struct AoParameters<'a> {
    pub(super) secret: &'a Secret,
    /// The algorithm's name in the kernel's crypto API.
    pub(super) algorithm: &'static str,
    pub(super) send_id: u8,
    pub(super) receive_id: u8,
}

/// Signs segments to `peer` and requires the signature on segments from it (RFC 2385). On a listening socket it applies
/// from the next SYN on.
pub(super) fn set_md5_key(socket: &SockRef<'_>, peer: IpAddr, secret: &Secret) -> io::Result<()> {
    md5(socket, peer, secret.octets())
}

/// Removes the key of [`set_md5_key`]; `ENOENT` if there is none.
pub(super) fn clear_md5_key(socket: &SockRef<'_>, peer: IpAddr) -> io::Result<()> {
    md5(socket, peer, &[])
}

fn md5(socket: &SockRef<'_>, peer: IpAddr, octets: &[u8]) -> io::Result<()> {
    let (key, key_length) = padded(octets)?;
    let address = storage(socket, peer)?;
    let key_length = u16::from(key_length);
    let option = Md5Sig { address, flags: 0, prefix_length: 0, key_length, interface: 0, key };
    set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &option)
}

/// Like [`set_md5_key`], with TCP-AO (RFC 5925). `ENOPROTOOPT`: the kernel has none.
pub(super) fn add_ao_key(
    socket: &SockRef<'_>,
    peer: IpAddr,
    parameters: &AoParameters<'_>,
) -> io::Result<()> {
    let (key, key_length) = padded(parameters.secret.octets())?;
    let mut algorithm = [0; 64];
    for (slot, octet) in algorithm.iter_mut().zip(parameters.algorithm.bytes()) {
        *slot = octet;
    }
    let option = AoAdd {
        address: storage(socket, peer)?,
        algorithm,
        interface: 0,
        flags: 0,
        reserved: 0,
        prefix_length: host_length(socket)?,
        send_id: parameters.send_id,
        receive_id: parameters.receive_id,
        // The kernel's default, 12 octets (RFC 5926).
        mac_length: 0,
        key_flags: 0,
        key_length,
        key,
    };
    set(socket, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, &option)
}

/// Removes the key of [`add_ao_key`].
pub(super) fn delete_ao_key(
    socket: &SockRef<'_>,
    peer: IpAddr,
    send_id: u8,
    receive_id: u8,
) -> io::Result<()> {
    let option = AoDelete {
        address: storage(socket, peer)?,
        interface: 0,
        flags: 0,
        reserved: 0,
        prefix_length: host_length(socket)?,
        send_id,
        receive_id,
        current_key: 0,
        next_key: 0,
        key_flags: 0,
    };
    set(socket, libc::IPPROTO_TCP, TCP_AO_DEL_KEY, &option)
}

/// Sets the TTL or hop limit of sent packets.
pub(super) fn set_ttl(socket: &SockRef<'_>, ttl: u8) -> io::Result<()> {
    if is_ipv6(socket)? {
        socket.set_unicast_hops_v6(u32::from(ttl))
    } else {
        socket.set_ttl_v4(u32::from(ttl))
    }
}

/// The kernel drops packets with a lower TTL or hop limit, and counts them in TCPMinTTLDrop; 0: no limit.
pub(super) fn set_min_ttl(socket: &SockRef<'_>, ttl: u8) -> io::Result<()> {
    let ttl = c_int::from(ttl);
    if is_ipv6(socket)? {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &ttl)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &ttl)
    }
}

/// The front of `struct tcp_info`; the kernel fills the requested length.
#[repr(C)]
#[derive(Default)]
struct TcpInfo {
    state: u8,
    congestion_state: u8,
    /// The retransmissions of the first segment since the last acknowledgement.
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
    window_scales: u8,
    flags: u8,
    retransmission_timeout: u32,
    acknowledgement_timeout: u32,
    send_mss: u32,
}

const _: () = assert!(offset_of!(TcpInfo, retransmits) == 2 && offset_of!(TcpInfo, send_mss) == 16);
const _: () = assert!(size_of::<TcpInfo>() == 20);

/// The kernel's send queue: bytes that the peer's TCP has not acknowledged.
pub(super) fn send_queue(socket: &SockRef<'_>) -> io::Result<SendQueue> {
    let mut held: c_int = 0;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel writes one int to a reference
    // to one.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, ptr::from_mut(&mut held)) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut info = TcpInfo::default();
    let mut length = socklen_t::try_from(size_of::<TcpInfo>()).map_err(io::Error::other)?;
    // SAFETY: as above; the kernel writes at most `length` bytes, all of them integers, to a reference of that size.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            ptr::from_mut(&mut info).cast(),
            ptr::from_mut(&mut length),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(SendQueue {
        unacknowledged: usize::try_from(held).unwrap_or_default(),
        retransmissions: u32::from(info.retransmits),
        segment: info.send_mss,
    })
}

pub(super) fn is_ipv6(socket: &SockRef<'_>) -> io::Result<bool> {
    Ok(socket.domain()? == socket2::Domain::IPV6)
}

/// An IPv6 socket knows an IPv4 peer by its v4-mapped address.
fn storage(socket: &SockRef<'_>, peer: IpAddr) -> io::Result<SockAddrStorage> {
    let ip = match peer.to_canonical() {
        IpAddr::V4(v4) if is_ipv6(socket)? => v4.to_ipv6_mapped().into(),
        canonical @ (IpAddr::V4(_) | IpAddr::V6(_)) => canonical,
    };
    Ok(SockAddr::from(SocketAddr::new(ip, 0)).as_storage())
}

fn host_length(socket: &SockRef<'_>) -> io::Result<u8> {
    Ok(if is_ipv6(socket)? { 128 } else { 32 })
}

/// A key at the front of the kernel's field, and its length.
fn padded(octets: &[u8]) -> io::Result<([u8; 80], u8)> {
    let mut key = [0; 80];
    let length = u8::try_from(octets.len()).map_err(io::Error::other)?;
    key.get_mut(..octets.len())
        .ok_or_else(|| io::Error::other("the key is too long"))?
        .copy_from_slice(octets);
    Ok((key, length))
}

fn set<T>(socket: &SockRef<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let length = socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open as long as `socket` is borrowed; the kernel reads `length` bytes from a reference
    // of that size, without padding, and keeps no pointer.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
