//! The frozen form of a speaker: damaged, and as the first program wrote it.

use std::sync::Arc;

use serde_json::Value;
use vipcast_bgp::frozen;
use vipcast_bgp::fsm::Liveness;
use vipcast_bgp::jitter::Jitter;
use vipcast_bgp::net::{Descriptors, Resume, Speaker};
use vipcast_bgp::transport::PeerAddress;
use vipcast_bgp::{ConnectMode, Version, Watched};

use super::support::{RAW_AS, Raw, config};
use super::{Node, is_up, routes, wait};

/// A number, text or list in the form that is another one, or is missing.
fn damage(value: &mut Value, random: &mut Jitter) {
    let mut pick = |count: usize| usize::try_from(random.next()).unwrap_or(0) % count.max(1);
    match value {
        Value::Object(fields) if !fields.is_empty() && pick(12) != 0 => {
            let index = pick(fields.len());
            let key = fields.keys().nth(index).unwrap().clone();
            match pick(30) {
                0 => drop(fields.remove(&key)),
                1 => drop(fields.insert("more".to_owned(), Value::Null)),
                _ => damage(&mut fields[&key], random),
            }
        }
        Value::Array(items) if !items.is_empty() && pick(12) != 0 => {
            let index = pick(items.len());
            match pick(20) {
                0 => drop(items.remove(index)),
                1 => items.push(items[index].clone()),
                _ => damage(&mut items[index], random),
            }
        }
        Value::Number(number) => {
            let number = number.as_u64().unwrap_or_default();
            let others =
                [0, 1, number.wrapping_add(1), number.wrapping_sub(1), number / 2, u64::MAX, 1 << 40];
            *value = others[pick(others.len())].into();
        }
        Value::String(text) => match pick(3) {
            0 => text.clear(),
            1 => text.push('0'),
            _ => drop(text.pop()),
        },
        Value::Bool(it) => *it = !*it,
        Value::Null | Value::Array(_) | Value::Object(_) => {
            *value = [Value::Null, 7.into(), Value::Array(Vec::new())][pick(3)].clone()
        }
    }
}

/// The same sockets once more.
fn copy(descriptors: &Descriptors) -> Descriptors {
    let mut copied = Descriptors::new();
    for (_, descriptor) in descriptors.iter() {
        copied.put(descriptor.try_clone_to_owned().unwrap());
    }
    copied
}

#[tokio::test]
async fn a_damaged_form_is_refused_or_harmless() {
    let (listener, address) = Raw::listen([127, 7, 10, 1]);
    let node = Node::new(
        Some([127, 7, 10, 2].into()),
        PeerAddress { remote: address, source: None },
        config(65001, RAW_AS, ConnectMode::Both, 240),
    );
    let _raw = Raw::establish(&listener, 240).await;
    wait("session", &node.handle, is_up).await;
    node.handle.watch(Arc::new(Watched::from(["192.0.2.0/24".parse().unwrap()])));
    node.handle.advertise(Version(1), routes(20, 1));
    let (text, descriptors, transport, config, _) = node.freeze().await;
    let whole: Value = serde_json::from_str(&text).unwrap();
    let resume = || {
        let (transport, config) = (transport.clone(), config.clone());
        vec![Resume { id: 7, transport, config, liveness: Liveness::Unknown }]
    };
    let mut random = Jitter::new(5);
    let (mut refused, mut unread) = (0, 0);
    for _ in 0..2_000 {
        let mut damaged = whole.clone();
        damage(&mut damaged, &mut random);
        let Ok(form) = serde_json::from_value(damaged) else {
            unread += 1;
            continue;
        };
        refused += u32::from(Speaker::thaw(&form, &mut copy(&descriptors), resume()).is_err());
    }
    println!("of 2000: {unread} not read, {refused} refused");
    assert!(unread > 200 && refused > 200, "{unread} {refused}");

    let whole: frozen::Speaker = serde_json::from_str(&text).unwrap();
    let why = |form: &frozen::Speaker, resumes: Vec<Resume>, descriptors: &mut Descriptors| {
        let error = Speaker::thaw(form, descriptors, resumes).unwrap_err();
        format!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default())
    };
    let mut missing = copy(&descriptors);
    let _taken = missing.take(1);
    assert_eq!(why(&whole, resume(), &mut missing), "the socket of a connection is missing: ");
    let mut swapped = Descriptors::new();
    for number in [2, 1] {
        let descriptor = descriptors.iter().find(|(other, _)| *other == number).unwrap().1;
        swapped.put(descriptor.try_clone_to_owned().unwrap());
    }
    assert_eq!(why(&whole, resume(), &mut swapped), "listener contradicts other fields: ");
    let mut others = Descriptors::new();
    for _ in 0..2 {
        others.put(std::fs::File::open("/dev/null").unwrap());
    }
    assert_eq!(why(&whole, resume(), &mut others), "socket contradicts other fields: ");
    let mut another = resume();
    another[0].id = 8;
    assert_eq!(why(&whole, another, &mut copy(&descriptors)), "peers.id contradicts other fields: ");
    let mut moved = resume();
    moved[0].transport.address.remote = "127.7.10.3:1".parse().unwrap();
    let said = why(&whole, moved, &mut copy(&descriptors));
    assert_eq!(said, "peer 127.7.10.1: the setting address has changed since the freeze");
}

/// Version 1 of the form, as the first program that had it wrote it.
const GOLDEN: &str = include_str!("speaker_v1.json");

#[test]
fn the_first_version_of_the_form_is_read_for_ever() {
    let form: frozen::Speaker = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(serde_json::to_string_pretty(&form).unwrap() + "\n", GOLDEN);
    let frozen::Speaker::V1(v1) = &form;
    assert_eq!((v1.sets.len(), v1.peers.len(), v1.listeners.len(), v1.waiting.len()), (1, 2, 2, 1));
    for (field, value) in [("more", Value::Null), ("sets", 1.into())] {
        let mut damaged: Value = serde_json::from_str(GOLDEN).unwrap();
        damaged["v1"][field] = value;
        assert!(serde_json::from_value::<frozen::Speaker>(damaged).is_err(), "{field}");
    }
    let newer = GOLDEN.replacen("v1", "v2", 1);
    let error = serde_json::from_str::<frozen::Speaker>(&newer).unwrap_err().to_string();
    assert!(error.starts_with("unknown variant `v2`"), "{error}");
}
