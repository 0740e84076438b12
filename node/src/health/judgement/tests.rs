use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::model::{Question, Share};

const WINDOW: Duration = Duration::from_secs(60);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn judgement(measure: Measure, results: u32) -> Judgement {
    let results = NonZeroU32::new(results).unwrap();
    Judgement::new(&Check {
        limits: vec![Limit { measure, results, then: Consequence::Degraded }],
        ..Check::new(Question::new("web"))
    })
}

/// What is said after these results, a second apart; `None` is a failure, a number how many milliseconds a pass took.
fn said(measure: Measure, results: u32, seen: &[Option<u64>]) -> Option<String> {
    let mut judgement = judgement(measure, results);
    let start = Instant::BOOT;
    for (second, took) in (0..).zip(seen) {
        let took_ms = took.unwrap_or(500);
        let outcome = Outcome { passed: took.is_some(), detail: String::new(), took: ms(took_ms) };
        judgement.take(&outcome, start + Duration::from_secs(second));
    }
    judgement.exceeded(Consequence::Degraded).map(str::to_owned)
}

fn times(count: usize, took: Option<u64>) -> Vec<Option<u64>> {
    vec![took; count]
}

#[test]
fn each_latency_trips_and_resets_after_so_many_in_a_row() {
    let each = Measure::Latency { over: ms(200) };
    assert_eq!(said(each, 3, &[Some(300), Some(300), Some(100), Some(300), Some(300)]), None);
    assert_eq!(said(each, 3, &times(3, Some(300))).as_deref(), Some("latency 300 ms, limit 200 ms"));
    assert_eq!(said(each, 3, &times(3, Some(200))), None, "over means over");
    let failed_between = [Some(300), None, Some(300), None, Some(300)];
    assert!(said(each, 3, &failed_between).is_some(), "a failure says nothing of latency");
    let recovering = [times(3, Some(300)), times(2, Some(100))].concat();
    assert_eq!(
        said(each, 3, &recovering).as_deref(),
        Some("latency 300 ms, limit 200 ms"),
        "what tripped it"
    );
    assert_eq!(said(each, 3, &[recovering, times(1, Some(100))].concat()), None);
}

#[test]
fn a_percentile_is_not_moved_by_the_few_beyond_it() {
    let p90 = Measure::LatencyPercentile { over: ms(200), percentile: 90, window: WINDOW };
    assert_eq!(said(p90, 1, &times(9, Some(900))), None, "too few to say");
    assert_eq!(said(p90, 1, &[times(18, Some(10)), times(2, Some(900))].concat()), None);
    let three = [times(17, Some(10)), times(3, Some(900))].concat();
    assert_eq!(said(p90, 1, &three).as_deref(), Some("p90 latency 900 ms, limit 200 ms"));
    // A minute later they are out of the window.
    assert_eq!(said(p90, 1, &[three, times(60, Some(10))].concat()), None);
}

#[test]
fn what_a_window_said_before_an_outage_is_forgotten_with_it() {
    let p90 = Measure::LatencyPercentile { over: ms(200), percentile: 90, window: WINDOW };
    let slow = times(20, Some(900));
    assert!(said(p90, 1, &slow).is_some());
    let outage = [slow, times(80, None)].concat();
    assert_eq!(said(p90, 1, &outage), None);
    assert_eq!(said(p90, 1, &[outage, times(5, Some(2))].concat()), None, "and does not come back");
}

#[test]
fn the_average_moves_with_time_and_not_with_the_number_of_results() {
    let average = Measure::AverageLatency { over: ms(200), window: Duration::from_secs(10) };
    assert_eq!(said(average, 1, &times(9, Some(900))), None, "too few to say");
    assert_eq!(
        said(average, 1, &times(10, Some(900))).as_deref(),
        Some("average latency 900 ms, limit 200 ms")
    );
    assert_eq!(said(average, 1, &[times(20, Some(100)), times(1, Some(900))].concat()), None);
    // After a window's time 1/e of the old is left: 100 + 800 × (1 - 1/e) ms.
    let risen = said(average, 1, &[times(20, Some(100)), times(10, Some(900))].concat());
    assert_eq!(risen.as_deref(), Some("average latency 605 ms, limit 200 ms"));
}

#[test]
fn errors_are_a_share_of_a_window() {
    let errors = Measure::Errors { over: Share(50), window: WINDOW };
    assert_eq!(said(errors, 1, &times(9, None)), None, "too few to say");
    assert_eq!(said(errors, 1, &[times(19, Some(1)), times(1, None)].concat()), None, "5 % is not over 5 %");
    let two = [times(18, Some(1)), times(2, None)].concat();
    assert_eq!(said(errors, 1, &two).as_deref(), Some("2 of 20 probes failed in 60 s, limit 5 %"));
    assert_eq!(said(errors, 1, &[two, times(61, Some(1))].concat()), None);
}

#[test]
fn shares_are_exact_to_a_tenth() {
    let half = Measure::Errors { over: Share(5), window: Duration::from_secs(24 * 3600) };
    assert_eq!(said(half, 1, &[times(199, Some(1)), times(1, None)].concat()), None);
    let one = [times(198, Some(1)), times(1, None)].concat();
    assert_eq!(said(half, 1, &one).as_deref(), Some("1 of 199 probes failed in 86400 s, limit 0.5 %"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// However fast it is asked, and for however long.
    #[test]
    fn memory_is_bounded_and_the_percentile_is_one_of_the_results(
        took in prop::collection::vec(1u64..1000, 10..1500), percentile in 1u8..100, every in 1u64..2000,
    ) {
        let window = Duration::from_secs(24 * 3600);
        let mut judgement = judgement(Measure::LatencyPercentile { over: ms(1), percentile, window }, 1);
        let start = Instant::BOOT;
        for (number, took) in (0..).zip(&took) {
            let outcome = Outcome { passed: true, detail: String::new(), took: ms(*took) };
            judgement.take(&outcome, start + ms(number * every));
        }
        prop_assert!(judgement.results.len() <= Measure::MOST_RESULTS);
        let kept = &took[took.len().saturating_sub(Measure::MOST_RESULTS)..];
        let mut sorted = kept.to_vec();
        sorted.sort_unstable();
        let rank = (sorted.len() * usize::from(percentile)).div_ceil(100) - 1;
        let words = format!("p{percentile} latency {} ms, limit 1 ms", sorted[rank]);
        let said = judgement.exceeded(Consequence::Degraded).map(str::to_owned);
        prop_assert_eq!(said, (sorted[rank] > 1).then_some(words));
    }
}
