//! `vipcast version`.

use clap::Args;

use super::{Failure, output};
use crate::version::Identity;

#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    /// Print JSON, with the commit
    #[arg(long)]
    json: bool,
}

pub(super) fn version(args: &VersionArgs) -> Result<(), Failure> {
    let identity = Identity::ours();
    match args.json {
        true => output::print_json(&identity),
        false => output::print(&format!("{} {}", identity.name, identity.version)),
    }
}
