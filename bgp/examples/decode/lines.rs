//! Lines in, lines out; no line can end the program.

use std::io::{self, BufRead, Read as _, Write};

use serde::Serialize;
use vipcast_bgp::wire::{AsWidth, Message, Peering, SessionContext};

use crate::json;

/// The longest line, in octets: many times the length of a message.
const MAX_LINE: u64 = 64 * 1024;

/// The session context of the command line; `None` for other arguments.
pub(crate) fn context(arguments: impl Iterator<Item = String>) -> Option<SessionContext> {
    let mut context = SessionContext::external();
    for argument in arguments {
        match argument.as_str() {
            "--as2" => context.as_width = AsWidth::Two,
            "--as4" => context.as_width = AsWidth::Four,
            "--ebgp" => context.peering = Peering::External,
            "--ibgp" => context.peering = Peering::Internal,
            _ => return None,
        }
    }
    Some(context)
}

/// Decodes `input` line by line until its end.
///
/// # Errors
/// Only those of reading and writing.
pub(crate) fn decode(
    mut input: impl BufRead,
    mut output: impl Write,
    context: SessionContext,
) -> io::Result<()> {
    let mut number = 0_u64;
    while let Some(line) = next_line(&mut input)? {
        number += 1;
        let json = match octets(&line) {
            Ok(octets) if octets.is_empty() => continue,
            Ok(octets) => match Message::decode(&octets, &context) {
                Ok(message) => json::message(&message),
                Err(error) => json::error(&error),
            },
            Err(reason) => {
                json::to_string(&NotHexadecimal { error: format!("not hexadecimal: {reason}"), line: number })
            }
        };
        writeln!(output, "{}", json?)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct NotHexadecimal {
    error: String,
    line: u64,
}

/// The next line, `None` behind the last. The rest of a line that is too long is dropped.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(Some(line))
}

/// The octets of a line up to a comment; empty for a line without octets.
fn octets(line: &[u8]) -> Result<Vec<u8>, String> {
    if u64::try_from(line.len()).is_ok_and(|length| length > MAX_LINE) {
        return Err(format!("the line is longer than {MAX_LINE} octets"));
    }
    let line = line.split(|octet| *octet == b'#').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned())?;
    let mut digits = Vec::new();
    for (column, character) in line.chars().enumerate().filter(|(_, character)| !character.is_whitespace()) {
        let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        digits.push(digit.ok_or_else(|| format!("{character:?} at column {}", column + 1))?);
    }
    let (pairs, rest) = digits.as_chunks();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
    } else {
        Err(format!("an odd number of digits, {}", digits.len()))
    }
}
