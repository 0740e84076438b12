use std::sync::Arc;

use futures_util::FutureExt as _;

use super::*;

#[derive(Debug)]
struct Nobody;

impl Monitor for Nobody {}

fn port(port: u16) -> Topic {
    Topic::Port(Transport::Tcp, port)
}

#[test]
fn a_bell_is_heard_once_however_often_it_rang_and_by_its_topic_alone() {
    let subscriptions = Arc::new(Subscriptions::default());
    let subscription = |topic| subscriptions.subscribe(topic, Arc::new(Nobody));
    let (http, also, dns) = (subscription(port(80)), subscription(port(80)), subscription(port(53)));
    subscriptions.notify(&port(80));
    subscriptions.notify(&port(80));
    subscriptions.notify(&Topic::Port(Transport::Udp, 53));
    for subscription in [&http, &also] {
        assert!(subscription.notified().now_or_never().is_some());
        assert!(subscription.notified().now_or_never().is_none());
    }
    assert!(dns.notified().now_or_never().is_none());
    subscriptions.notify_all(|topic| *topic == port(53));
    assert!(http.notified().now_or_never().is_none());
    assert!(dns.notified().now_or_never().is_some());
}

#[test]
fn i5_who_is_dropped_is_forgotten_with_the_monitor() {
    let subscriptions = Arc::new(Subscriptions::default());
    let shared = WhileUsed::default();
    let first = shared.get(|| Nobody);
    let subscription = subscriptions.subscribe(port(80), first);
    let again = shared.get(|| Nobody);
    let other = subscriptions.subscribe(port(80), Arc::clone(&again) as Arc<dyn Monitor>);
    assert_eq!(Arc::strong_count(&again), 3, "one hub for both");
    drop((subscription, again));
    assert!(subscriptions.has(&port(80)));
    drop(other);
    assert!(!subscriptions.has(&port(80)));
    assert!(shared.0.lock().unwrap().upgrade().is_none());
}
