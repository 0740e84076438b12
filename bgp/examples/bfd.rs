//! Runs BFD sessions and prints their events as JSON, one object a line, until its input ends; then it sends AdminDown.
//! Each line of input is a new set of sessions, and an empty line asks for a report.
//!
//! ```text
//! cargo run --example bfd -- tor-a=10.0.0.1 tor-b=fe80::1,interface=eth0,interval=50,multiplier=3
//! ```
//!
//! A session is `NAME=REMOTE` and any of `,local=ADDRESS`, `,interface=NAME`, `,interval=MS`, `,tx=MS`, `,rx=MS`,
//! `,multiplier=N`, `,multihop=LEAST_TTL` and `,admin-down`.

use std::error::Error;
use std::io::stdin;
use std::time::Duration;

use serde_json::json;
use vipcast_bgp::bfd::{Hops, Interval};
use vipcast_bgp::bfd::{SessionName, SessionSettings, Sessions};
use vipcast_bgp::net::bfd::{Bfd, Options};

/// The time for the other sides to notice AdminDown.
const GOODBYE: Duration = Duration::from_secs(5);

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> Result<(), Box<dyn Error>> {
    let (bfd, mut events) = Bfd::start(Options::default())?;
    println!("{}", json!({ "priority": bfd.priority() }));
    bfd.set(sessions(std::env::args().skip(1))?);
    let printer = std::thread::spawn(move || {
        while let Some(event) = events.blocking_recv() {
            let words = event.transition.to_string();
            println!(
                "{}",
                json!({ "session": *event.session, "transition": event.transition, "words": words })
            );
        }
    });
    for line in stdin().lines() {
        let line = line?;
        if line.trim().is_empty() {
            println!("{}", json!({ "report": bfd.report() }));
        } else {
            bfd.set(sessions(line.split_whitespace().map(str::to_owned))?);
        }
    }
    println!("{}", json!({ "report": bfd.report() }));
    let noticed = bfd.stop(GOODBYE);
    println!("{}", json!({ "noticed": noticed }));
    if noticed {
        printer.join().map_err(|_| "the printer panicked")?;
    }
    Ok(())
}

fn sessions(arguments: impl Iterator<Item = String>) -> Result<Sessions, Box<dyn Error>> {
    arguments
        .map(|argument| session(&argument).map_err(|error| format!("{argument}: {error}").into()))
        .collect()
}

fn session(argument: &str) -> Result<(SessionName, SessionSettings), Box<dyn Error>> {
    let (name, rest) = argument.split_once('=').ok_or("a session must be NAME=REMOTE")?;
    let mut words = rest.split(',');
    let mut settings = SessionSettings::new(words.next().unwrap_or_default().parse()?);
    let config = &mut settings.config;
    let interval = |value: &str| Interval::from_millis(value.parse().ok()?);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("local", address) => settings.local = Some(address.parse()?),
            ("interface", name) => settings.interface = Some(name.to_owned()),
            ("interval", value) => {
                config.desired_min_tx = interval(value).ok_or("an interval is 1 to 4294967 ms")?;
                config.required_min_rx = config.desired_min_tx;
            }
            ("tx", value) => config.desired_min_tx = interval(value).ok_or("tx is 1 to 4294967 ms")?,
            ("rx", value) => config.required_min_rx = interval(value).ok_or("rx is 1 to 4294967 ms")?,
            ("multiplier", value) => config.multiplier = value.parse()?,
            ("multihop", value) => settings.hops = Hops::Multi { min_ttl: value.parse()? },
            ("admin-down", "") => config.admin_down = true,
            (other, _) => return Err(format!("{other} is no setting").into()),
        }
    }
    Ok((name.into(), settings))
}
