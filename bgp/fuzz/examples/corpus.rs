//! `corpus unpack` and `corpus pack`: see [`vipcast_fuzz::corpus`]. With `VIPCAST_CORPUS`, a file with `"hex": "…"` on each
//! line, what is in its messages is unpacked as well.

use std::io;
use std::path::Path;

use vipcast_bgp_fuzz::TARGETS;
use vipcast_fuzz::corpus;

fn main() -> io::Result<()> {
    let targets = TARGETS.iter().map(|target| Ok((target.target, target.seen()?)));
    corpus::main(Path::new(env!("CARGO_MANIFEST_DIR")), targets.collect::<io::Result<Vec<_>>>()?, 2048)
}
