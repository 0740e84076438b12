//! The JSON Schema of the API's types: JSON Schema 2020-12, as in OpenAPI 3.1.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value, json};
use vipcast_node::commands::{Refusal, Services};
use vipcast_node::vip;

/// A type that has a schema.
pub trait Schema {
    /// Its schema. A named type is put into `named`, and only referred to.
    fn schema(named: &mut Named) -> Value;
}

/// Schemas by the names of their types.
#[derive(Debug, Default)]
pub struct Named(pub(in crate::control) Map<String, Value>);

impl Named {
    /// A reference to the schema of this name, which is made unless it is there.
    pub(in crate::control) fn refer(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.0.contains_key(name) {
            // The schema may refer to itself.
            self.0.insert(name.to_owned(), Value::Null);
            let schema = make(self);
            self.0.insert(name.to_owned(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }
}

/// One field of a struct.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    /// Whether it may be left out.
    pub(super) is_optional: bool,
    pub(super) schema: Value,
    /// Limits that its type does not express.
    pub(super) more: Option<Value>,
}

/// The schema of a struct: its own fields, and those of `base`.
pub(super) fn object(
    about: &[&str],
    fields: impl IntoIterator<Item = Field>,
    base: Option<Value>,
    is_closed: bool,
) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for Field { name, doc, is_optional, mut schema, more } in fields {
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".into(), text(doc).into());
            if let Some(Value::Object(more)) = more {
                schema.extend(more);
            }
        }
        properties.insert(name.to_owned(), schema);
        if !is_optional {
            required.push(name);
        }
    }
    let mut schema = json!({
        "type": "object",
        "description": text(about),
        "properties": properties,
        "required": required,
    });
    if let Value::Object(schema) = &mut schema {
        schema.extend(base.map(|base| ("allOf".to_owned(), json!([base]))));
        // Answers may have more fields in a later version; an unknown field of a request is an error.
        schema.extend(is_closed.then(|| ("additionalProperties".to_owned(), false.into())));
    }
    schema
}

/// A doc comment as one paragraph, without the marks of rustdoc.
pub(super) fn text(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace(['[', ']'], "")
}

impl Schema for String {
    fn schema(_: &mut Named) -> Value {
        json!({"type": "string"})
    }
}

impl Schema for bool {
    fn schema(_: &mut Named) -> Value {
        json!({"type": "boolean"})
    }
}

/// One plain value.
impl Schema for Value {
    fn schema(_: &mut Named) -> Value {
        json!({"type": ["string", "integer", "boolean"]})
    }
}

macro_rules! numbers {
    ($($number:ident)+) => {
        $(impl Schema for $number {
            fn schema(_: &mut Named) -> Value {
                json!({"type": "integer", "minimum": 0, "maximum": Self::MAX})
            }
        })+
    };
}

numbers!(u8 u16 u32 u64);

impl Schema for usize {
    fn schema(named: &mut Named) -> Value {
        u64::schema(named)
    }
}

impl Schema for Ipv4Addr {
    fn schema(_: &mut Named) -> Value {
        json!({"type": "string", "format": "ipv4"})
    }
}

impl Schema for IpAddr {
    fn schema(_: &mut Named) -> Value {
        json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})
    }
}

impl Schema for vip::Vip {
    fn schema(named: &mut Named) -> Value {
        named.refer("Prefix", |_| {
            json!({
                "type": "string",
                "description": "A prefix, also where it is a single address.",
                "pattern": "^([0-9.]+/[0-9]{1,2}|[0-9a-f:.]+/[0-9]{1,3})$",
                "examples": ["192.0.2.10/32", "2001:db8::/48"],
            })
        })
    }
}

impl<T: Schema> Schema for Option<T> {
    fn schema(named: &mut Named) -> Value {
        let mut schema = T::schema(named);
        if let Some(kind) = schema.get_mut("type")
            && kind.is_string()
        {
            *kind = json!([kind.take(), "null"]);
        }
        // What is said of a text, as by `anyOf`, does not hold for null.
        if schema.get("$ref").is_some() || schema.get("anyOf").is_some() {
            return json!({"anyOf": [T::schema(named), {"type": "null"}]});
        }
        schema
    }
}

impl<T: Schema> Schema for Vec<T> {
    fn schema(named: &mut Named) -> Value {
        json!({"type": "array", "items": T::schema(named)})
    }
}

impl<K, T: Schema> Schema for BTreeMap<K, T> {
    fn schema(named: &mut Named) -> Value {
        json!({"type": "object", "additionalProperties": T::schema(named)})
    }
}

impl Schema for Services {
    fn schema(named: &mut Named) -> Value {
        named.refer("Services", |_| {
            json!({
                "description": "Every service, or one by its name.",
                "oneOf": [
                    {"const": "all"},
                    {
                        "type": "object",
                        "properties": {"service": {"type": "string"}},
                        "required": ["service"],
                        "additionalProperties": false,
                    },
                ],
            })
        })
    }
}

impl Schema for Refusal {
    fn schema(named: &mut Named) -> Value {
        named.refer("Refusal", |_| {
            json!({
                "type": "object",
                "description": "The reason of a refusal.",
                "properties": {
                    "error": {"type": "string", "description": "The error."},
                    "hint": {"type": ["string", "null"], "description": "The hint."},
                },
                "required": ["error", "hint"],
            })
        })
    }
}
