use std::sync::Arc;

use futures_util::FutureExt as _;

use super::*;

#[derive(Debug)]
struct Nobody;

impl Hub for Nobody {}

fn port(port: u16) -> Topic {
    Topic::Port(Transport::Tcp, port)
}

#[test]
fn a_bell_is_heard_once_however_often_it_rang_and_by_its_topic_alone() {
    let bells = Arc::new(Bells::default());
    let bell = |topic| bells.bell(topic, Arc::new(Nobody));
    let (http, also, dns) = (bell(port(80)), bell(port(80)), bell(port(53)));
    bells.ring(&port(80));
    bells.ring(&port(80));
    bells.ring(&Topic::Port(Transport::Udp, 53));
    for bell in [&http, &also] {
        assert!(bell.rung().now_or_never().is_some());
        assert!(bell.rung().now_or_never().is_none());
    }
    assert!(dns.rung().now_or_never().is_none());
    bells.ring_all(|topic| *topic == port(53));
    assert!(http.rung().now_or_never().is_none());
    assert!(dns.rung().now_or_never().is_some());
}

#[test]
fn i5_who_is_dropped_is_forgotten_with_the_hub() {
    let bells = Arc::new(Bells::default());
    let shared = WhileUsed::default();
    let first = shared.get(|| Nobody);
    let bell = bells.bell(port(80), first);
    let again = shared.get(|| Nobody);
    let other = bells.bell(port(80), Arc::clone(&again) as Arc<dyn Hub>);
    assert_eq!(Arc::strong_count(&again), 3, "one hub for both");
    drop((bell, again));
    assert!(bells.has(&port(80)));
    drop(other);
    assert!(!bells.has(&port(80)));
    assert!(shared.0.lock().unwrap().upgrade().is_none());
}
