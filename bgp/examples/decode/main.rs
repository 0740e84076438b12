//! Decodes BGP messages: one in hexadecimal a line in, header included, one JSON object a line out.
//!
//! ```text
//! echo ffffffffffffffffffffffffffffffff001304 | cargo run -p vipcast-bgp --example decode
//! {"type":"keepalive"}
//! ```
//!
//! Blanks between octets do not matter; empty lines and what follows `#` are skipped. Options settle what a message
//! itself does not say: `--as2` for AS numbers of two octets, `--ibgp` for a peer in our own AS. What cannot be
//! decoded shows as `error` with the NOTIFICATION that answers it, what RFC 7606 contains as `malformed` with the
//! action taken. A line that is not hexadecimal is an error with its number, and the next one is read.

mod json;
mod lines;

use std::io::{self, Write as _};
use std::process::ExitCode;

const USAGE: &str = "usage: decode [--as2|--as4] [--ebgp|--ibgp] < LINES";

fn main() -> ExitCode {
    let Some(context) = lines::context(std::env::args().skip(1)) else {
        return complain(USAGE);
    };
    match lines::decode(io::stdin().lock(), io::stdout().lock(), context) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&format!("decode: {error}")),
    }
}

fn complain(text: &str) -> ExitCode {
    let written = writeln!(io::stderr(), "{text}");
    // Without a stderr there is still the exit code.
    if written.is_ok() { ExitCode::from(2) } else { ExitCode::FAILURE }
}
