//! `vipcast thaw`, hidden: whether this program can go on from the state of another one. It touches no socket, and changes
//! nothing.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;
use vipcast_bgp::net::clock;
use vipcast_node::engine::Left;
use vipcast_node::node::{Birth, Node};
use vipcast_node::now::Now;

use super::{Failure, output};
use crate::config::{self, Host};
use crate::handover::Copy;
use crate::version::{Identity, VERSION, commit};

pub(super) fn thaw(path: &Path) -> Result<(), Failure> {
    let mut copy = Vec::new();
    std::io::stdin().lock().read_to_end(&mut copy).context("cannot read the state")?;
    let Copy { by, at: _, node } = Copy::read(&copy).context("cannot read the state")?;
    let loaded = config::load(path, Host::Strict)
        .map_err(|diagnostics| super::check::rendered(&diagnostics))
        .map_err(Failure::Config)?;
    let birth = Birth {
        config: Arc::new(loaded.config),
        warnings: Vec::new(),
        path: path.display().to_string(),
        left: Left::default(),
        version: (VERSION.to_owned(), commit().map(str::to_owned)),
        seed: 0,
    };
    let now = Now { mono: clock::now(), wall: Timestamp::now() };
    Node::thaw(birth, &node, &|_| true, now).context("cannot go on from the state")?;
    let this = Identity::program();
    output::print(&format!("vipcast {this} can go on from the state of vipcast {by}"))
}
