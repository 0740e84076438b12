//! As many descriptors are open after many hand-overs as before. Alone in its process, because it counts them all.

#![expect(clippy::unwrap_used, reason = "a test that cannot begin has failed")]

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use vipcast_bgp::bfd::SessionSettings;
use vipcast_bgp::fsm::Liveness;
use vipcast_bgp::net::bfd::{Bfd, Options};
use vipcast_bgp::net::{Descriptors, Resume, Speaker, Thawed};
use vipcast_bgp::transport::PeerAddress;
use vipcast_bgp::{ConnectMode, State};

use support::{PATIENCE, RAW_AS, Raw, config};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn no_descriptor_stays_behind() {
    let before = open_descriptors();
    life().await;
    // Threads and tasks of the last life may still be ending.
    let begin = Instant::now();
    while open_descriptors() != before {
        assert!(begin.elapsed() < PATIENCE, "{before} before, {} after", open_descriptors());
        sleep(Duration::from_millis(1)).await;
    }
}

async fn life() {
    let (listener, address) = Raw::listen([127, 7, 20, 1]);
    let settings = || config(65001, RAW_AS, ConnectMode::Both, 240);
    let to = PeerAddress { remote: address, source: None };
    let (mut speaker, mut events, mut notices) = Speaker::new();
    speaker.listen((IpAddr::from([127, 7, 20, 2]), 0).into()).unwrap();
    let mut handle = speaker.add_peer(to, settings());
    let _raw = Raw::establish(&listener, 240).await;
    while handle.status().state != State::Established {
        sleep(Duration::from_millis(1)).await;
    }
    let options = Options { listen_v4: [127, 7, 20, 2].into(), ..Options::default() };
    let session = SessionSettings::new([127, 7, 20, 1].into());
    let (mut bfd, mut changes) = Bfd::start(options).unwrap();
    bfd.set(BTreeMap::from([("it".into(), session)]));
    let mut while_running = Vec::new();
    for round in 0..60 {
        let mut descriptors = Descriptors::new();
        let form = speaker.freeze([(1, &mut handle)], &mut descriptors).await;
        let thread = bfd.freeze(&mut descriptors).unwrap();
        let resume =
            |id| Resume { id, transport: to.into(), config: settings(), liveness: Liveness::Unknown };
        if round % 10 == 9 {
            // Refused, with copies of all sockets.
            let mut copied = Descriptors::new();
            for (_, descriptor) in descriptors.iter() {
                copied.put(descriptor.try_clone_to_owned().unwrap());
            }
            assert!(Speaker::thaw(&form, &mut copied, vec![resume(2)]).is_err());
        }
        let thawed = Speaker::thaw(&form, &mut descriptors, vec![resume(1)]).unwrap();
        let Thawed { speaker: next, events: told, notices: noticed, mut handles } = thawed;
        (speaker, events, notices) = (next, told, noticed);
        handle = handles.remove(&1).unwrap();
        (bfd, changes) = Bfd::thaw(options, &thread, Vec::new(), &mut descriptors).unwrap();
        assert!(descriptors.is_empty());
        while_running.push(open_descriptors());
    }
    // The thread of a former life may not have ended at that moment.
    let least = while_running.iter().min();
    assert!(while_running[50..].iter().min() <= least.map(|least| least + 2).as_ref(), "{while_running:?}");
    drop((speaker, events, notices, handle, changes));
    bfd.stop(PATIENCE);
}
