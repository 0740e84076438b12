//! How long the engine takes with many VIPs. Not a test of anything: `cargo test --release -p vipcast --lib
//! engine::tests::measure -- --ignored --nocapture` prints it.

use super::*;

const SERVICES: u32 = 50;
const VIPS: u32 = 100;

fn large() -> Config {
    let service = |i: u32| {
        let first = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + i * VIPS;
        let vips = (first..first + VIPS).map(|ip| IpNet::from(IpAddr::from(Ipv4Addr::from(ip)))).collect();
        Service { vips, ..service([], [&*format!("check-{i}")]) }
    };
    let mut config = config([]);
    config.services = (0..SERVICES).map(|i| (format!("service-{i}").as_str().into(), service(i))).collect();
    config.checks = users(&config).into_keys().map(|check| (check, definition(80))).collect();
    config
}

fn median(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

#[test]
#[ignore = "a measurement"]
fn measure_with_5000_vips() {
    let began = Instant::now();
    let mut story = Story::announced(large());
    println!("start, 5000 addresses at once: {:?}", began.elapsed());
    let config = Arc::clone(story.engine.config());
    let mut version = story.engine.version().0;
    let (mut flips, mut same, mut synced, mut ticks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let now = story.now;
    for i in 0..2000 {
        let state = if i % 2 == 0 { DOWN } else { UP };
        let time = |times: &mut Vec<Duration>, story: &mut Story, event: Event| {
            let began = Instant::now();
            let effects = story.engine.handle(event, story.now);
            times.push(began.elapsed());
            effects
        };
        let flip = time(&mut flips, &mut story, report(&config, "check-7", state, now));
        assert!(matches!(flip[0], Effect::Advertise(..)));
        assert_eq!(time(&mut same, &mut story, report(&config, "check-7", state, now)), []);
        version += 1;
        time(&mut synced, &mut story, Event::PeerSynced("tor-a".into(), Version(version)));
        story.tell(Event::PeerSynced("tor-b".into(), Version(version)));
        time(&mut ticks, &mut story, Event::Tick);
    }
    for (what, times) in [("flip", flips), ("unchanged report", same), ("synced", synced), ("tick", ticks)] {
        let (median, worst) = median(times);
        println!("{what}: median {median:?}, 99 % {worst:?}");
    }
}
