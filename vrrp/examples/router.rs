//! Runs one VRRP instance and prints what happens, one line each; SIGTERM stops it cleanly. It needs CAP_NET_RAW, binds no
//! address and sends no gratuitous ARP: it shows the election alone.
//!
//! ```text
//! cargo run --example router -- eth0 51 150 192.0.2.10 [interval=100ms] [version=2] [password=…] [peer=10.0.0.2]
//!                               interface vrid priority address   [preempt=never|5s] [checksum=pseudo-header] [least_ttl=64]
//! ```
//!
//! A line of input changes the instance: `priority N`, `fault`, `recovered`, `status`.

use std::error::Error;
use std::io::{BufRead as _, stdin};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use vipcast_vrrp::net::{Socket, clock, primary_address};
use vipcast_vrrp::{
    Addresses, Authentication, Config, Coverage, Form, Input, Instance, Interval, Link, Output, Preempt,
    Priority, Seconds, Vrid, iana,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let interface = arguments.first().ok_or("usage: router INTERFACE VRID PRIORITY ADDRESS [KEY=VALUE]…")?;
    let config = config(&arguments)?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    let stop = SignalFd::new(&signals)?;
    let mut driver =
        Driver { socket: Socket::open(interface, &config)?, instance: Instance::new(config, clock::now()) };
    driver.handle(Input::Start);
    let mut input = stdin().lock();
    let mut input_ended = false;
    loop {
        let timeout = driver.instance.deadline().map(|at| at - clock::now());
        // Rounded up: a Tick before the deadline does nothing.
        let timeout = timeout.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        let keyboard = stdin();
        let mut ready = vec![
            PollFd::new(driver.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        ];
        if !input_ended {
            ready.push(PollFd::new(keyboard.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut ready, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [stopped, typed] = [1, 2].map(|place| ready.get(place).and_then(PollFd::any) == Some(true));
        drop(ready);
        if stopped {
            driver.handle(Input::Stop);
            return Ok(());
        }
        if typed {
            let mut line = String::new();
            input_ended = input.read_line(&mut line)? == 0;
            driver.command(line.trim())?;
        }
        driver.receive()?;
        if driver.instance.deadline().is_some_and(|at| at <= clock::now()) {
            driver.handle(Input::Tick);
        }
    }
}

struct Driver {
    instance: Instance,
    socket: Socket,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]
impl Driver {
    fn receive(&mut self) -> Result<()> {
        loop {
            match self.socket.receive() {
                Ok(Some(Ok(packet))) => {
                    // Packets of other virtual routers on the link are none of this one's business.
                    if packet.advertisement.vrid == self.instance.config().vrid {
                        self.handle(Input::Received { packet, at: clock::now() });
                    }
                }
                Ok(Some(Err(reason))) => {
                    println!("dropped: {reason}");
                    self.instance.count(reason);
                }
                Ok(None) => return Ok(()),
                Err(error) => eprintln!("cannot receive: {error}"),
            }
        }
    }

    fn handle(&mut self, input: Input) {
        for output in self.instance.handle(input, clock::now()) {
            match output {
                Output::Transmit(sent) => {
                    for (endpoints, payload) in sent.packets() {
                        if let Err(error) = self.socket.send(&endpoints, &payload) {
                            eprintln!("cannot send to {}: {error}", endpoints.destination());
                        }
                    }
                }
                Output::Transition(transition) => println!("{transition}"),
                Output::Announce(occasion) => println!("announce: {occasion:?}"),
                Output::Notice(notice) => println!("notice: {notice}"),
                Output::Discarded(reason) => println!("dropped: {reason}"),
            }
        }
    }

    fn command(&mut self, line: &str) -> Result<()> {
        match line.split_once(' ') {
            Some(("priority", number)) => {
                self.handle(Input::Priority(Priority::new(number.parse()?).ok_or("priority 0")?));
            }
            _ if line == "fault" => self.handle(Input::Fault(true)),
            _ if line == "recovered" => self.handle(Input::Fault(false)),
            _ if line == "status" => println!("{}", serde_json::to_string(&self.instance.status())?),
            _ if line.is_empty() => {}
            _ => eprintln!("unknown: {line}"),
        }
        Ok(())
    }
}

fn config(arguments: &[String]) -> Result<Config> {
    let [interface, vrid, priority, addresses, options @ ..] = arguments else {
        return Err("usage: router INTERFACE VRID PRIORITY ADDRESS [KEY=VALUE]…".into());
    };
    let addresses = addresses.split(',').map(str::parse).collect::<std::result::Result<Vec<IpAddr>, _>>()?;
    let addresses = Addresses::new(&addresses).ok_or("addresses of one family")?;
    let (mut interval, mut version_2, mut authentication) =
        (Duration::from_secs(1), false, Authentication::None);
    let (mut peers, mut preempt, mut checksum) =
        (Vec::new(), Preempt::After(Duration::ZERO), Coverage::Message);
    let mut least_ttl = iana::TTL;
    for option in options {
        match option.split_once('=').ok_or("KEY=VALUE")? {
            ("interval", value) => interval = duration(value)?,
            ("version", value) => version_2 = value == "2",
            ("password", value) => authentication = Authentication::password(value),
            ("peer", value) => peers.push(value.parse()?),
            ("preempt", "never") => preempt = Preempt::Never,
            ("preempt", value) => preempt = Preempt::After(duration(value)?),
            ("checksum", "pseudo-header") => checksum = Coverage::PseudoHeader,
            ("least_ttl", value) => least_ttl = value.parse()?,
            (key, _) => return Err(format!("unknown: {key}").into()),
        }
    }
    let form = match (version_2, addresses) {
        (true, Addresses::V4(addresses)) => Form::V2 {
            interval: u8::try_from(interval.as_secs()).ok().and_then(Seconds::new).ok_or("1 to 255 s")?,
            authentication,
            addresses,
        },
        (true, Addresses::V6(_)) => return Err("version 2 has no IPv6".into()),
        (false, addresses) => {
            Form::V3 { interval: Interval::from_duration(interval).ok_or("10 ms to 40.95 s")?, addresses }
        }
    };
    let source = primary_address(interface, form.is_v6())?;
    let link = Link::new(form, source)?.with_peers(peers)?;
    Ok(Config {
        priority: Priority::new(priority.parse()?).ok_or("priority 0")?,
        preempt,
        checksum,
        least_ttl,
        ..Config::new(Vrid::new(vrid.parse()?).ok_or("VRID 0")?, link)
    })
}

/// `100ms` or `2s`.
fn duration(text: &str) -> Result<Duration> {
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(millis), _) => Ok(Duration::from_millis(millis.parse()?)),
        (None, Some(seconds)) => Ok(Duration::from_secs(seconds.parse()?)),
        (None, None) => Err(format!("{text}: ms or s").into()),
    }
}
