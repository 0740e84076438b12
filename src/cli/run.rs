//! `vipcast run`: the daemon in the foreground.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use nix::unistd::geteuid;
use vipcast_bgp::net::Descriptors;
use vipcast_bgp::net::bfd::no_hurry;
use vipcast_node::effect::Ending;
use vipcast_node::model::Control;
use vipcast_node::observe::Observer;

use super::{ConfigArgs, Failure, block_on};
use crate::config::{self, Host, Loaded};
use crate::daemon::{Daemon, in_words};
use crate::handover::{self, Arrival, Arrived, V2};
use crate::log::trouble;
use crate::speaker::BfdRunning;
use crate::{log, restart, signals};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Decide, and bind and announce nothing: runs beside another program, or another vipcast, to be compared with it
    #[arg(long)]
    observe: bool,
    /// With --observe: its control socket [default: /run/vipcast-observe.sock; for users in their runtime directory]
    #[arg(long, value_name = "PATH", requires = "observe")]
    socket: Option<PathBuf>,
    /// With --observe: opens the API, the page and the metrics on this address
    #[arg(long, value_name = "ADDR:PORT", requires = "observe")]
    api: Option<SocketAddr>,
}

impl RunArgs {
    fn observer(&self) -> Option<Observer> {
        let socket = || self.socket.clone().unwrap_or_else(observers_socket);
        self.observe.then(|| Observer::new(Control { socket: socket(), group: None }, self.api))
    }
}

/// Never the socket of a daemon that announces.
fn observers_socket() -> PathBuf {
    const NAME: &str = "vipcast-observe.sock";
    let of_user = || std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    match geteuid() {
        root if root.is_root() => PathBuf::from("/run").join(NAME),
        user => of_user()
            .map_or_else(|| std::env::temp_dir().join(format!("{user}-{NAME}")), |path| path.join(NAME)),
    }
}

/// The configuration on disk. After a hand-over that failed, a fault of it is no reason to stay away: systemd tries again.
fn read(path: &Path, failed: bool) -> Result<Loaded, Failure> {
    config::load(path, Host::Lenient).map_err(|diagnostics| match super::check::rendered(&diagnostics) {
        text if failed || diagnostics.may_pass() => Failure::Unread(text),
        text => Failure::Config(text),
    })
}

/// BFD goes on, then the rest is read.
fn go_on(mut arrived: Arrived) -> Result<(Box<V2>, Descriptors, Option<BfdRunning>), String> {
    let Arrived { bfd, news, sockets, .. } = &mut arrived;
    let bfd = bfd.as_ref().map(|bfd| BfdRunning::thaw(bfd, std::mem::take(news), sockets)).transpose();
    let bfd = bfd.map_err(|error| format!("BFD: {}", in_words(&error)))?;
    let (form, descriptors) = arrived.rest()?;
    Ok((form, descriptors, bfd))
}

pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    // Before any thread is started, so that all threads inherit the mask.
    signals::block().map_err(anyhow::Error::from)?;
    let _flush = log::start();
    let starting = signals::Starting::watch();
    // First BFD: nothing else is missed within milliseconds.
    let arrival = handover::arrive();
    let is_anew = matches!(arrival, Arrival::Nothing);
    let (arrived, failed) = match arrival {
        Arrival::Nothing => (None, None),
        Arrival::Failed(reason) => (None, Some(reason)),
        Arrival::Form(arrived) => match go_on(*arrived) {
            Ok(arrived) => (Some(arrived), None),
            Err(reason) => (None, Some(handover::give_up(&reason))),
        },
    };
    if !is_anew {
        // The thread of BFD has its own priority again, and the rest may take its time.
        if let Err(error) = no_hurry() {
            trouble!(%error, "the daemon keeps the real-time priority of the hand-over");
        }
    }
    let (loaded, arrived) = match arrived {
        // The files may have been changed since the conditions were looked at, and nobody asked for a reload.
        Some((form, mut descriptors, bfd)) => match handover::configuration(&form, &mut descriptors) {
            Ok(loaded) => (loaded, Some((form, descriptors, bfd))),
            Err(reason) => return Err(anyhow::Error::msg(handover::give_up(&reason)).into()),
        },
        None => (read(args.config.path(), failed.is_some())?, None),
    };
    log::set(loaded.config.log);
    // When this returns, the daemon, its runtime and every socket are gone.
    let ended = block_on(async {
        let path = args.config.path().to_owned();
        let daemon = match arrived {
            None => Daemon::start(path, loaded, args.observer(), failed).await?,
            Some((form, descriptors, bfd)) => {
                let thawed = Daemon::thaw(path, loaded, *form, descriptors, bfd).await;
                thawed.map_err(|why| anyhow::Error::msg(handover::give_up(&why)))?
            }
        };
        drop(starting);
        daemon.run().await.context("cannot hand over to the next program")
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
