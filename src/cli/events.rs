//! `vipcast events`: what happened, oldest first.

use std::ops::ControlFlow;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use jiff::Timestamp;

use super::output::{complain, print_on};
use super::{ClientArgs, Failure, arguments, block_on};
use crate::control::api::{Event, Level};
use crate::control::client::{Client, ClientError, Item, PATIENCE};
use crate::control::routes;

/// The number of earlier events that `--follow` shows first.
const BEFORE: usize = 10;
/// The pause before a daemon that has gone is asked again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Go on with events as they happen, also of a daemon that starts again
    #[arg(long, short)]
    follow: bool,
    /// Only events of this last time, for example 10m, or since a time, for example 2026-01-31T13:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// Only events of this VIP
    #[arg(long, value_parser = arguments::vip)]
    vip: Option<IpNet>,
    /// Only events of this service
    #[arg(long)]
    service: Option<String>,
    /// Only events of this check
    #[arg(long)]
    check: Option<String>,
    /// Only events of this peer
    #[arg(long)]
    peer: Option<String>,
    /// Also events of interest only for an examination
    #[arg(long)]
    debug: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// The begin of the wanted events.
#[derive(Debug, Clone, Copy)]
enum Since {
    Ago(Duration),
    Time(Timestamp),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(time) = text.parse() {
        return Ok(Since::Time(time));
    }
    let hint = |_| "write a time like 10m or 2026-01-31T13:00:00Z".to_owned();
    arguments::some_time(text).map(Since::Ago).map_err(hint)
}

impl EventsArgs {
    /// Whether an event is wanted. The time is not asked of events to come.
    fn wants(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, named: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| named.as_ref() == Some(wanted))
        };
        let vip = self.vip.is_none_or(|vip| {
            let several = event.details.get("vips").and_then(|vips| vips.as_str());
            let vips = event
                .vip
                .iter()
                .map(String::as_str)
                .chain(several.into_iter().flat_map(|all| all.split(',')));
            vips.filter_map(|named| routes::parse_vip(named).ok()).any(|named| named == vip)
        });
        vip && is(&self.service, &event.service)
            && is(&self.check, &event.check)
            && is(&self.peer, &event.peer)
            && (self.debug || event.level != Level::Debug || event.by.is_some())
    }

    fn begin(&self) -> Option<Timestamp> {
        match self.since? {
            Since::Time(time) => Some(time),
            Since::Ago(ago) => Timestamp::now().checked_sub(ago).ok(),
        }
    }

    fn show(&self, event: &Event) -> Result<ControlFlow<()>, Failure> {
        if self.client.json {
            print_on(&(serde_json::to_string(event).map_err(anyhow::Error::from)? + "\n"))
        } else {
            print_on(&line(event))
        }
    }
}

/// An event on one line.
fn line(event: &Event) -> String {
    let level = match event.level {
        Level::Warning => "WARN",
        Level::Error => "ERROR",
        Level::Debug => "DEBUG",
        Level::Info | Level::Other(_) => "INFO",
    };
    let values = event.values().map(|(name, value)| {
        let is_plain = !value.is_empty() && !value.contains([' ', '"', '=', '\n']);
        if is_plain { format!(" {name}={value}") } else { format!(" {name}={value:?}") }
    });
    format!("{} {level:5} {}{}\n", event.at, event.message, values.collect::<String>())
}

pub(super) fn events(args: &EventsArgs) -> Result<(), Failure> {
    block_on(show(args))?
}

async fn show(args: &EventsArgs) -> Result<(), Failure> {
    let client = args.client.client(PATIENCE);
    let latest = client.call(&routes::EVENTS, &()).await?;
    let begin = args.begin();
    let is_new =
        |event: &Event| begin.is_none_or(|begin| event.at.parse::<Timestamp>().is_ok_and(|at| at >= begin));
    let wanted: Vec<&Event> =
        latest.events.iter().filter(|event| args.wants(event) && is_new(event)).collect();
    let shown = match (args.follow, begin) {
        (true, None) => wanted.len().saturating_sub(BEFORE),
        (false, _) | (true, Some(_)) => 0,
    };
    for event in &wanted[shown..] {
        if args.show(event)?.is_break() {
            return Ok(());
        }
    }
    if !args.follow {
        return Ok(());
    }
    let last = latest.events.last().map_or(0, |event| event.seq);
    follow(args, &client, format!("{}-{last}", latest.run)).await
}

/// Shows events as they come, and waits for a daemon that has gone.
async fn follow(args: &EventsArgs, client: &Client, mut last: String) -> Result<(), Failure> {
    let (mut is_gone, mut is_handed_over) = (false, false);
    loop {
        let mut ended = None;
        let after = last.clone();
        let followed = client
            .follow(Some(&after), |item| {
                (is_gone, is_handed_over) = (false, false);
                let shown = match item {
                    Item::Event { id, event } => {
                        last = id;
                        if args.wants(&event) { args.show(&event) } else { Ok(ControlFlow::Continue(())) }
                    }
                    Item::Missed(count) => {
                        complain(&format!("{count} events came too quickly and are not shown\n"));
                        Ok(ControlFlow::Continue(()))
                    }
                };
                if let Ok(ControlFlow::Continue(())) = shown {
                    return ControlFlow::Continue(());
                }
                ended = Some(shown.map(drop));
                ControlFlow::Break(())
            })
            .await;
        match (ended, followed) {
            (Some(ended), _) => return ended,
            (None, Err(error @ (ClientError::Decode(_) | ClientError::Refused(_)))) => {
                return Err(error.into());
            }
            // Mostly an upgrade: the next program has the rest.
            (None, Ok(())) if !is_gone && !is_handed_over => is_handed_over = true,
            (None, Ok(()) | Err(_)) => {
                if !is_gone {
                    complain("the daemon has gone; waiting for it\n");
                }
                is_gone = true;
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
