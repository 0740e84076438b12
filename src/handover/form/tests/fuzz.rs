//! The documents of a hand-over, damaged in their structure: each is refused, or read whole.
//!
//! `VIPCAST_FUZZ_EXECUTIONS` damages each document as many times (300 by default), and `VIPCAST_FUZZ_SEED` in other ways.

#[path = "../../../../node/fuzz/src/json.rs"]
mod json;

use serde::de::DeserializeOwned;
use vipcast_bgp::jitter::Jitter;

use self::json::{Chances, damaged};
use super::*;
use crate::check::tally::Tally;
use crate::hooks::Deliveries;
use crate::metrics::counts::Counts;

/// The longest run of octets that choose the damage.
const LONGEST: u64 = 48;

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().unwrap())
}

/// Damages a document again and again, and returns how many were read. What is read is written and read again as it is.
fn read_of<F: DeserializeOwned + Serialize>(golden: &Value, mut take: impl FnMut(F)) -> u64 {
    let mut random = Jitter::new(number("VIPCAST_FUZZ_SEED", 1));
    let mut read = 0;
    for _ in 0..number("VIPCAST_FUZZ_EXECUTIONS", 300) {
        let length = 1 + random.next() % LONGEST;
        let octets: Vec<u8> = (0..length).map(|_| random.next().to_be_bytes()[0]).collect();
        let text = damaged(golden, &mut Chances::new(&octets));
        match serde_json::from_str::<F>(&text) {
            Ok(form) => {
                read += 1;
                let written = serde_json::to_string(&form).unwrap();
                let again =
                    serde_json::from_str::<F>(&written).unwrap_or_else(|error| panic!("{error}: {text}"));
                assert_eq!(serde_json::to_string(&again).unwrap(), written, "{octets:02x?}");
                take(form);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    read
}

#[test]
fn a_damaged_document_is_refused_or_read_whole() {
    for golden in [golden_v1(), golden_v2()] {
        let read = read_of(&golden, |form: Form| {
            let (newest, _bfd) = form.into_newest();
            let Metrics { counts, checks, hooks } = newest.metrics;
            // They go on from whatever was counted.
            Counts::thaw(counts).freeze();
            Tally::thaw(checks).freeze();
            Deliveries::thaw(hooks).freeze();
        });
        assert!(read > 0, "the damage is too much");
    }
    assert!(read_of(&golden_of_bfd(), |_: FormOfBfd| ()) > 0, "the damage is too much");
}
