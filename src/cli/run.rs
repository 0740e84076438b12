//! `vipcast run`: the daemon in the foreground.

use anyhow::Context;
use vipcast_node::effect::Ending;

use super::{ConfigArgs, Failure, block_on};
use crate::config::{self, Host};
use crate::daemon::Daemon;
use crate::{log, restart, signals};

pub(super) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    // Before any thread is started, so that all threads inherit the mask.
    signals::block().map_err(anyhow::Error::from)?;
    let _flush = log::start();
    let starting = signals::Starting::watch();
    let loaded =
        config::load(args.path(), Host::Lenient).map_err(|diagnostics| {
            match super::check::rendered(&diagnostics) {
                text if diagnostics.may_pass() => Failure::Unread(text),
                text => Failure::Config(text),
            }
        })?;
    log::set(loaded.config.log);
    // When this returns, the daemon, its runtime and every socket are gone.
    let ended = block_on(async {
        let daemon = Daemon::start(args.path().to_owned(), loaded).await?;
        drop(starting);
        anyhow::Ok(daemon.run().await)
    })?;
    match ended.context("cannot run")? {
        Ending::Stopped => Ok(()),
        Ending::Left(count) => {
            let left = format!("stopped, and {count} addresses or local routes are left on the host");
            Err(anyhow::Error::msg(left).into())
        }
        Ending::Restart => {
            log::finish();
            Err(anyhow::Error::from(restart::exec()).context("cannot start the program anew").into())
        }
    }
}
