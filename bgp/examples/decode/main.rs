//! Decodes BGP messages: each input line is one message in hexadecimal, header included; each output line is one JSON
//! object.
//!
//! ```text
//! echo ffffffffffffffffffffffffffffffff001304 | cargo run -p vipcast-bgp --example decode
//! {"type":"keepalive"}
//! ```
//!
//! Blanks between octets, empty lines and comments after `#` are skipped. Options give the context that a message does
//! not have: `--as2` for AS numbers of two octets, `--ibgp` for a peer in our own AS. A message that cannot be decoded
//! shows as `error` with its NOTIFICATION, a malformed attribute (RFC 7606) as `malformed` with its handling. A line
//! that is not hexadecimal is an error with its number, and decoding goes on with the next.

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
        // The reader of our output has closed it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&format!("decode: {error}")),
    }
}

fn complain(text: &str) -> ExitCode {
    let written = writeln!(io::stderr(), "{text}");
    // Without a stderr there is still the exit code.
    if written.is_ok() { ExitCode::from(2) } else { ExitCode::FAILURE }
}
