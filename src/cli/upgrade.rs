//! `vipcast upgrade`: has the program on disk rehearsed, and waits until it has taken over.

use std::ops::ControlFlow;
use std::time::Duration;

use clap::Args;

use super::successor::{REHEARSAL, until_over};
use super::{ClientArgs, Failure, block_on, output, overrides};
use crate::control::api::{Done, HandOver, Status, UpgradeRequest};
use crate::control::routes;

/// The longest wait for the next program.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let count = |status: &Status| status.hand_over.as_ref().map_or(0, |over| over.count);
    until_over(&args.client, "upgrade", PATIENCE, |status| {
        let last = if count(&status) > count(before) {
            // It says so itself.
            match status.hand_over {
                Some(over) => return Ok(ControlFlow::Break(over)),
                None => "the next program does not say what it has taken over",
            }
        } else if status.uptime_ms < before.uptime_ms {
            let hint = "`vipcast events` says why";
            return Err(anyhow::anyhow!("the hand-over failed: vipcast began anew\nhint: {hint}").into());
        } else if let Some(why) = status.not_upgraded {
            return Err(anyhow::anyhow!("not upgraded, nothing was changed: {why}").into());
        } else {
            "the program before still runs"
        };
        Ok(ControlFlow::Continue(last.to_owned()))
    })
    .await
}
