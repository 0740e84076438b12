//! The fuzz targets with nothing installed: every saved input once, then mutations of them from a fixed seed.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `VIPCAST_FUZZ_EXECUTIONS` | mutations per target, 3,000 by default |
//! | `VIPCAST_FUZZ_SEED` | another sequence of mutations |
//! | `VIPCAST_CORPUS` | a file of messages, one JSON object with `hex` a line, to begin with as well |
//!
//! For coverage-guided runs see `bgp/fuzz/README.md`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "counts, and the input that failed")]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, unused_imports, reason = "it is a crate of its own for libFuzzer")]
mod fuzz;

use std::env;

use fuzz::{TARGETS, Target, message_of_line};
use vipcast_bgp::jitter::Jitter;

/// As long as the longest message.
const MAX_INPUT: usize = 4096;

#[test]
fn messages_survive() {
    fuzz("message");
}

#[test]
fn framing_survives() {
    fuzz("frame");
}

#[test]
fn every_attribute_survives() {
    fuzz("attribute");
}

#[test]
fn every_capability_survives() {
    fuzz("capability");
}

#[test]
fn notifications_survive() {
    fuzz("notification");
}

#[test]
fn the_peer_machine_survives() {
    fuzz("peer");
}

#[test]
fn bfd_packets_survive() {
    fuzz("bfd_packet");
}

#[test]
fn the_bfd_session_survives() {
    fuzz("bfd_session");
}

#[test]
fn frozen_machines_survive() {
    fuzz("frozen");
}

fn fuzz(name: &str) {
    let target = TARGETS.into_iter().find(|target| target.name == name).expect("one of the targets");
    let mut corpus: Vec<Vec<u8>> = target.seeds().collect();
    let saved = corpus.len();
    if let Some(path) = env::var_os("VIPCAST_CORPUS") {
        let seen = std::fs::read_to_string(path).expect("VIPCAST_CORPUS is a readable file");
        corpus.extend(
            seen.lines().filter_map(message_of_line).flat_map(|message| (target.from_message)(&message)),
        );
    }
    for input in &corpus {
        run(&target, input);
    }
    let executions: u64 = number("VIPCAST_FUZZ_EXECUTIONS").unwrap_or(3_000);
    let mut random = Random(Jitter::new(number("VIPCAST_FUZZ_SEED").unwrap_or(1)));
    for _ in 0..executions {
        run(&target, &mutated(&corpus, &mut random));
    }
    println!(
        "{name}: {saved} saved inputs, {} of messages seen, {executions} mutations",
        corpus.len() - saved
    );
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

fn run(target: &Target, input: &[u8]) {
    let told = Told { name: target.name, input };
    (target.run)(input);
    drop(told);
}

/// Says which input it was when the target panics.
struct Told<'a> {
    name: &'static str,
    input: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.input.iter().map(|octet| format!("{octet:02x}")).collect();
            eprintln!(
                "target {} fails; once it is mended, add this to bgp/fuzz/seeds/{0}.txt:\n{hex}",
                self.name
            );
        }
    }
}

/// An input of `corpus` with up to eight changes.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const TELLING: [u8; 12] = [0, 1, 2, 3, 4, 16, 32, 64, 127, 128, 254, 255];
    let mut input = random.one_of(corpus).cloned().unwrap_or_default();
    for _ in 0..=random.below(8) {
        let place = random.below(input.len() + 1);
        let end = place + random.below((input.len() - place).min(16) + 1);
        match random.below(8) {
            0 => input.insert(place, random.octet()),
            1 => drop(input.drain(place..end)),
            2 => input.truncate(place),
            3 => {
                let copy = input[place..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            4 => {
                let other = random.one_of(corpus).cloned().unwrap_or_default();
                let from = random.below(other.len() + 1);
                input.splice(place.., other[from..].iter().copied());
            }
            5 => input[place..end].fill(TELLING[random.below(TELLING.len())]),
            6 if place < input.len() => input[place] ^= 1 << random.below(8),
            _ if place < input.len() => input[place] = random.octet(),
            _ => input.push(random.octet()),
        }
    }
    input.truncate(MAX_INPUT);
    input
}

struct Random(Jitter);

impl Random {
    fn octet(&mut self) -> u8 {
        self.0.next().to_be_bytes()[0]
    }

    /// 0 up to `limit`, which is left out.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.0.next() % u64::try_from(limit.max(1)).unwrap_or(u64::MAX)).unwrap_or(0)
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
}
