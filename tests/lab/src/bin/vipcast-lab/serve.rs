//! The servers for checks: one thread that listens on many ports of 127.0.0.1.
//!
//! ```text
//!              accept             request                  answer, close
//!  listener ──────────► waiting ───────────► due ──────────────────────► gone
//!                          │ silent port      (at most `rate` a second in all)
//!                          └──► until the client closes
//! ```
//!
//! It shares the machine with the measured program, so it does as little as possible: it reads a request once, ignores
//! it, and always gives the same answer.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfine\n";
/// Events taken from the kernel at a time.
const BATCH: usize = 256;
/// No answers are saved up for longer than this, in seconds.
const BURST: f64 = 0.1;

/// Which ports, and how they answer.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// The first port
    #[arg(long)]
    pub(crate) first: u16,
    /// How many ports
    #[arg(long)]
    pub(crate) ports: u16,
    /// Every second one takes connections and says nothing
    #[arg(long)]
    pub(crate) half_silent: bool,
    /// At most so many answers a second in all; 0: as many as are asked for
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u32,
}

/// Says `ready` when all ports are open, and serves until it is killed.
///
/// # Errors
/// A port cannot be had, or epoll fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut servers = Servers::open(*options)?;
    println!("ready");
    let mut events = [EpollEvent::empty(); BATCH];
    loop {
        // With a rate there are answers that nobody asks for just now.
        let patience = if options.rate > 0 { EpollTimeout::from(1_u8) } else { EpollTimeout::NONE };
        let count = servers.epoll.wait(&mut events, patience).context("cannot wait for events")?;
        for event in &events[..count] {
            servers.handle(event.data())?;
        }
        servers.pay(Instant::now());
    }
}

struct Servers {
    options: Options,
    epoll: Epoll,
    listeners: Vec<TcpListener>,
    /// Connections by their token, and whether they are to hear nothing.
    waiting: BTreeMap<u64, (TcpStream, bool)>,
    due: VecDeque<u64>,
    /// Tokens below the number of listeners are theirs.
    next: u64,
    credit: f64,
    paid: Instant,
}

impl Servers {
    fn open(options: Options) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot make an epoll")?;
        let mut listeners = Vec::new();
        for index in 0..options.ports {
            let port = options.first + index;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .with_context(|| format!("cannot listen on port {port}"))?;
            // The queue of std has 128 places, too few for thousands of checks that begin at once.
            nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::MAXCONN)?;
            listener.set_nonblocking(true)?;
            epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(index)))?;
            listeners.push(listener);
        }
        let next = u64::from(options.ports);
        let (waiting, due) = (BTreeMap::new(), VecDeque::new());
        Ok(Self { options, epoll, listeners, waiting, due, next, credit: 0.0, paid: Instant::now() })
    }

    fn handle(&mut self, token: u64) -> Result<()> {
        match self.listeners.get(usize::try_from(token)?) {
            Some(listener) => match listener.accept() {
                Ok((stream, _)) => self.welcome(stream, self.options.half_silent && token % 2 == 1),
                // The client has gone again.
                Err(error) if is_passing(&error) => Ok(()),
                Err(error) => Err(error).context("cannot accept a connection"),
            },
            None => {
                self.hear(token);
                Ok(())
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream, silent: bool) -> Result<()> {
        stream.set_nonblocking(true)?;
        let wanted = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
        self.epoll.add(stream.as_fd(), EpollEvent::new(wanted, self.next))?;
        self.waiting.insert(self.next, (stream, silent));
        self.next += 1;
        Ok(())
    }

    /// A request, or the end of a connection; dropping it closes it.
    fn hear(&mut self, token: u64) {
        let Some((stream, silent)) = self.waiting.get_mut(&token) else { return };
        match stream.read(&mut [0; 2048]) {
            Ok(0) => drop(self.waiting.remove(&token)),
            Ok(_) if *silent => {}
            Ok(_) if self.options.rate > 0 => self.due.push_back(token),
            Ok(_) => self.answer(token),
            Err(error) if is_passing(&error) => {}
            Err(_) => drop(self.waiting.remove(&token)),
        }
    }

    /// Answers as many as the rate allows by now, the first first.
    fn pay(&mut self, now: Instant) {
        let rate = f64::from(self.options.rate);
        self.credit = (self.credit + rate * (now - self.paid).as_secs_f64()).min((rate * BURST).max(1.0));
        self.paid = now;
        while self.credit >= 1.0 {
            let Some(token) = self.due.pop_front() else { return };
            self.answer(token);
            self.credit -= 1.0;
        }
    }

    fn answer(&mut self, token: u64) {
        if let Some((mut stream, _)) = self.waiting.remove(&token) {
            // A client that has gone misses nothing, and an answer this short fits into any buffer.
            let _gone = stream.write(ANSWER);
        }
    }
}

/// Nothing is wrong with the socket that said so.
fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted)
}
