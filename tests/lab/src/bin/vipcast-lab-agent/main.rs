//! The part of the lab that runs inside its namespaces; started by the library, not by hand.
//!
//! ```text
//! vipcast-lab-agent undertake PREFIX                            buries the lab when standard input ends
//! vipcast-lab-agent client TARGET INTERVAL_US PORTS REPORT      sends datagrams until standard input ends
//! vipcast-lab-agent reach ADDRESS                               fails if no host answers
//! vipcast-lab-agent server NAME UDP HEALTH_FILE [HTTP]          answers until it is killed
//! vipcast-lab-agent speaker LISTEN AS ID HOLD REPORT [drips] [small]   a BGP peer; obeys until standard input ends
//! vipcast-lab-agent knock TARGET COUNT AS ID HOLD               connects and closes at once, again and again
//! vipcast-lab-agent linger TARGET COUNT                         connects and waits to be closed
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the library reads them from the log")]

mod client;
mod server;
mod speaker;

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::speaker::Identity;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vipcast-lab-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Result<()> {
    match *words {
        ["undertake", prefix] => {
            wait_for_end_of_input()?;
            vipcast_lab::remains::bury(prefix)
        }
        ["client", target, interval, ports, report] => {
            let interval = Duration::from_micros(interval.parse()?);
            client::run(target.parse()?, interval, ports.parse()?, report.as_ref())
        }
        ["reach", address] => reach(address.parse()?),
        ["server", name, udp, health] => server::run(name, udp.parse()?, health.into(), None),
        ["server", name, udp, health, http] => {
            server::run(name, udp.parse()?, health.into(), Some(http.parse()?))
        }
        ["speaker", listen, asn, router_id, hold_time, report, ref manners @ ..] => {
            let identity = identity([asn, router_id, hold_time], manners)?;
            speaker::run(listen.parse()?, identity, report.as_ref())
        }
        ["knock", target, count, asn, router_id, hold_time] => {
            speaker::knock(target.parse()?, count.parse()?, identity([asn, router_id, hold_time], &[])?)
        }
        ["linger", target, count] => speaker::linger(target.parse()?, count.parse()?),
        _ => bail!("unknown arguments {words:?}"),
    }
}

fn identity([asn, router_id, hold_time]: [&str; 3], manners: &[&str]) -> Result<Identity> {
    let has = |word| manners.contains(&word);
    Ok(Identity {
        asn: asn.parse()?,
        router_id: router_id.parse()?,
        hold_time: hold_time.parse()?,
        drips: has("drips"),
        small: has("small"),
    })
}

/// The other end of the pipe is held by the test alone, so it closes when the test ends, however it ends.
fn wait_for_end_of_input() -> Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new()).map(drop).context("cannot read standard input")
}

/// A refusal is an answer. The discard port: nobody listens there.
fn reach(address: IpAddr) -> Result<()> {
    match TcpStream::connect_timeout(&SocketAddr::new(address, 9), Duration::from_millis(900)) {
        Err(error) if error.kind() != ErrorKind::ConnectionRefused => {
            Err(error).with_context(|| format!("cannot reach {address}"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}
