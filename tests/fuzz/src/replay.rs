//! The replay of a target: every saved input once, then mutations of them from a fixed seed.

use std::env;

use vipcast_machine::jitter::Jitter;

use crate::Target;

/// How targets are replayed.
#[derive(Debug, Clone, Copy)]
pub struct Replay {
    /// The folder of the fuzz package, from the root of the repository, for what is said of a finding.
    pub home: &'static str,
    /// The longest mutation, in octets.
    pub longest: usize,
    /// The number of mutations; `VIPCAST_FUZZ_EXECUTIONS` goes before it, and `VIPCAST_FUZZ_SEED` gives others.
    pub executions: u64,
}

impl Replay {
    /// Replays a target, which has `more` inputs to begin with.
    ///
    /// # Panics
    /// The target does, and then the input is told; or a variable is no number.
    #[expect(clippy::print_stdout, reason = "counts")]
    pub fn run(&self, target: &Target, more: impl IntoIterator<Item = Vec<u8>>) {
        let mut corpus: Vec<Vec<u8>> = target.seeds().collect();
        let saved = corpus.len();
        corpus.extend(more);
        for input in &corpus {
            self.run_one(target, input);
        }
        let executions = number("VIPCAST_FUZZ_EXECUTIONS").unwrap_or(self.executions);
        let mut random = Random(Jitter::new(number("VIPCAST_FUZZ_SEED").unwrap_or(1)));
        for _ in 0..executions {
            self.run_one(target, &self.mutated(&corpus, &mut random));
        }
        let more = corpus.len() - saved;
        println!("{}: {saved} saved inputs, {more} others, {executions} mutations", target.name);
    }

    fn run_one(&self, target: &Target, input: &[u8]) {
        let told = Told { home: self.home, name: target.name, input };
        (target.run)(input);
        drop(told);
    }

    /// An input of `corpus` with up to eight changes.
    fn mutated(&self, corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
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
        input.truncate(self.longest);
        input
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// Says which input it was when the target panics.
struct Told<'a> {
    home: &'static str,
    name: &'static str,
    input: &'a [u8],
}

impl Drop for Told<'_> {
    #[expect(clippy::print_stderr, reason = "the input that failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.input.iter().map(|octet| format!("{octet:02x}")).collect();
            let Self { home, name, .. } = self;
            eprintln!("target {name} fails; once it is mended, add this to {home}/seeds/{name}.txt:\n{hex}");
        }
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    static SEEN: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

    #[test]
    fn saved_inputs_come_first_and_mutations_are_bounded() {
        let note = |input: &[u8]| SEEN.lock().expect("no panic").push(input.to_vec());
        let target = Target { name: "note", run: note, saved: ["01 02 # two\n\n# none\n", "0a0b0c"] };
        Replay { home: "here", longest: 4, executions: 100 }.run(&target, [vec![9]]);
        let seen = SEEN.lock().expect("no panic");
        assert_eq!(seen[..3], [vec![1, 2], vec![10, 11, 12], vec![9]]);
        assert!(seen.len() >= 4 && seen[3..].iter().all(|input| input.len() <= 4));
    }
}
