//! Answers datagrams with a name, and HTTP requests with the health that a file tells.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use anyhow::{Context, Result};
use nix::sys::socket::sockopt::{RcvBufForce, ReusePort};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, setsockopt, socket};

pub(crate) fn run(name: &str, udp: SocketAddr, health: PathBuf, http: Option<SocketAddr>) -> Result<()> {
    let socket = bind(udp).with_context(|| format!("cannot bind UDP {udp}"))?;
    if let Some(http) = http {
        let listener = TcpListener::bind(http).with_context(|| format!("cannot bind TCP {http}"))?;
        thread::spawn(move || serve(&listener, &health));
    }
    println!("ready");
    let mut buffer = [0; 512];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).context("cannot receive")?;
        let answer = [name.as_bytes(), b" ", &buffer[..length]].concat();
        // A client that cannot be reached counts the datagram as lost.
        let _lost = socket.send_to(&answer, client);
    }
}

/// Room for what arrives while the machine has no processor for this process: the default, of 212,992 bytes, holds 300 datagrams.
const BUFFER: usize = 8 << 20;

/// With SO_REUSEPORT, so that a successor can be there before this one ends.
fn bind(udp: SocketAddr) -> Result<UdpSocket> {
    let family = if udp.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, ReusePort, &true)?;
    // For root alone.
    let _smaller = setsockopt(&socket, RcvBufForce, &BUFFER);
    match udp {
        SocketAddr::V4(udp) => nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrIn::from(udp))?,
        SocketAddr::V6(udp) => nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrIn6::from(udp))?,
    }
    Ok(socket.into())
}

fn serve(listener: &TcpListener, health: &Path) {
    for stream in listener.incoming().flatten() {
        let health = health.to_owned();
        // A client that goes away in the middle is its own affair.
        thread::spawn(move || answer(stream, &health).ok());
    }
}

/// One request per connection. `hang` in the file: never answers, until the client gives up.
fn answer(stream: TcpStream, health: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 0 && header.trim() != "" {
        header.clear();
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    println!("asked {}", now.as_nanos());
    let path = request.split(' ').nth(1).unwrap_or_default();
    let known = path == "/healthz" || path.starts_with("/healthz?");
    let status = match fs::read_to_string(health)?.trim() {
        _ if !known => "404 Not Found",
        "hang" => {
            reader.read_line(&mut header)?;
            return Ok(());
        }
        "200" => "200 OK",
        _ => "503 Service Unavailable",
    };
    let body = format!("{status}\n");
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
