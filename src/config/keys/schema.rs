//! The JSON Schema of the configuration (draft 7, which editors know), for completion and a first look while it is written. What
//! depends on more than one value is seen by `vipcast check` alone.

use serde_json::{Map, Value, json};

use super::{Key, Section, Shape, TOP, all};

/// The definition of a text with a variable in it, which may become a value of any kind.
const VARIABLE: &str = "variable";

/// The schema of `vipcast.yaml`.
pub fn schema() -> Value {
    let sections = all().map(|section| (section.id.to_owned(), section.schema()));
    let variable = json!({"type": "string", "pattern": "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}", "description": "filled in from the environment"});
    let definitions: Map<String, Value> = sections.chain([(VARIABLE.to_owned(), variable)]).collect();
    let mut schema = TOP.schema();
    if let Value::Object(top) = &mut schema {
        top.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
        top.insert("title".into(), json!("vipcast"));
        top.insert("definitions".into(), Value::Object(definitions));
    }
    schema
}

impl Section {
    fn schema(&self) -> Value {
        let mut properties = Map::new();
        for key in self.keys() {
            for name in std::iter::once(key.name).chain(key.aliases.iter().copied()) {
                properties.insert(name.to_owned(), key.schema());
            }
        }
        let is_alone =
            |key: &&Key| key.aliases.is_empty() && !self.one_of().any(|group| group.contains(&key.name));
        let required = self.keys().filter(|key| key.is_required && !key.is_said_elsewhere).filter(is_alone);
        let required: Vec<&str> = required.map(|key| key.name).collect();
        let mut schema = json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        let one_of = self.one_of().map(|group| one_of(&group));
        let all: Vec<Value> =
            one_of.chain(self.at_most_one_of().map(|group| at_most_one_of(&group))).collect();
        if let Value::Object(schema) = &mut schema {
            if !all.is_empty() {
                schema.insert("allOf".into(), all.into());
            }
            if !self.with.is_empty() {
                let pairs = self.with.iter().map(|(key, other)| ((*key).to_owned(), json!([other])));
                schema.insert("dependencies".into(), Value::Object(pairs.collect()));
            }
        }
        schema
    }
}

fn one_of(keys: &[&str]) -> Value {
    json!({"oneOf": keys.iter().map(|key| json!({"required": [key]})).collect::<Vec<_>>()})
}

fn at_most_one_of(keys: &[&str]) -> Value {
    let pairs =
        keys.iter().enumerate().flat_map(|(at, one)| keys[at + 1..].iter().map(move |other| [one, other]));
    json!({"not": {"anyOf": pairs.map(|pair| json!({"required": pair})).collect::<Vec<_>>()}})
}

impl Key {
    fn schema(&self) -> Value {
        let mut schema = self.shape.schema();
        let default = self.default.and_then(|written| self.shape.default(written));
        if let Value::Object(schema) = &mut schema {
            // Beside a reference nothing else counts in draft 7.
            if let Some(reference) = schema.remove("$ref") {
                schema.insert("allOf".into(), json!([{"$ref": reference}]));
            }
            let mut words = format!("{}: {}", self.holds(), self.doc());
            if let (Some(written), None) = (self.default, &default) {
                words = format!("{words} (default: {written})");
            }
            schema.insert("description".into(), words.into());
            schema.extend(default.map(|value| ("default".to_owned(), value)));
        }
        schema
    }
}

impl Shape {
    fn schema(&self) -> Value {
        match self {
            // A text has room for variables.
            Self::Text | Self::Said | Self::List(..) | Self::Map(_) | Self::Section(_) => self.plain(),
            Self::Switch | Self::Asn | Self::Form(..) | Self::Made(..) | Self::Number(..) | Self::Word(_) => {
                json!({"anyOf": [self.plain(), {"$ref": format!("#/definitions/{VARIABLE}")}]})
            }
            Self::Either(shapes) => {
                let plain = shapes.iter().map(Self::plain);
                let has_scalar = shapes
                    .iter()
                    .any(|shape| !matches!(shape, Self::List(..) | Self::Map(_) | Self::Section(_)));
                let variable = has_scalar.then(|| json!({"$ref": format!("#/definitions/{VARIABLE}")}));
                json!({"anyOf": plain.chain(variable).collect::<Vec<_>>()})
            }
        }
    }

    /// What it may be without variables.
    fn plain(&self) -> Value {
        match self {
            Self::Switch => json!({"type": "boolean"}),
            // Whatever is not a list or a map is a text to us.
            Self::Text => json!({"type": ["string", "number", "boolean"]}),
            Self::Said => json!({"type": ["string", "number", "boolean"], "pattern": "\\S"}),
            Self::Asn => json!({
                "type": ["integer", "number", "string"],
                "minimum": 1,
                "maximum": 4_294_967_294_u32,
                // AS_TRANS, and one that stands for none.
                "not": {"enum": [23456, 65535, "0", "23456", "65535", "4294967295"]},
                "pattern": "^[0-9]+(\\.[0-9]+)?$",
            }),
            Self::Form(_, pattern) => json!({"type": "string", "pattern": pattern}),
            Self::Made(_, pattern) => json!({"type": "string", "pattern": pattern()}),
            Self::Number(least, most) => {
                json!({"type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": "^[0-9]+$"})
            }
            Self::Word(words) => {
                let numbers = words.iter().filter_map(|word| word.parse::<serde_json::Number>().ok());
                let words = words.iter().map(|word| Value::from(*word)).chain(numbers.map(Value::Number));
                json!({"enum": words.collect::<Vec<_>>()})
            }
            Self::List(of, least) => json!({"type": "array", "items": of.schema(), "minItems": least}),
            // Everything under it may have been commented out.
            Self::Map(of) => json!({
                "type": ["object", "null"],
                "additionalProperties": of.schema(),
                "propertyNames": {"pattern": "^[^\\s/]{1,64}$"},
            }),
            Self::Section(section) => json!({"$ref": format!("#/definitions/{}", section.id)}),
            Self::Either(shapes) => json!({"anyOf": shapes.iter().map(Self::plain).collect::<Vec<_>>()}),
        }
    }

    /// A default as a value, where its words are one.
    fn default(&self, written: &str) -> Option<Value> {
        let plain = written.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or(written);
        match self {
            Self::Switch => plain.parse::<bool>().ok().map(Value::from),
            Self::Number(least, most) => {
                plain.parse::<u64>().ok().filter(|number| (least..=most).contains(&number)).map(Value::from)
            }
            Self::Word(words) => words.contains(&plain).then(|| plain.into()),
            Self::Form(..) => (!plain.contains(' ')
                && plain.contains(|c: char| c.is_ascii_digit() || c == '/'))
            .then(|| plain.into()),
            Self::Either(shapes) => shapes.iter().find_map(|shape| shape.default(written)),
            Self::Text
            | Self::Said
            | Self::Asn
            | Self::Made(..)
            | Self::List(..)
            | Self::Map(_)
            | Self::Section(_) => None,
        }
    }
}
