//! `vipcast demo`: a rack in this process and a new network namespace. Nothing is simulated: the router is a BGP
//! speaker, the service is a small web server, and the daemon is `vipcast run` itself.
//!
//! ```text
//!  network namespace
//!  ┌───────────────────────────────────────────────────────────────┐
//!  │ this process                                 child process    │
//!  │  tor   10.0.1.1 AS 65000 ◄──── BGP ────► vipcast run 10.0.1.2 │
//!  │  web   192.0.2.10:80     ◄─── check ───     AS 65001          │
//!  │  story waits, measures, prints                                │
//!  └───────────────────────────────────────────────────────────────┘
//! ```

mod namespace;
mod rack;
mod story;
mod tor;
mod web;

use clap::Args;

use super::{Failure, block_on};

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Leave the rack running until Ctrl-C, for `status`, `explain` and `drain` from another terminal
    #[arg(long)]
    keep: bool,
}

pub(super) fn demo(args: &DemoArgs) -> Result<(), Failure> {
    // Before any thread is there: a process with several cannot enter a user namespace.
    namespace::enter()?;
    block_on(story::tell(args.keep))??;
    Ok(())
}
