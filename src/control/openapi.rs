//! The OpenAPI 3.1 document of the API, made from the [routes](super::routes) and their types.

use serde_json::{Map, Value, json};

use super::answer::Why;
use super::api::schema::Named;
use super::api::{Refusal, Schema};
use super::routes::{ALL, Row, Takes};

const ABOUT: &str = "HTTP/1.1 and JSON over a Unix socket, /run/vipcast/control.sock unless `control: {socket: …}` names another: \
`curl --unix-socket /run/vipcast/control.sock http://vipcast/v1/status`. Every user who may open the socket may do everything. \
A later version may have more fields and words: ignore unknown fields, and show unknown words unchanged.";

/// The document.
pub fn document() -> Value {
    let mut named = Named::default();
    let mut paths: Map<String, Value> = Map::new();
    for row in ALL {
        let operation = operation(*row, &mut named);
        let path = paths.entry(row.path().to_owned()).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(row.method().to_string().to_lowercase(), operation);
        }
    }
    Refusal::schema(&mut named);
    for request in ["DrainRequest", "UndrainRequest"] {
        if let Some(Value::Object(schema)) = named.0.get_mut(request) {
            schema.insert("oneOf".into(), services_or_peer());
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "vipcast",
            "version": "1",
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "http://vipcast", "description": "The control socket; the name of the host does not matter."}],
        "paths": paths,
        "components": {"schemas": named.0},
    })
}

/// A request is for services or for a peer, and for exactly one of them.
fn services_or_peer() -> Value {
    json!([
        {"required": ["services"], "properties": {"services": {"type": ["string", "object"]}, "peer": {"type": "null"}}},
        {"required": ["peer"], "properties": {"peer": {"type": "string"}, "services": {"type": "null"}}},
    ])
}

fn operation(row: &dyn Row, named: &mut Named) -> Value {
    let help = row.help().iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let (summary, _) = help.split_once(". ").unwrap_or((help.trim_end_matches('.'), ""));
    let refused = |why: &Why| {
        let refusal = content(json!({"$ref": "#/components/schemas/Refusal"}));
        (why.code().as_u16().to_string(), json!({"description": why.meaning(), "content": refusal}))
    };
    let mut responses: Map<String, Value> = row.refusals().iter().map(refused).collect();
    let answer = row.answer(named);
    let (description, answered) = match row.media() {
        "application/json" => ("The answer.", content(answer)),
        "text/event-stream" => {
            ("A stream of events; `data` of each is as `Event`.", text("text/event-stream"))
        }
        other => ("The answer.", text(other)),
    };
    responses.insert("200".into(), json!({"description": description, "content": answered}));
    let mut operation = json!({
        "operationId": operation_id(row.path()),
        "summary": summary,
        "description": help,
        "responses": responses,
    });
    match row.takes() {
        Takes::Nothing => {}
        Takes::Parameter => {
            let name = row.path().split(['{', '}']).nth(1).unwrap_or_default();
            operation["parameters"] =
                json!([{"name": name, "in": "path", "required": true, "schema": row.request(named)}]);
        }
        Takes::Body => {
            operation["requestBody"] = json!({"required": true, "content": content(row.request(named))});
        }
    }
    operation
}

/// `/v1/events/stream` is `events_stream`.
fn operation_id(path: &str) -> String {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let words = path.split('/').filter(|word| !word.is_empty() && !word.starts_with('{'));
    let id = words.collect::<Vec<_>>().join("_");
    if id.is_empty() { "page".to_owned() } else { id }
}

fn text(media: &str) -> Value {
    json!({media: {"schema": {"type": "string"}}})
}

fn content(schema: Value) -> Value {
    json!({"application/json": {"schema": schema}})
}
