//! The fuzz targets with nothing installed: every saved input once, then mutations of them from a fixed seed.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `VIPCAST_FUZZ_EXECUTIONS` | mutations per target, 3,000 by default |
//! | `VIPCAST_FUZZ_SEED` | another sequence of mutations |
//!
//! For coverage-guided runs see `vrrp/fuzz/README.md`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "counts, and the input that failed")]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, unused_imports, reason = "it is a crate of its own for libFuzzer")]
mod fuzz;
#[path = "support/random.rs"]
#[expect(dead_code, reason = "shared with the simulation")]
mod random;

use std::env;

use fuzz::{TARGETS, Target};
use random::Random;

/// Longer than most packets.
const MAX_INPUT: usize = 512;

#[test]
fn packets_survive() {
    fuzz("packet");
}

#[test]
fn the_instance_survives() {
    fuzz("instance");
}

fn fuzz(name: &str) {
    let target = TARGETS.into_iter().find(|target| target.name == name).expect("one of the targets");
    let corpus: Vec<Vec<u8>> = target.seeds().collect();
    for input in &corpus {
        run(&target, input);
    }
    let executions: u64 = number("VIPCAST_FUZZ_EXECUTIONS").unwrap_or(3_000);
    let mut random = Random(number("VIPCAST_FUZZ_SEED").unwrap_or(1));
    for _ in 0..executions {
        run(&target, &mutated(&corpus, &mut random));
    }
    println!("{name}: {} saved inputs, {executions} mutations", corpus.len());
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
                "target {} fails; once it is mended, add this to vrrp/fuzz/seeds/{0}.txt:\n{hex}",
                self.name
            );
        }
    }
}

/// An input of `corpus` with up to eight changes.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const TELLING: [u8; 12] = [0, 1, 2, 3, 4, 16, 32, 64, 127, 128, 254, 255];
    let mut input = corpus[random.index(corpus.len())].clone();
    for _ in 0..=random.below(8) {
        let place = random.index(input.len() + 1);
        let end = place + random.index((input.len() - place).min(16) + 1);
        match random.below(8) {
            0 => input.insert(place, random.next().to_be_bytes()[0]),
            1 => drop(input.drain(place..end)),
            2 => input.truncate(place),
            3 => {
                let copy = input[place..end].to_vec();
                let to = random.index(input.len() + 1);
                input.splice(to..to, copy);
            }
            4 => {
                let other = corpus[random.index(corpus.len())].clone();
                let from = random.index(other.len() + 1);
                input.splice(place.., other[from..].iter().copied());
            }
            5 => input[place..end].fill(random.one_of(&TELLING)),
            6 if place < input.len() => input[place] ^= 1 << random.below(8),
            _ if place < input.len() => input[place] = random.next().to_be_bytes()[0],
            _ => input.push(random.next().to_be_bytes()[0]),
        }
    }
    input.truncate(MAX_INPUT);
    input
}
