//! Version 1 is read for ever: the golden file beside these tests never changes.

use serde_json::Value;

use super::*;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// With the golden files of the parts that it names.
fn golden() -> Value {
    let mut form = json(include_str!("v1.json"));
    let v1 = &mut form["v1"];
    v1["node"] = json(include_str!("../../../node/src/tests/node_v1.json"));
    v1["speaker"] = json(include_str!("../../../bgp/tests/hand_over/speaker_v1.json"));
    v1["bfd"] = json(include_str!("../../../bgp/tests/hand_over/bfd_v1.json"));
    v1["checks"]["web"] = json(include_str!("../../../node/src/frozen/tests/health_v1.json"));
    form
}

fn read(form: &Value) -> Result<Form, String> {
    serde_json::from_str(&form.to_string()).map_err(|error| error.to_string())
}

#[test]
fn version_1_is_read_and_written_as_ever() {
    let form = read(&golden()).unwrap();
    assert_eq!(serde_json::to_value(&form).unwrap(), golden());
}

/// Every object of the daemon's own, by its path.
const OWN: [&str; 9] = [
    "/v1",
    "/v1/by",
    "/v1/sockets",
    "/v1/events",
    "/v1/metrics",
    "/v1/metrics/counts",
    "/v1/metrics/checks/web",
    "/v1/metrics/hooks/page",
    "/v1/daemon",
];

#[test]
fn a_form_with_an_unknown_field_or_of_a_wrong_type_is_refused() {
    for path in OWN {
        let mut unknown = golden();
        unknown.pointer_mut(path).unwrap()["nonsense"] = Value::from(1);
        // A program's name for itself may grow.
        assert_eq!(read(&unknown).is_err(), path != "/v1/by", "{path}");
        for (name, _) in golden().pointer(path).unwrap().as_object().unwrap() {
            let mut wrong = golden();
            wrong.pointer_mut(path).unwrap()[name] = Value::from(-1.5);
            assert!(read(&wrong).is_err(), "{path}/{name}");
        }
    }
}

#[test]
fn a_form_that_lacks_a_field_is_refused_unless_that_may_be_null() {
    for path in OWN {
        for (name, value) in golden().pointer(path).unwrap().as_object().unwrap() {
            let may_be_null =
                ["control", "api", "state_lock", "namespace_lock", "bfd", "commit", "configured", "failing"];
            if value.is_null() || may_be_null.contains(&name.as_str()) {
                continue;
            }
            let mut lacks = golden();
            lacks.pointer_mut(path).unwrap().as_object_mut().unwrap().remove(name);
            let error = read(&lacks).unwrap_err();
            assert!(error.contains(&format!("missing field `{name}`")), "{path}/{name}: {error}");
        }
    }
}
