//! A BGP peer that obeys commands, good or bad, and writes down the arrival time of each message.
//!
//! ```text
//! main      standard input: one command a line ─────┐
//! keepalive every third of the hold time ───────────┼─► the session's socket
//! sessions  accept, OPEN, read, stamp, write down ◄─┘
//! ```
//!
//! Messages are stamped when they are read, by a thread that does little else. `vipcast_lab::speaker` has the commands.

use std::fs::File;
use std::io::{BufRead, BufWriter, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use ipnet::Ipv4Net;
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use vipcast_bgp::wire::{
    AsPath, Asn, Attribute, Capability, Community, Family, Message, Open, Origin, RefreshKind, RouteRefresh,
    SessionContext, Update, next_frame,
};

/// Written at a time, so that a KEEPALIVE may go in between.
const PIECE: usize = 64 * 1024;
/// What one that will not read takes before that shows.
const SMALL_BUFFER: usize = 4096;
/// How long the answer to a flood may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who it says it is, and how it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) asn: u32,
    pub(crate) router_id: Ipv4Addr,
    /// Seconds.
    pub(crate) hold_time: u16,
    /// The OPEN comes a byte a second.
    pub(crate) drips: bool,
    /// Takes few bytes before it reads them.
    pub(crate) small: bool,
}

struct Speaker {
    identity: Identity,
    /// Of the session that is established.
    session: Mutex<Option<TcpStream>>,
    report: Mutex<BufWriter<File>>,
    start: Instant,
    deaf: AtomicBool,
    /// When the last UPDATE was read, in nanoseconds since the start.
    last_update: AtomicU64,
}

pub(crate) fn run(listen: SocketAddr, identity: Identity, report: &Path) -> Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot bind TCP {listen}"))?;
    if identity.small {
        // Inherited by what it accepts.
        setsockopt(&listener, RcvBuf, &SMALL_BUFFER).context("cannot shrink the receive buffer")?;
    }
    let mut report = BufWriter::new(File::create(report).context("cannot create the report")?);
    let (start, epoch) = (Instant::now(), SystemTime::now());
    writeln!(report, "{}", epoch.duration_since(SystemTime::UNIX_EPOCH)?.as_nanos())?;
    let speaker = Arc::new(Speaker {
        identity,
        session: Mutex::default(),
        report: Mutex::new(report),
        start,
        deaf: AtomicBool::new(false),
        last_update: AtomicU64::new(0),
    });
    let (sessions, pulse) = (Arc::clone(&speaker), Arc::clone(&speaker));
    thread::spawn(move || sessions.accept(&listener));
    thread::spawn(move || pulse.stay_alive());
    println!("ready");
    for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
        let said = speaker.obey(&line.context("cannot read standard input")?)?;
        println!("done {number} {said}");
    }
    lock(&speaker.report).flush().context("cannot write the report")
}

impl Speaker {
    fn accept(&self, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let end =
                self.converse(&stream).err().map_or_else(|| "end of file".to_owned(), |e| e.to_string());
            *lock(&self.session) = None;
            self.note("down", &end);
        }
    }

    /// One connection from its OPEN to its end.
    fn converse(&self, mut stream: &TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let Identity { asn, router_id, hold_time, drips, .. } = self.identity;
        let capabilities = vec![
            Capability::Multiprotocol(Family::IPV4_UNICAST),
            Capability::RouteRefresh,
            Capability::FourOctetAs(Asn(asn)),
        ];
        let open = encode(&Message::Open(Open::new(Asn(asn), hold_time, router_id, capabilities)));
        if drips {
            drip(stream, &open)?;
        }
        stream.write_all(if drips { &[] } else { &open })?;
        let (mut buffer, mut up) = (BytesMut::new(), false);
        let mut piece = vec![0; PIECE];
        loop {
            while self.deaf.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(50));
            }
            let length = stream.read(&mut piece)?;
            let now = self.nanoseconds();
            if length == 0 {
                return Ok(());
            }
            buffer.extend_from_slice(&piece[..length]);
            while let Some(frame) = next_frame(&mut buffer)? {
                let message = Message::decode(&frame, &SessionContext::external())?;
                if message == Message::Keepalive && !up {
                    up = true;
                    *lock(&self.session) = Some(stream.try_clone()?);
                    self.write_down(now, "up", "");
                }
                self.hear(stream, message, now)?;
            }
        }
    }

    fn hear(&self, mut stream: &TcpStream, message: Message, now: u64) -> Result<()> {
        match message {
            Message::Open(_) => stream.write_all(&encode(&Message::Keepalive))?,
            Message::Keepalive => self.write_down(now, "keepalive", ""),
            Message::Update(update) => {
                self.last_update.store(now, Ordering::Relaxed);
                self.write_down(now, "update", "");
                for prefix in update.withdrawn_prefixes() {
                    self.write_down(now, "withdrawn", &prefix.to_string());
                }
                for prefix in update.announced() {
                    self.write_down(now, "announced", &prefix.to_string());
                }
            }
            Message::RouteRefresh(_) => self.write_down(now, "refresh", ""),
            Message::Notification(notification) => {
                self.write_down(now, "notification", &notification.to_string());
            }
        }
        Ok(())
    }

    fn stay_alive(&self) {
        let keepalive = encode(&Message::Keepalive);
        loop {
            thread::sleep(Duration::from_secs(u64::from(self.identity.hold_time)) / 3);
            if let Some(stream) = &mut *lock(&self.session) {
                // A session that has ended is noticed by its reader.
                let _ended = stream.write_all(&keepalive);
            }
        }
    }

    fn obey(&self, command: &str) -> Result<String> {
        match command.split(' ').collect::<Vec<_>>()[..] {
            ["flood", routes, together, bursts, burst, milliseconds] => {
                let table = table(routes.parse()?, together.parse()?, bursts.parse()?, burst.parse()?);
                self.flood(&table, Duration::from_millis(milliseconds.parse()?))
            }
            ["ask", count] => {
                self.write(&refresh_request().repeat(count.parse()?))?;
                Ok(String::new())
            }
            ["deaf"] => {
                self.deaf.store(true, Ordering::Relaxed);
                Ok(String::new())
            }
            ["drip"] => {
                let session = lock(&self.session).take().context("no session")?;
                thread::spawn(move || drip(&session, &encode(&Message::Keepalive)));
                Ok(String::new())
            }
            _ => bail!("unknown command {command:?}"),
        }
    }

    /// Writes the same as fast as the socket takes it, at least once, and again until so much time has passed. Tells how
    /// often, how many microseconds that took, and how many passed until a request for a refresh behind it all was answered.
    fn flood(&self, pieces: &[BytesMut], lasting: Duration) -> Result<String> {
        let (start, begin, mut rounds) = (self.nanoseconds(), Instant::now(), 0);
        while rounds == 0 || begin.elapsed() < lasting {
            pieces.iter().try_for_each(|piece| self.write(piece))?;
            rounds += 1;
        }
        let written = self.nanoseconds();
        self.write(&refresh_request())?;
        let deadline = Instant::now() + PATIENCE;
        while self.last_update.load(Ordering::Relaxed) < written {
            ensure!(Instant::now() < deadline, "no answer behind the flood");
            thread::sleep(Duration::from_micros(500));
        }
        let answered = self.last_update.load(Ordering::Relaxed);
        Ok(format!("{rounds} {} {}", (written - start) / 1000, (answered - start) / 1000))
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        let mut session = lock(&self.session);
        session.as_mut().context("no session")?.write_all(bytes).context("the session has ended")
    }

    fn note(&self, what: &str, more: &str) {
        self.write_down(self.nanoseconds(), what, more);
    }

    fn write_down(&self, at: u64, what: &str, more: &str) {
        // Without its report it is of no use, and whoever reads that will notice.
        let _lost = writeln!(lock(&self.report), "{at} {what} {more}");
    }

    /// 2^64 ns are 584 years.
    fn nanoseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Connects again and again, and closes at once; every second time after an OPEN.
pub(crate) fn knock(target: SocketAddr, count: u32, identity: Identity) -> Result<()> {
    let Identity { asn, router_id, hold_time, .. } = identity;
    let open = encode(&Message::Open(Open::new(Asn(asn), hold_time, router_id, Vec::new())));
    for number in 0..count {
        let mut stream = connect(target)?;
        if number % 2 == 0 {
            // It may be closed already.
            let _closed = stream.write_all(&open);
        }
    }
    Ok(())
}

/// Connects many times, and holds on to all of them until the other side has closed the last; tells how many were answered.
pub(crate) fn linger(target: SocketAddr, count: u32) -> Result<()> {
    let streams = (0..count).map(|_| connect(target)).collect::<Result<Vec<_>>>()?;
    let mut answered = 0;
    for mut stream in streams {
        stream.set_read_timeout(Some(PATIENCE))?;
        match stream.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => answered += 1,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error).context("a connection was not closed"),
        }
    }
    println!("closed {count}, answered {answered}");
    Ok(())
}

fn connect(target: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect_timeout(&target, PATIENCE).with_context(|| format!("cannot connect to {target}"))
}

fn refresh_request() -> Bytes {
    encode(&Message::RouteRefresh(RouteRefresh::new(Family::IPV4_UNICAST, RefreshKind::Normal)))
}

/// So many distinct routes, with bursts of requests for a refresh evenly among them, in pieces of whole messages.
fn table(routes: u32, together: u32, bursts: usize, burst: usize) -> Vec<BytesMut> {
    let mut messages = updates(routes, together);
    let (apart, requests) = (messages.len() / (bursts + 1), refresh_request().repeat(burst));
    for number in (1..=bursts).rev() {
        messages.insert(number * apart, Bytes::from(requests.clone()));
    }
    let mut pieces = Vec::new();
    let mut piece = BytesMut::new();
    for message in &messages {
        piece.extend_from_slice(message);
        if piece.len() > PIECE {
            pieces.push(std::mem::take(&mut piece));
        }
    }
    pieces.push(piece);
    pieces
}

/// Every message on its own.
fn updates(routes: u32, together: u32) -> Vec<Bytes> {
    // The first is 1.0.0.0/24; a million of them end below 17.0.0.0.
    let net = |n: u32| Ipv4Net::new_assert(Ipv4Addr::from(0x0100_0000 + (n << 8)), 24);
    let starts = (0..routes).step_by(together.max(1) as usize);
    let update = |first: u32| Update {
        attributes: vec![
            Attribute::Origin(Origin::Igp),
            Attribute::AsPath(AsPath::sequence([65000, 3320, 1299, 100_000 + first % 70_000].map(Asn))),
            Attribute::NextHop(Ipv4Addr::new(10, 0, 0, 1)),
            Attribute::Communities((0..3_u16).map(|n| Community::new(3320, n)).collect()),
        ],
        nlri: (first..routes.min(first + together)).map(net).collect(),
        ..Update::default()
    };
    starts.map(|first| encode(&Message::Update(update(first)))).collect()
}

/// A byte a second. Ends early when the other side does.
fn drip(mut stream: &TcpStream, bytes: &[u8]) -> Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte])?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn encode(message: &Message) -> Bytes {
    message.encode(&SessionContext::external()).expect("it is short")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
