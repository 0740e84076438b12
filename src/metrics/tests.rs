use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_node::engine::{Reason, Verdict};
use vipcast_node::now::Now;
use vipcast_node::record::{Record, What};

use super::*;
use crate::control::snapshot::fixture::snapshot;

#[test]
fn every_family_is_named_as_prometheus_wants_it_and_said_once() {
    let mut names = std::collections::BTreeSet::new();
    for family in FAMILIES {
        assert!(names.insert(family.name), "{} twice", family.name);
        assert!(
            family.name.starts_with("vipcast_") || family.name.starts_with("process_"),
            "{}",
            family.name
        );
        assert!(!family.name.ends_with("_total"), "{}: the format adds it", family.name);
        assert!(!family.help().is_empty() && !family.help().contains('\n'));
        let is_time = family.help().contains("in seconds");
        assert_eq!(is_time, family.name.ends_with("_seconds"), "{}: its unit", family.name);
    }
}

#[test]
fn both_formats_have_the_same_values() {
    let snapshot = snapshot(3);
    snapshot.around.counts.event(&crate::control::api::EventKind::Withdrawn);
    let classic = render(&snapshot, Format::Prometheus).unwrap();
    let open = render(&snapshot, Format::OpenMetrics).unwrap();
    let samples = |text: &str| -> std::collections::BTreeMap<String, String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("process_"));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    };
    let (classic, open) = (samples(&classic), samples(&open));
    assert_eq!(classic.keys().collect::<Vec<_>>(), open.keys().collect::<Vec<_>>());
    let number = |name: &str| classic.get(name).map(|value| value.parse::<f64>().unwrap());
    let withheld = r#"vipcast_service_vips{service="web",state="withheld",reason="not_bound"}"#;
    assert_eq!(number(withheld), Some(3.0), "{classic:#?}");
    assert_eq!(number(r#"vipcast_events_total{event="withdrawn"}"#), Some(1.0));
    assert_eq!(number(r#"vipcast_events_total{event="announced"}"#), Some(0.0));
    assert_eq!(number("vipcast_failover_seconds_count"), Some(0.0));
}

#[test]
fn a_fail_over_ends_when_the_first_kernel_has_the_withdrawal() {
    let counts = counts::Counts::default();
    let record = |micros, what| {
        let mono = Instant::BOOT + Duration::from_micros(micros);
        counts.record(&Record { seq: 1, at: Now { mono, wall: jiff::Timestamp::UNIX_EPOCH }, what });
    };
    let vip = |from, reason| What::Vip {
        vip: "192.0.2.1/32".parse().unwrap(),
        service: "web".into(),
        from: Some(from),
        to: Some(Verdict::Withhold(reason)),
        cause: None,
    };
    let handed = || What::HandedOver { peer: "tor".into(), version: vipcast_bgp::Version(1) };
    record(0, handed());
    record(1000, vip(Verdict::Announce, Reason::Drained));
    record(2000, handed());
    assert_eq!(counts.now().failover.count(), 0, "a drain is no fail-over");
    record(3000, vip(Verdict::Announce, Reason::CheckDown { check: "web".into() }));
    record(3000, vip(Verdict::Announce, Reason::CheckDown { check: "web".into() }));
    record(4500, handed());
    record(9000, handed());
    let failover = counts.now().failover;
    assert_eq!((failover.count(), failover.sum()), (1, 0.0015));
}
