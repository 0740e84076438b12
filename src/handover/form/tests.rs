//! Each version is read for ever: the golden files beside these tests never change.

mod fuzz;

use serde_json::Value;

use super::*;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Version 1 with the golden files of the parts that it names.
fn golden_v1() -> Value {
    let mut form = json(include_str!("v1.json"));
    let v1 = &mut form["v1"];
    v1["node"] = json(include_str!("../../../node/src/tests/node_v1.json"));
    v1["speaker"] = json(include_str!("../../../bgp/tests/hand_over/speaker_v1.json"));
    v1["bfd"] = bfd();
    v1["checks"]["web"] = json(include_str!("../../../node/src/frozen/tests/health_v1.json"));
    form
}

/// Version 2 in the same way.
fn golden_v2() -> Value {
    let mut form = json(include_str!("v2.json"));
    let v2 = &mut form["v2"];
    v2["node"] = json(include_str!("../../../node/src/tests/node_v1.json"));
    v2["speaker"] = json(include_str!("../../../bgp/tests/hand_over/speaker_v1.json"));
    v2["checks"]["web"] = json(include_str!("../../../node/src/frozen/tests/health_v1.json"));
    form
}

fn bfd() -> Value {
    json(include_str!("../../../bgp/tests/hand_over/bfd_v1.json"))
}

fn read(form: &Value) -> Result<Form, String> {
    serde_json::from_str(&form.to_string()).map_err(|error| error.to_string())
}

#[test]
fn every_version_is_read_and_written_as_ever() {
    for golden in [golden_v1(), golden_v2()] {
        let form = read(&golden).unwrap();
        assert_eq!(serde_json::to_value(&form).unwrap(), golden);
    }
}

#[test]
fn what_was_read_in_version_1_is_written_in_it_as_it_was() {
    let (newest, bfd) = read(&golden_v1()).unwrap().into_newest();
    assert!(bfd.is_some());
    let again = Form::V1(Box::new(V1::of(*newest, bfd)));
    assert_eq!(
        serde_json::to_string(&again).unwrap(),
        serde_json::to_string(&read(&golden_v1()).unwrap()).unwrap()
    );
}

#[test]
fn version_1_is_converted_to_the_newest_and_back() {
    let (newest, from_it) = read(&golden_v1()).unwrap().into_newest();
    assert_eq!(serde_json::to_value(&from_it).unwrap(), bfd());
    // What version 1 does not have.
    let mut empty = golden_v2();
    empty["v2"]["results"] = serde_json::json!({"probes": 0, "latest": {}});
    empty["v2"]["told"] = serde_json::json!({"failures": {}, "strangers": []});
    assert_eq!(serde_json::to_value(Form::V2(newest)).unwrap(), empty);
    let (newest, none) = read(&golden_v2()).unwrap().into_newest();
    assert!(none.is_none(), "it has a document of its own");
    assert_eq!(serde_json::to_value(Form::V1(Box::new(V1::of(*newest, from_it)))).unwrap(), golden_v1());
}

/// The document of BFD.
fn golden_of_bfd() -> Value {
    let mut form = json(include_str!("bfd_v2.json"));
    form["v2"]["sessions"] = bfd();
    form
}

#[test]
fn the_document_of_bfd_is_read_and_written_as_ever() {
    let form: FormOfBfd = serde_json::from_value(golden_of_bfd()).unwrap();
    assert_eq!(serde_json::to_value(&form).unwrap(), golden_of_bfd());
    for path in ["/v2", "/v2/news/0", "/v2/news/0/transition"] {
        let mut unknown = golden_of_bfd();
        unknown.pointer_mut(path).unwrap()["nonsense"] = Value::from(1);
        assert!(serde_json::from_value::<FormOfBfd>(unknown).is_err(), "{path}");
        for (name, _) in golden_of_bfd().pointer(path).unwrap().as_object().unwrap() {
            let mut wrong = golden_of_bfd();
            wrong.pointer_mut(path).unwrap()[name] = Value::from(-1.5);
            assert!(serde_json::from_value::<FormOfBfd>(wrong).is_err(), "{path}/{name}");
        }
    }
}

#[test]
fn a_copy_is_written_in_the_version_that_the_next_program_reads() {
    let copy = |key: &str| {
        let copy = serde_json::json!({
            "by": {"version": "0.1.0", "commit": null},
            "at": "2026-11-27T12:00:00Z",
            "node": json(include_str!("../../../node/src/tests/node_v1.json")),
        });
        serde_json::json!({ key: copy })
    };
    for (key, version) in [("v1", Version::V1), ("v2", Version::V2)] {
        let read = Copy::read(copy(key).to_string().as_bytes()).unwrap();
        let written: Value = serde_json::from_slice(&read.write(version).unwrap()).unwrap();
        assert_eq!(written, copy(key));
    }
    let later = Copy::read(copy("v9").to_string().as_bytes()).unwrap_err().to_string();
    assert!(later.starts_with("unknown variant `v9`"), "{later}");
}

/// Every object of the daemon's own, by its path.
const OWN: [&str; 9] = [
    "",
    "/by",
    "/sockets",
    "/events",
    "/metrics",
    "/metrics/counts",
    "/metrics/checks/web",
    "/metrics/hooks/page",
    "/daemon",
];

/// The same since version 2.
const SINCE_V2: [&str; 2] = ["/results", "/told"];

/// Each version, with the path of each of its objects.
fn objects() -> impl Iterator<Item = (Value, String)> {
    let versions = [("v1", golden_v1(), &[][..]), ("v2", golden_v2(), &SINCE_V2)];
    versions.into_iter().flat_map(|(key, golden, more)| {
        OWN.iter().chain(more).map(move |path| (golden.clone(), format!("/{key}{path}"))).collect::<Vec<_>>()
    })
}

#[test]
fn a_form_with_an_unknown_field_or_of_a_wrong_type_is_refused() {
    for (golden, path) in objects() {
        let mut unknown = golden.clone();
        unknown.pointer_mut(&path).unwrap()["nonsense"] = Value::from(1);
        // A program's name for itself may grow.
        assert_eq!(read(&unknown).is_err(), !path.ends_with("/by"), "{path}");
        for (name, _) in golden.pointer(&path).unwrap().as_object().unwrap() {
            let mut wrong = golden.clone();
            wrong.pointer_mut(&path).unwrap()[name] = Value::from(-1.5);
            assert!(read(&wrong).is_err(), "{path}/{name}");
        }
    }
}

#[test]
fn a_form_that_lacks_a_field_is_refused_unless_that_may_be_null() {
    for (golden, path) in objects() {
        for (name, value) in golden.pointer(&path).unwrap().as_object().unwrap() {
            let may_be_null =
                ["control", "api", "state_lock", "namespace_lock", "bfd", "commit", "configured", "failing"];
            if value.is_null() || may_be_null.contains(&name.as_str()) {
                continue;
            }
            let mut lacks = golden.clone();
            lacks.pointer_mut(&path).unwrap().as_object_mut().unwrap().remove(name);
            let error = read(&lacks).unwrap_err();
            assert!(error.contains(&format!("missing field `{name}`")), "{path}/{name}: {error}");
        }
    }
}
