//! Some seeds, as a first look; `vipcast-sim seeds` runs many.
//!
//! `SIM_SEED=17` runs only this seed, and `SIM_SEEDS=500` that number of seeds from there on.

use vipcast_sim::run::Case;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_rule_holds_in_the_worlds_of_some_seeds() {
    let alone = std::env::var_os("SIM_SEED").is_some();
    let (first, count) = (number("SIM_SEED", 1), number("SIM_SEEDS", if alone { 1 } else { 50 }));
    for seed in first..first + count {
        let case = Case::of_seed(seed);
        if let Some(violation) = case.run(alone).violation {
            panic!("{}", case.report(&violation));
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let case = Case::of_seed(7);
    let (one, other) = (case.run(true), case.run(true));
    assert_eq!((one.steps, one.trace), (other.steps, other.trace));
}
