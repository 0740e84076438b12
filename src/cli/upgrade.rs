//! `vipcast upgrade`: has the program on disk rehearsed, and waits until it has taken over.

use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep;

use super::{ClientArgs, Failure, block_on, output, overrides};
use crate::control::api::{Done, HandOver, Status, UpgradeRequest};
use crate::control::client::{Client, ClientError};
use crate::control::routes;

/// The time-out for reading the configuration and testing the program on disk.
const REHEARSAL: Duration = Duration::from_secs(60);
/// The longest wait for the next program.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time-out for one of its answers.
const ANSWER: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
pub(super) struct UpgradeArgs {
    /// Change nothing: say whether the program on disk could take over; exits with 1 if not
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn upgrade(args: &UpgradeArgs) -> Result<(), Failure> {
    block_on(run(args))?
}

async fn run(args: &UpgradeArgs) -> Result<(), Failure> {
    let client = args.client.client(REHEARSAL);
    let before = client.call(&routes::STATUS, &()).await?;
    let rehearsed = client.call(&routes::UPGRADE, &UpgradeRequest { dry_run: args.dry_run }).await?;
    if args.dry_run {
        return overrides::show(&args.client, &rehearsed);
    }
    if !args.client.json {
        output::print(&rehearsed.message)?;
    }
    let HandOver { from, to, pause_ms, .. } = taken_over(args, &before).await?;
    let message = format!("upgraded from {from} to {to}, paused {pause_ms} ms");
    overrides::show(&args.client, &Done { message, warning: None })
}

/// The hand-over, when the next program answers.
async fn taken_over(args: &UpgradeArgs, before: &Status) -> Result<HandOver, Failure> {
    let (asked, client) = (Instant::now(), Client::new(args.client.socket(), ANSWER));
    let count = |status: &Status| status.hand_over.as_ref().map_or(0, |over| over.count);
    loop {
        let last = match client.call(&routes::STATUS, &()).await {
            Ok(status) if count(&status) > count(before) => {
                // It says so itself.
                if let Some(over) = status.hand_over {
                    return Ok(over);
                }
                "the next program does not say what it has taken over".to_owned()
            }
            Ok(status) if status.uptime_ms < before.uptime_ms => {
                let hint = "`vipcast events` says why";
                return Err(anyhow::anyhow!("the hand-over failed: vipcast began anew\nhint: {hint}").into());
            }
            Ok(status) => match status.not_upgraded {
                Some(why) => return Err(anyhow::anyhow!("not upgraded, nothing was changed: {why}").into()),
                None => "the program before still runs".to_owned(),
            },
            // A process that begins anew does not answer for a moment.
            Err(
                error @ (ClientError::Connect { .. }
                | ClientError::Silent { .. }
                | ClientError::Http(_)
                | ClientError::Refused(_)),
            ) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        if asked.elapsed() > PATIENCE {
            return Err(anyhow::anyhow!("the upgrade is not over after {PATIENCE:?}: {last}").into());
        }
        sleep(LOOK_AGAIN).await;
    }
}
