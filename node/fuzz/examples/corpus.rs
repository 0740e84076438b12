//! `corpus unpack` and `corpus pack`: see [`vipcast_fuzz::corpus`].

use std::io;
use std::path::Path;

use vipcast_fuzz::corpus;
use vipcast_node_fuzz::TARGETS;

fn main() -> io::Result<()> {
    corpus::main(Path::new(env!("CARGO_MANIFEST_DIR")), TARGETS.map(|target| (target, Vec::new())), 512)
}
